"""/pictures: finished pictures by opaque id. No path ever comes from a client."""

import os
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from webui.app import App
from webui.errors import NotFound
from webui.jobs.view import picture_json

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/pictures", tags=["pictures"])

    @router.get("/{picture_id}", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    def picture(picture_id: str) -> Response:
        """The picture as PNG, its parameters inside."""
        record = app.picture(picture_id)
        content = read_picture(app.settings.outputs_dir, record.path)
        name = Path(record.path).name
        return Response(content, media_type="image/png",
                        headers=IMMUTABLE | {"Content-Disposition": f'inline; filename="{name}"'})  # fmt: skip

    @router.get("/{picture_id}/info")
    def info(picture_id: str) -> dict[str, Any]:
        """Seed, size and parameters of the picture."""
        return picture_json(app.picture(picture_id))

    return router


def read_picture(outputs_dir: Path, relative: str) -> bytes:
    """The bytes of a PNG inside `outputs_dir`. Raises `NotFound` for anything that is not exactly that."""
    gone = NotFound("This picture is not in the outputs folder any more. It may have been moved or deleted.")
    path = (outputs_dir / relative).resolve()
    if not path.is_relative_to(outputs_dir.resolve()):
        raise gone
    try:
        # A link or pipe somebody put into the folder must be neither followed nor waited for.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            content = file.read()
    except OSError:
        raise gone from None
    if not content.startswith(PNG_MAGIC):
        raise gone
    return content
