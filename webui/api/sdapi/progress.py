"""GET progress, POST interrupt and skip: about the picture job that runs now."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter

from webui.api.sdapi.timed import Timed
from webui.app import App
from webui.contract import Signal
from webui.errors import Conflict
from webui.events import JobState


def routes(app: App) -> APIRouter:
    router = APIRouter(route_class=Timed)

    @router.get("/progress")
    def progress(skip_current_image: bool = False) -> dict[str, Any]:
        """How far it is, and its last preview."""
        jobs = app.jobs(states=[JobState.RUNNING], limit=1, training=False)
        return _idle() if not jobs else _progress(jobs[0], has_picture=not skip_current_image)

    @router.post("/interrupt")
    async def interrupt() -> dict[str, Any]:
        """Stop it; the pictures that are finished stay."""
        await asyncio.to_thread(_tell, app, Signal.CANCEL)
        return {}

    @router.post("/skip")
    async def skip() -> None:
        """Give up its current batch and go on with the next."""
        await asyncio.to_thread(_tell, app, Signal.SKIP)

    return router


def _tell(app: App, signal: Signal) -> None:
    for job in app.jobs(states=[JobState.RUNNING], limit=10, training=False):
        try:
            app.signal(job["id"], signal)
        except Conflict:  # over by now, which is what was wanted
            continue


def _progress(job: dict[str, Any], *, has_picture: bool) -> dict[str, Any]:
    live = job["progress"] or {"phase": "", "picture": 0, "pictures": 1, "step": 0, "total": 1, "eta": None}
    total = max(1, live["total"])
    done = (live["picture"] + min(live["step"], total) / total) / max(1, live["pictures"])
    preview = job["preview"] if has_picture else None
    state = _state() | {
        "job": job["summary"][:80],
        "job_count": live["pictures"],
        "job_no": live["picture"],
        "job_timestamp": _timestamp(job["started"] or job["created"]),
        "sampling_step": live["step"],
        "sampling_steps": live["total"],
    }
    return {
        "progress": round(min(done, 0.999), 4),
        "eta_relative": live["eta"] or 0.0,
        "state": state,
        "current_image": preview.partition(",")[2] if preview else None,
        "textinfo": live["phase"] or None,
    }


def _idle() -> dict[str, Any]:
    return {"progress": 0.0, "eta_relative": 0.0, "state": _state(), "current_image": None, "textinfo": None}


def _state() -> dict[str, Any]:
    return {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": 0,
        "job_timestamp": _timestamp(time.time()),
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }


def _timestamp(when: float) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.localtime(when))
