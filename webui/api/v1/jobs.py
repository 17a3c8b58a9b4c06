"""/jobs: submit, look at, stop, skip, pause and resume."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from webui.api.v1.answers import EstimateAnswer, JobAnswer, JobsAnswer
from webui.api.v1.schemas import values_schema
from webui.app import App
from webui.contract import Signal
from webui.events import JobState

Values = Annotated[dict[str, Any], WithJsonSchema(values_schema())]
"""Of a request: told in full by the OpenAPI document, checked by the request type alone."""


class Submission(BaseModel):
    """A job to be done. `values` are the request's fields by name; absent ones take the checkpoint's defaults."""

    model_config = ConfigDict(extra="forbid")

    kind: str = "txt2img"
    values: Values = Field(default_factory=dict)
    key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The same key again gives the same job: safe to send twice."""
    styles: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    """Names of styles that are put into the prompts."""


class Move(BaseModel):
    """Where a waiting job goes."""

    model_config = ConfigDict(extra="forbid")

    before: Annotated[str, Field(max_length=64)] | None = None
    """The waiting job that it comes directly before; null: the end of the queue."""


class Draft(BaseModel):
    """A job that nobody has asked for yet."""

    model_config = ConfigDict(extra="forbid")

    kind: str = "txt2img"
    values: Values = Field(default_factory=dict)


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/jobs", tags=["jobs"])

    @router.post("", status_code=201, responses={201: {"model": JobAnswer}})
    def submit(submission: Submission) -> dict[str, Any]:
        """Accept a job. When this answers, the job is on disk and survives any crash."""
        accepted = app.submit(submission.kind, submission.values, key=submission.key, styles=submission.styles)
        return app.job(accepted.id)

    @router.get("", responses={200: {"model": JobsAnswer}})
    def newest(
        state: Annotated[list[JobState] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        training: bool | None = None,
        named: Annotated[list[str] | None, Query(alias="id", max_length=200)] = None,
    ) -> dict[str, Any]:
        """The newest jobs first, of all states or the named ones; with `training`, trainings only or none of them.

        With `id`, exactly those of them that exist.
        """
        if named is not None:
            return {"jobs": app.jobs_named(named)}
        return {"jobs": app.jobs(states=state, limit=limit, training=training)}

    @router.post("/estimate", responses={200: {"model": EstimateAnswer}})
    def estimate(draft: Draft) -> dict[str, Any]:
        """Seconds that a job would take on this machine and bytes that it needs; null where that is not known."""
        return app.estimate(draft.kind, draft.values)

    @router.get("/{job_id}", responses={200: {"model": JobAnswer}})
    def one(job_id: str) -> dict[str, Any]:
        """The job as it is now."""
        return app.job(job_id)

    _add_commands(router, app)
    return router


JOB: dict[int | str, dict[str, Any]] = {200: {"model": JobAnswer}}


def _add_commands(router: APIRouter, app: App) -> None:
    @router.post("/{job_id}/cancel", responses=JOB)
    def cancel(job_id: str) -> dict[str, Any]:
        """Stop the job; finished pictures stay."""
        app.signal(job_id, Signal.CANCEL)
        return app.job(job_id)

    @router.post("/{job_id}/skip", responses=JOB)
    def skip(job_id: str) -> dict[str, Any]:
        """Give up the current batch and go on with the next."""
        app.signal(job_id, Signal.SKIP)
        return app.job(job_id)

    @router.post("/{job_id}/pause", responses=JOB)
    def pause(job_id: str) -> dict[str, Any]:
        """Put the job aside with its state and free the worker."""
        app.signal(job_id, Signal.PAUSE)
        return app.job(job_id)

    @router.post("/{job_id}/move", responses=JOB)
    def move(job_id: str, to: Move) -> dict[str, Any]:
        """Change a waiting job's place in the queue."""
        app.move(job_id, to.before)
        return app.job(job_id)

    @router.post("/{job_id}/resume", responses=JOB)
    def resume(job_id: str) -> dict[str, Any]:
        """Go on with a paused job, before everything that waits."""
        app.resume(job_id)
        return app.job(job_id)
