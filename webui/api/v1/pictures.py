"""/pictures: finished pictures by opaque id. No path ever comes from a client."""

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response

from webui.api.v1.answers import PictureAnswer
from webui.app import App
from webui.jobs.view import picture_json

IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}

MEDIA_TYPES = ((b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"), (b"", "image/png"))


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/pictures", tags=["pictures"])

    @router.get("/{picture_id}", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    def picture(picture_id: str) -> Response:
        """The picture as it was saved, PNG unless the settings say otherwise, its parameters inside."""
        record = app.picture(picture_id)
        content = app.picture_content(record)
        name = quote(PurePosixPath(record.path).name, safe="")  # may be a prompt in any script
        return Response(
            content,
            media_type=next(kind for magic, kind in MEDIA_TYPES if content.startswith(magic)),
            headers=IMMUTABLE | {"Content-Disposition": f"inline; filename*=UTF-8''{name}"},
        )

    @router.get("/{picture_id}/info", responses={200: {"model": PictureAnswer}})
    def info(picture_id: str) -> dict[str, Any]:
        """Seed, size and parameters of the picture."""
        picture = app.picture(picture_id)
        jobs = app.store.jobs_named([picture.job_id])  # none: a grid belongs to the run of a script
        return picture_json(picture, jobs[0].values if jobs else {})

    return router
