"""The shapes of answers, for the OpenAPI document: what a client may rely on. They are told and not enforced.

A test sends whatever the document allows and holds the answers against these.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    """A sentence: the English text, and the template and values of which another language is made."""

    text: str
    template: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """What went wrong, why, what to do."""

    kind: str
    text: str
    template: str
    values: dict[str, Any]


@dataclass(frozen=True)
class ErrorAnswer:
    """Every error of /api/v1."""

    error: Problem


@dataclass(frozen=True)
class Health:
    status: str
    version: str


@dataclass(frozen=True)
class Readiness:
    ready: bool
    engines: dict[str, str]
    """State by name: waiting, starting, loading, ready, busy, dead."""
    has_checkpoint: bool


@dataclass(frozen=True)
class PictureAnswer:
    """A finished picture."""

    id: str
    job: str
    number: int
    seed: int
    width: int
    height: int
    url: str
    parameters: str
    created: float


@dataclass(frozen=True)
class JobAnswer:
    """A job."""

    id: str
    kind: str
    state: str
    """queued, running, paused, done, failed or cancelled."""
    position: int
    """Jobs that come before it."""
    aside: bool
    """A training that makes room for pictures and goes on by itself."""
    summary: str
    request: dict[str, Any]
    created: float
    started: float | None
    finished: float | None
    attempts: int
    progress: dict[str, Any] | None
    preview: str | None
    """A JPEG as data: address."""
    estimate: float | None
    """Seconds."""
    pictures: list[PictureAnswer]
    warnings: list[Told]
    receipt: list[Told]
    error: Problem | None
    timings: dict[str, float] | None
    result: str | None


@dataclass(frozen=True)
class JobsAnswer:
    jobs: list[JobAnswer]


@dataclass(frozen=True)
class EstimateAnswer:
    seconds: float | None


@dataclass(frozen=True)
class Kept:
    """An uploaded picture."""

    id: str
    width: int
    height: int


@dataclass(frozen=True)
class Snippet:
    """The same request as a command and as a program."""

    curl: str
    python: str


ERRORS: dict[int | str, dict[str, Any]] = {
    # One `model` brings the schema into the document. FastAPI takes a millisecond for each of them, at each of hundreds
    # of routes, so the others point to it.
    status: {"model": ErrorAnswer, "description": description}
    if status == 422
    else {
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
        "description": description,
    }
    for status, description in {
        400: "The body cannot be read.",
        401: "A token is asked for.",
        403: "From another site, or without the operator's token.",
        404: "There is nothing of that id or name.",
        405: "Another method is meant.",
        409: "Its state does not allow this.",
        413: "The body is too large.",
        421: "An address that Easel does not answer to.",
        422: "A value is impossible; the text says which and what is possible.",
        429: "Too many wrong logins.",
        500: "Something went wrong inside, or a job failed.",
        507: "The disk does not take it.",
    }.items()
}
"""What any route may answer besides: those of the gate, which stands in front of all, included."""
