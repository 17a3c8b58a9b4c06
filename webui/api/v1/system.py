"""/system: the machine, the engines and the log; and the two things that can be done to the engines."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import PlainTextResponse

from webui import machine
from webui.api.v1.operator import operator_where_exposed
from webui.app import App
from webui.doctor import report
from webui.events import JobState

PREFIX = "/system"
JOBS = 30
"""Of so many finished jobs it is told what took how long."""


def routes(app: App) -> APIRouter:
    open_to_all = APIRouter(prefix=PREFIX)

    @open_to_all.get("")
    def system() -> dict[str, Any]:
        """Versions, memory, folders, workers, and the phases of the last jobs, the newest first."""
        return {
            "versions": machine.versions(),
            "memory": machine.memory(worker.pid for worker in app.scheduler.workers),
            "folders": machine.folders(app.settings),
            "workers": app.status()["workers"],
            "jobs": _timings(app),
            "needs_operator": app.settings.listen,
        }

    both = APIRouter(tags=["system"])
    both.include_router(open_to_all)
    both.include_router(_of_operator(app))
    return both


def _of_operator(app: App) -> APIRouter:
    """What tells of files or stops work: with --listen only for who has the token of the console."""
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(operator_where_exposed(app.settings))])

    @router.get("/log")
    def log(lines: Annotated[int, Query(ge=1, le=2000)] = 200) -> dict[str, list[str]]:
        """The end of the log file."""
        return {"lines": machine.log_tail(app.settings, lines)}

    @router.get("/report", response_class=PlainTextResponse)
    def doctor() -> str:
        """What `launch.py doctor` says. It starts a process that imports torch: this takes some seconds."""
        return "\n".join(report(app.settings)) + "\n"

    @router.post("/restart")
    def restart() -> dict[str, Any]:
        """End the engines' processes; they start again, and a running job is taken up where it was saved last."""
        for worker in app.scheduler.workers:
            worker.kill()
        return app.status()

    @router.post("/unload")
    def unload() -> dict[str, Any]:
        """Give the memory of all models back, after the job that runs."""
        for worker in app.scheduler.workers:
            worker.unload()
        return app.status()

    return router


def _timings(app: App) -> list[dict[str, Any]]:
    jobs = app.jobs((JobState.DONE,), JOBS, training=False)
    told = ("id", "kind", "summary", "finished", "timings")
    return [{name: job[name] for name in told} for job in jobs if job["timings"]]
