"""/picture-info: what a picture or a text says about how a picture was made. Nothing that is sent is kept."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from webui.api.v1.bodies import PICTURE_BODY, store_body
from webui.app import App

LONGEST_TEXT = 1_000_000


class Infotext(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(max_length=LONGEST_TEXT)]


def routes(app: App) -> APIRouter:
    router = APIRouter(tags=["picture info"])

    @router.post("/picture-info", openapi_extra=PICTURE_BODY)
    async def of_picture(request: Request) -> dict[str, Any]:
        """Tool, kind, parameters, request values and all fields of a picture, the body as it is: PNG, JPEG or WebP."""
        with app.inputs.upload() as path:
            await store_body(request.stream(), path)
            return await asyncio.to_thread(app.picture_info, path)

    @router.post("/text-info")
    def of_text(infotext: Infotext) -> dict[str, Any]:
        """The same of an infotext, as AUTOMATIC1111 and its family copy it to the clipboard."""
        return app.text_info(infotext.text)

    return router
