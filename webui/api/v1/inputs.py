"""/inputs: pictures that jobs begin with, by opaque id."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from webui.api.v1.answers import Kept
from webui.api.v1.bodies import PICTURE_BODY, store_body
from webui.api.v1.pictures import IMMUTABLE
from webui.app import App


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/inputs", tags=["inputs"])

    @router.post("", status_code=201, responses={201: {"model": Kept}}, openapi_extra=PICTURE_BODY)
    async def add(request: Request) -> dict[str, Any]:
        """Keep a picture, the body as it is, and answer the id by which jobs name it."""
        with app.inputs.upload() as path:
            await store_body(request.stream(), path)
            kept = await asyncio.to_thread(app.inputs.receive, path)
        return {"id": kept.id, "width": kept.width, "height": kept.height}

    @router.get("/{input_id}", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    def picture(input_id: str) -> Response:
        """The picture as PNG."""
        return Response(app.inputs.read(input_id), media_type="image/png", headers=IMMUTABLE)

    return router
