"""What an engine is given and what it must do: the contract between the server and whatever makes pictures or trains.

Plain Python that both sides import; the engine itself (torch) implements `Engine`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from webui.events import Event
from webui.request_base import Request


class Signal(StrEnum):
    """What a person can tell a running job."""

    CANCEL = "cancel"
    """Stop now; finished pictures stay."""
    SKIP = "skip"
    """Give up the current batch and go on with the next."""
    PAUSE = "pause"
    """Put the state aside and free the worker; the job can be resumed."""

    def outranks(self, other: "Signal | None") -> bool:
        """Whether this one counts when both wait for the same step: cancel over pause over skip."""
        order = (None, Signal.SKIP, Signal.PAUSE, Signal.CANCEL)
        return order.index(self) > order.index(other)


STATE_FOLDER = "run"
"""Below the folder of a training job: where the trainer keeps its state, from which it goes on."""
STATE_SUFFIX = ".pt"
"""Of the files that are in there once something has been saved."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What an engine is given: a resolved request and, when it goes on after a pause or crash, its state."""

    id: str
    request: Request
    state: bytes | None = None
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    """The uploaded pictures that the request names, PNG by id: an engine may be on another machine."""


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What a worker says about itself; every field is valid once the engine is ready."""

    device: str
    """"cpu" or "cuda:0"."""
    device_name: str
    attention: str
    """Name of the attention kernel that the probe chose."""
    checkpoint: str | None
    """The checkpoint that is in memory, if any."""
    models: tuple[tuple[str, int], ...] = ()
    """Every checkpoint that is in memory with its bytes, the one used last at the end."""
    memory: tuple[int, int] | None = None
    """Free and total bytes of the card; None where the engine shares the machine's own."""
    for_a_job: int = 0
    """Bytes of the card that one job can have at most; 0 where it is the machine's memory."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a person sets for every engine at once (webui/options.py); it holds from the next job on."""

    model_memory: float = 0.5
    """Of the memory that is free, what checkpoints kept for later may take, 0 to 0.9."""
    preview_every: int = 1
    """Steps from one live preview to the next, 1 and more."""


SignalSource = Callable[[], Signal | None]
"""Called between steps: the signal that waits for this job, if any. Taking it clears SKIP; CANCEL and PAUSE stay."""


class Engine(Protocol):
    """The only thing that does the work of a job."""

    def run(self, job: Job, signal: SignalSource) -> Iterator[Event]:
        """Yield events, the last of which is one of `FINAL`. A `UserError` may be raised instead of `Failed`."""
        ...

    def warm_up(self, checkpoint: str) -> None:
        """Load a checkpoint ahead of the first job. Never raises for a bad checkpoint; the job will say so."""
        ...

    def tune(self, tuning: Tuning) -> None:
        """Take over what a person has set."""
        ...

    def unload(self) -> None:
        """Give the memory of every model back; the next job loads what it needs."""
        ...

    def info(self) -> EngineInfo: ...
