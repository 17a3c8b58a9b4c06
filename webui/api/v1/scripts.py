"""/scripts and /runs: what scripts there are; plan, submit, look at, pause, resume and cancel the runs of one."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from webui.app import App
from webui.scripts.records import RunState
from webui.scripts.runs import Asked


class RunDraft(BaseModel):
    """A run that nobody has asked for yet. `values` and `styles` are those of a job, `options` the script's."""

    model_config = ConfigDict(extra="forbid")

    script: Annotated[str, Field(max_length=60)]
    kind: str = "txt2img"
    values: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    styles: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)

    @property
    def asked(self) -> Asked:
        return Asked(
            script=self.script, kind=self.kind, values=self.values, options=self.options, styles=self.styles
        )  # fmt: skip


class RunSubmission(RunDraft):
    """A run to be made."""

    key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The same key again gives the same run: safe to send twice."""


class Filling(BaseModel):
    """An option that is to name everything possible."""

    model_config = ConfigDict(extra="forbid")

    kind: str = "txt2img"
    option: Annotated[str, Field(max_length=60)]
    options: dict[str, Any] = Field(default_factory=dict)


def routes(app: App) -> APIRouter:
    router = APIRouter(tags=["scripts"])

    @router.get("/scripts")
    def scripts() -> dict[str, Any]:
        """Every script with its options, and the values that some of them can have for each kind of request."""
        return {"scripts": app.runs.scripts}

    @router.post("/scripts/{name}/fill")
    def fill(name: str, filling: Filling) -> dict[str, str]:
        """The value of an option that names everything possible, e.g. all samplers."""
        return {"value": app.runs.fill(name, filling.kind, filling.option, filling.options)}

    @router.post("/runs/plan")
    def plan(draft: RunDraft) -> dict[str, Any]:
        """How many cells and pictures a run would make and, as far as that is known here, in how many seconds."""
        return app.runs.plan(draft.asked)

    @router.post("/runs", status_code=201)
    def submit(submission: RunSubmission) -> dict[str, Any]:
        """Accept a run. When this answers, it is on disk and survives any crash."""
        return app.runs.one(app.runs.submit(submission.asked, key=submission.key).id)

    @router.get("/runs")
    def newest(
        state: Annotated[list[RunState] | None, Query()] = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> dict[str, Any]:
        """The newest runs first, of all states or the named ones."""
        return {"runs": app.runs.listed(state or (), limit)}

    @router.get("/runs/{run_id}")
    def one(run_id: str) -> dict[str, Any]:
        """A run with its cells in the order of its grid, their pictures, and what was made of them."""
        return app.runs.one(run_id)

    _add_commands(router, app)
    return router


def _add_commands(router: APIRouter, app: App) -> None:
    @router.post("/runs/{run_id}/pause")
    def pause(run_id: str) -> dict[str, Any]:
        """Put all of it aside, with the state of the picture that is being made."""
        return app.runs.one(app.runs.pause(run_id).id)

    @router.post("/runs/{run_id}/resume")
    def resume(run_id: str) -> dict[str, Any]:
        """Go on with a paused run, before everything that waits."""
        return app.runs.one(app.runs.resume(run_id).id)

    @router.post("/runs/{run_id}/cancel")
    def cancel(run_id: str) -> dict[str, Any]:
        """Stop all of it; finished pictures stay."""
        return app.runs.one(app.runs.cancel(run_id).id)
