"""The Host: an engine with a remote control, the same object behind every transport.

A transport (local child process, later a Ray actor) moves jobs in and events out; what a job means is
known to the engine alone.
"""

import threading
from collections.abc import Iterator

from webui.contract import Engine, EngineInfo, Job, Signal, Tuning
from webui.events import Event


class Host:
    """Runs one job at a time and passes signals to it; `signal` may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._signals: dict[str, Signal] = {}
        self._lock = threading.Lock()

    def run(self, job: Job) -> Iterator[Event]:
        try:
            yield from self._engine.run(job, lambda: self._take(job.id))
        finally:
            with self._lock:
                self._signals.pop(job.id, None)

    def expect(self, job_id: str) -> None:
        """Forget what an earlier run of this job was told too late; call it before `run`, in order with `signal`."""
        with self._lock:
            self._signals.pop(job_id, None)

    def signal(self, job_id: str, signal: Signal) -> None:
        """The strongest of several that wait counts: a skip must not undo a cancel."""
        with self._lock:
            if signal.outranks(self._signals.get(job_id)):
                self._signals[job_id] = signal

    def warm_up(self, checkpoint: str) -> None:
        self._engine.warm_up(checkpoint)

    def tune(self, tuning: Tuning) -> None:
        self._engine.tune(tuning)

    def unload(self) -> None:
        self._engine.unload()

    def info(self) -> EngineInfo:
        return self._engine.info()

    def _take(self, job_id: str) -> Signal | None:
        with self._lock:
            signal = self._signals.get(job_id)
            if signal is Signal.SKIP:
                del self._signals[job_id]
            return signal
