"""Seconds by phase of one job, for `events.Done.timings`. Counts the engine's own work, not its consumer's."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the time spent inside `phase` blocks."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._seconds = dict.fromkeys(("loading", "encoding", "sampling", "decoding"), 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - begin

    def timings(self) -> dict[str, float]:
        """All phases and "total", which also holds what lies between them."""
        return {**self._seconds, "total": time.perf_counter() - self._begin}
