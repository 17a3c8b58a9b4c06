"""Hashes of model files, made when somebody asks for one, with progress. The library keeps them."""

import logging
import threading
from dataclasses import dataclass
from typing import Any

from webui.library import Passport, ShelfItem
from webui.library.passport import digesting, hashed_files
from webui.sentences import Sentence

log = logging.getLogger(__name__)


@dataclass
class _Work:
    done: int = 0
    total: int = 0
    problem: Sentence | None = None


class Hashing:
    """One thread per model that is asked for, one after another; safe to use from any thread."""

    def __init__(self) -> None:
        self._works: dict[str, _Work] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def start(self, model: Passport | ShelfItem) -> dict[str, Any]:
        """Make the hash, unless it is known or being made. Answers as `state` does."""
        with self._lock:
            key = str(model.path)
            known = self._works.get(key)
            if not model.known_sha256 and (known is None or known.problem is not None):
                self._works[key] = _Work(total=max(1, model.weights.bytes))
                threading.Thread(target=self._make, args=(model, self._works[key]), daemon=True).start()
        return self.state(model)

    def state(self, model: Passport | ShelfItem) -> dict[str, Any]:
        """{"sha256", "done", "total", "problem"}; done and total in bytes, null when nobody has asked."""
        known = model.known_sha256
        work = None if known else self._works.get(str(model.path))
        return {
            "sha256": known,
            "done": None if work is None else work.done,
            "total": None if work is None else work.total,
            "problem": None if work is None or work.problem is None else work.problem.to_json(),
        }

    def _make(self, model: Passport | ShelfItem, work: _Work) -> None:
        steps = digesting(hashed_files(model))
        with self._turn:  # two at a time would only make the disk slower
            try:
                work.total = max(1, sum(path.stat().st_size for path in hashed_files(model)))
                while True:
                    work.done += next(steps)
            except StopIteration as end:
                if model.hashes is not None:
                    model.hashes.keep(model.path, model.stamp, str(end.value))
                with self._lock:
                    self._works.pop(str(model.path), None)
            except OSError as error:
                log.warning("the hash of %s could not be made: %s", model.path, error)
                work.problem = Sentence(
                    "It could not be read: {reason}. Check its permissions.", reason=error.strerror or str(error)
                )
