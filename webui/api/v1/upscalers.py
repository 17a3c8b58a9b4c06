"""/upscalers: what can enlarge pictures. Enlarging itself is a job of the kind `upscale`."""

from typing import Any

from fastapi import APIRouter

from webui.app import App


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/upscalers", tags=["upscalers"])

    @router.get("")
    def upscalers() -> dict[str, Any]:
        """Names of everything that enlarges pictures: built in first, then the files of the models folders."""
        return {"upscalers": list(app.upscalers())}

    return router
