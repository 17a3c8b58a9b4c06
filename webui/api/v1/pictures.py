"""/pictures: finished pictures by opaque id. No path ever comes from a client."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from webui.api.v1.answers import PictureAnswer
from webui.app import App
from webui.jobs.view import picture_json

IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/pictures", tags=["pictures"])

    @router.get("/{picture_id}", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    def picture(picture_id: str) -> Response:
        """The picture as PNG, its parameters inside."""
        record = app.picture(picture_id)
        content = app.picture_content(record)
        name = Path(record.path).name
        return Response(content, media_type="image/png",
                        headers=IMMUTABLE | {"Content-Disposition": f'inline; filename="{name}"'})  # fmt: skip

    @router.get("/{picture_id}/info", responses={200: {"model": PictureAnswer}})
    def info(picture_id: str) -> dict[str, Any]:
        """Seed, size and parameters of the picture."""
        return picture_json(app.picture(picture_id))

    return router
