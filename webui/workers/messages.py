"""What a local worker and its child process say to each other over their pipe. Plain data, pickled."""

from collections.abc import Callable
from dataclasses import dataclass

from webui.contract import Engine, EngineInfo, Job, Signal, Tuning
from webui.events import Event
from webui.sentences import Sentence

# To the child. The first two things it gets are not among these: sys.path, then a `Begin`, which needs that path.


@dataclass(frozen=True)
class Begin:
    engine_factory: Callable[[], Engine]
    log_level: int


@dataclass(frozen=True)
class Run:
    job: Job


@dataclass(frozen=True)
class Tell:
    job_id: str
    signal: Signal


@dataclass(frozen=True)
class WarmUp:
    checkpoint: str


@dataclass(frozen=True)
class Tune:
    tuning: Tuning


@dataclass(frozen=True)
class Unload:
    """Give the memory of the models back."""


# To the parent.


@dataclass(frozen=True)
class Loading:
    """A checkpoint is being loaded ahead of a job."""

    checkpoint: str


@dataclass(frozen=True)
class Ready:
    """Nothing to do: after the start, after warming up, after each job."""

    info: EngineInfo


@dataclass(frozen=True)
class Unusable:
    """The engine could not be made; the child ends."""

    why: Sentence


@dataclass(frozen=True)
class Happened:
    job_id: str
    event: Event


@dataclass(frozen=True)
class Raised:
    """The engine raised something that is not meant for people. The job is over."""

    job_id: str
    error: str
    traceback: str


@dataclass(frozen=True)
class Logged:
    logger: str
    level: int
    text: str
    traceback: str | None
