"""/pictures/{id}/steps: the previews of a picture's steps, to look at and as one moving picture."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from webui.api.v1.pictures import IMMUTABLE
from webui.app import App
from webui.branches import FREE_STEPS
from webui.errors import NotFound, UserError
from webui.jobs.animation import animation
from webui.request_base import Request
from webui.requests import PictureRequest, TextToImage


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/pictures/{picture_id}", tags=["pictures"])

    @router.get("/steps")
    def steps(picture_id: str) -> dict[str, Any]:
        """Previews in order, as data URLs; none when nothing was kept of the picture.

        `total` is the number of its steps over all passes, `last_branch` the last one that can be branched from.
        """
        frames = app.strip(picture_id)
        total, last_branch = _ends(_request_of(app, picture_id), max(frames, default=0))
        previews = [{"step": step, "preview": _data_url(jpeg)} for step, jpeg in frames.items()]
        return {"steps": previews, "total": total, "last_branch": last_branch}

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


def _request_of(app: App, picture_id: str) -> Request | None:
    """None where it is not known, or not understood any more."""
    try:
        return app.store.job(app.store.picture(picture_id).job_id).request
    except UserError:
        return None


def _ends(request: Request | None, made: int) -> tuple[int, int]:
    """All steps of a picture and the last one that can be branched from; `made` is the last one known."""
    if not isinstance(request, PictureRequest):
        return made, max(made - 1, 0)
    second = (
        request.second_steps if isinstance(request, TextToImage) and request.hires and request.hires_strength else 0
    )
    if request.sampler in FREE_STEPS:  # what it made is all there is to count
        return made, max(made - second - 1, 0)
    return max(request.steps + second, made), request.steps - 1


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
