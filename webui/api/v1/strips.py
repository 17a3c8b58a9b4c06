"""/pictures/{id}/steps: the previews of a picture's steps, to look at and as one moving picture."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from webui.api.v1.pictures import IMMUTABLE
from webui.app import App
from webui.errors import NotFound
from webui.jobs.animation import animation


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/pictures/{picture_id}", tags=["pictures"])

    @router.get("/steps")
    def steps(picture_id: str) -> dict[str, Any]:
        """Previews in order, as data URLs; none when nothing was kept of the picture."""
        frames = app.strip(picture_id)
        return {"steps": [{"step": step, "preview": _data_url(jpeg)} for step, jpeg in frames.items()]}

    @router.get("/steps.{ending}", response_class=Response)
    def moving(picture_id: str, ending: str, fps: Annotated[int, Query(ge=1, le=60)] = 8) -> Response:
        """All steps and the finished picture, as gif, webp, png (APNG) or mp4."""
        frames = app.strip(picture_id)
        if not frames:
            raise NotFound("No steps were kept of this picture.")
        content, media_type = animation(ending, frames.values(), app.picture_content(app.picture(picture_id)), fps)
        name = {"Content-Disposition": f'attachment; filename="steps.{ending}"'}
        return Response(content, media_type=media_type, headers=IMMUTABLE | name)

    return router


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
