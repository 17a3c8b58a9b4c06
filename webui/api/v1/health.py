"""/health, /ready and /metrics: what a person's tools ask a server before they trust it with work."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from webui import __version__
from webui.api.v1.answers import Health, Readiness
from webui.api.v1.metrics import CONTENT_TYPE, exposition
from webui.app import App

WORKING = ("ready", "busy", "loading")
"""States of an engine that takes jobs now."""


def routes(app: App) -> APIRouter:
    router = APIRouter(tags=["health"])

    # Not in a thread: it waits for nothing, and says how quickly the server answers at all.
    @router.get("/health", responses={200: {"model": Health}})
    async def health() -> dict[str, Any]:
        """The server lives. Nothing else is looked at."""
        return {"status": "ok", "version": __version__}

    @router.get("/ready", responses={200: {"model": Readiness}, 503: {"model": Readiness}})
    def ready() -> JSONResponse:
        """Whether a job that is sent now would be begun: 503 while no engine runs and while no checkpoint is usable."""
        states = {worker["name"]: worker["state"] for worker in app.status()["workers"]}
        has_checkpoint = any(passport.problem is None for passport in app.library.passports().values())
        is_ready = has_checkpoint and any(state in WORKING for state in states.values())
        told = {"ready": is_ready, "engines": states, "has_checkpoint": has_checkpoint}
        return JSONResponse(told, 200 if is_ready else 503)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """Jobs, queue, engines, watchers and this process, for Prometheus."""
        return Response(exposition(app), media_type=CONTENT_TYPE)

    return router
