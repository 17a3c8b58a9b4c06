"""The rows of the job store as plain frozen values. Knows no SQL and no HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webui.errors import UserError
from webui.events import JobState
from webui.request_base import Request
from webui.requests import build
from webui.sentences import Sentence


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """One job as the store knows it. Times are seconds since 1970."""

    id: str
    number: int
    """Order of submission, 1 for the first job of this store."""
    kind: str
    values: Mapping[str, Any]
    """The resolved request as named values."""
    state: JobState
    position: int
    """Order in the queue: smaller runs first. Not a count; see `JobStore.jobs_ahead`."""
    created: float
    started: float | None
    finished: float | None
    attempts: int
    """How often an engine has taken the job up."""
    crashes: int
    """How often the engine or the server died while the job ran."""
    error: str | None
    """Name of the error class of a failed job."""
    text: Sentence | None
    """What is said about a failed job: what, why, what to do."""
    warnings: tuple[Sentence, ...]
    receipt: tuple[Sentence, ...]
    """What happened on the way, in order; empty until it is done."""
    timings: Mapping[str, float] | None
    training: bool
    """Whether it is a training: those run when no picture waits."""
    result: str | None
    """What a finished training has made, relative to the models folder."""

    @property
    def request(self) -> Request:
        """The resolved request. Raises `InvalidRequest` when this version does not know a value any more."""
        return build(self.kind, self.values)

    @property
    def checkpoint(self) -> str:
        return str(self.values.get("checkpoint", ""))

    @property
    def summary(self) -> str:
        """One line by which a person recognises the job."""
        try:
            return self.request.summary
        except UserError:
            return self.kind


@dataclass(frozen=True, kw_only=True)
class PictureRecord:
    """One finished picture of a job, or of a run: one that was put together of its cells' pictures."""

    id: str
    job_id: str
    """Or the run's id."""
    number: int
    """0-based, over all batches of the job, or all pictures of the run."""
    path: str
    """Relative to the outputs folder, with forward slashes."""
    seed: int
    width: int
    height: int
    parameters: str
    """A1111 infotext."""
    created: float
