"""How far the running jobs are and how long they will still take: kept in memory only, a restart begins anew."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from webui.events import Progress

SMOOTHING = 0.3
"""Weight of the newest step in the seconds per step: follows a slower machine within a few steps."""
STEPS_BEFORE_ETA = 2


@dataclass(frozen=True, kw_only=True)
class Live:
    """The last progress of a job as the page shows it."""

    progress: dict[str, Any]
    """JSON: phase, picture, pictures, step, total, eta (seconds or None)."""
    preview: str | None
    """Data URL of the last preview of the picture being made."""


class ProgressMeter:
    """Follows one run of a job. Every step costs about the same, so seconds per step is all that is measured."""

    def __init__(self, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        """How many pictures one step is for: the batch on a GPU, one on the CPU."""
        self._clock = clock
        self._last_step: tuple[int, int, float] | None = None
        """Picture, step and time of the last step."""
        self._seconds_per_step: float | None = None
        self._measured = 0
        self.live: Live | None = None

    def follow(self, event: Progress) -> Live:
        if event.phase in ("sampling", "hires", "tiles", "writing", "training"):
            self._measure(event)
        frame = event.to_json()
        preview = frame.pop("preview")
        del frame["kind"]
        if preview is None and self.live is not None and self.live.progress["picture"] == event.picture:
            preview = self.live.preview
        self.live = Live(progress={**frame, "eta": self._eta(event)}, preview=preview)
        return self.live

    def _measure(self, event: Progress) -> None:
        now = self._clock()
        if self._last_step is not None:
            picture, step, when = self._last_step
            if picture == event.picture and event.step > step:
                self._learn((now - when) / (event.step - step))
        self._last_step = (event.picture, event.step, now)

    def _learn(self, seconds: float) -> None:
        self._measured += 1
        before = self._seconds_per_step
        # The first step also warms caches up and says little about the others.
        new = self._measured <= STEPS_BEFORE_ETA or before is None
        self._seconds_per_step = seconds if new or before is None else before + SMOOTHING * (seconds - before)

    def _eta(self, event: Progress) -> float | None:
        """Seconds until the last picture of the job is sampled."""
        if self._seconds_per_step is None or self._measured < STEPS_BEFORE_ETA or not event.total:
            return None
        batches_after = max(0, -(-(event.pictures - event.picture) // self._at_once) - 1)
        done = event.total if event.phase == "decoding" else event.step
        return round(self._seconds_per_step * (event.total - done + batches_after * event.total), 1)
