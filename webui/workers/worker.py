"""What the server knows of a worker, whatever the transport: the contract that local and remote workers share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from webui.contract import Engine, EngineInfo, Job, Signal, Tuning
from webui.events import Event
from webui.sentences import Sentence

EngineFactory = Callable[[], Engine]
"""Makes the engine, in the process that is to hold it; must be picklable."""
NumberedEngineFactory = Callable[[int], Engine]
"""The same for worker number 0, 1, …, so that each can take a card of its own."""


class WorkerState(StrEnum):
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    DEAD = "dead"


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    state: WorkerState
    text: Sentence
    """Short, for the page."""
    info: EngineInfo | None
    """None until the engine was ready for the first time."""


class Worker(Protocol):
    """Holds one engine and runs one job at a time. All methods may be called from any thread."""

    name: str

    @property
    def pid(self) -> int | None:
        """Of the process that holds the engine, where it is on this machine and alive."""
        ...

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin to start the engine and return at once; `on_change` is called whenever `status` is different."""
        ...

    def status(self) -> WorkerStatus: ...

    def run(self, job: Job) -> Iterator[Event]:
        """Hand the job over, then iterate its events; the last one is one of `FINAL`.

        When this returns the engine has the job, so a later `signal` reaches it. Raises `EngineDied`, here or while
        iterating, when the engine's process ends; the worker is then starting again by itself.
        """
        ...

    def signal(self, job_id: str, signal: Signal) -> None:
        """Tell a running job something; without effect when it does not run here."""
        ...

    def warm_up(self, checkpoint: str) -> None:
        """Load a checkpoint ahead of the first job, as soon as the engine is there. Returns at once."""
        ...

    def tune(self, tuning: Tuning) -> None:
        """What holds from the next job on, also of an engine that is started again. Returns at once."""
        ...

    def unload(self) -> None:
        """Give the memory of the models back, after the job that runs. Returns at once."""
        ...

    def kill(self) -> None:
        """End the engine's process at once; it is started again. For an engine that does not listen any more."""
        ...

    def close(self) -> None:
        """End the worker for good, within 5 seconds."""
        ...
