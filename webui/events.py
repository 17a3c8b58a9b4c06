"""What happens to a job, as plain data: no tensors, no PIL, nothing that cannot cross a process or a network.

An engine yields these; the server stores what must last and pushes all of them to whoever watches the job.
"""

import base64
import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from webui.sentences import Sentence


class JobState(StrEnum):
    """Where a job is in its life; the last three never change again."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of everything an engine yields."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; bytes become data URLs (JPEG)."""
        values = {
            name: f"data:image/jpeg;base64,{base64.b64encode(value).decode()}" if isinstance(value, bytes) else value
            for name, value in dataclasses.asdict(self).items()
        }
        return {"kind": self.kind, **values}


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The engine has taken the job up; loading a checkpoint may come first."""

    kind = "started"
    pictures: int
    """How many will be made; 0 for a training."""


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """One step is done (or a phase without steps has begun, with step 0)."""

    kind = "progress"
    phase: str
    """ "loading", "encoding", "sampling", "decoding", with a second pass "upscaling" and "hires"; of an enlargement
    "preparing", "tiles", "saving"; of a merge or conversion "reading", "hashing" (in MB), "writing"; of a training
    "preparing", "training", "sampling", "saving"."""
    picture: int
    """0-based number of the picture being made, over all batches; 0 for a training."""
    pictures: int
    """1 for a training, which is one thing that is made."""
    step: int
    """Steps done for this picture, 0 to `total`, over all its passes."""
    total: int
    preview: bytes | None = None
    """JPEG of pred_original."""
    others: tuple[bytes | None, ...] = ()
    """The same of the pictures after it that are made at the same time; not for watchers, whom one tells enough."""

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in super().to_json().items() if name != "others"}


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Event):
    """Everything needed to go on from here in another process; opaque to everyone but the engine.

    A training keeps its state in its run folder; what it gives here is a marker that the folder has moved on.
    """

    kind = "checkpoint"
    state: bytes


@dataclass(frozen=True, kw_only=True)
class Image(Event):
    """A finished picture, complete with its metadata inside the PNG."""

    kind = "image"
    picture: int
    seed: int
    width: int
    height: int
    png: bytes
    parameters: str
    """A1111 infotext, the same as inside the PNG."""


@dataclass(frozen=True, kw_only=True)
class Metrics(Event):
    """What a training measured since the last event of this kind."""

    kind = "metrics"
    losses: tuple[tuple[int, float], ...]
    """Step and loss, in order of the steps."""


@dataclass(frozen=True, kw_only=True)
class Sample(Event):
    """A picture made with what a training has learnt so far."""

    kind = "sample"
    step: int
    jpeg: bytes


@dataclass(frozen=True, kw_only=True)
class Result(Event):
    """A training is over and what it made lies in the models folder."""

    kind = "result"
    path: str
    """Relative to the models folder, with forward slashes."""


@dataclass(frozen=True, kw_only=True)
class Warning(Event):
    """Something the person should know; part of the result's receipt."""

    kind = "warning"
    text: Sentence
    extension: str = ""
    """Name of the extension that failed, if that is what it is about."""


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """The job is over; `text` says what, why and what to do."""

    kind = "failed"
    error: str
    """Name of the error class, see `webui.errors`."""
    text: Sentence


@dataclass(frozen=True, kw_only=True)
class Cancelled(Event):
    """The job was stopped by a person; finished pictures stay."""

    kind = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Paused(Event):
    """The job was put aside; a `Checkpoint` came before."""

    kind = "paused"


@dataclass(frozen=True, kw_only=True)
class Done(Event):
    """All pictures are made, or the training is over."""

    kind = "done"
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds by phase: "loading", "encoding", "sampling", "decoding", "total"; "<extension>.<hook>" within them."""
    receipt: tuple[Sentence, ...] = ()
    """What happened on the way, in order."""


FINAL = (Failed, Cancelled, Paused, Done)
"""A run of an engine ends with exactly one of these."""
