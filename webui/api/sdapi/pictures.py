"""POST png-info, extra-single-image, extra-batch-images, interrogate."""

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from webui.api.sdapi.bodies import Name, Picture
from webui.api.sdapi.uploads import decoded
from webui.app import App
from webui.errors import InvalidRequest, NotFound
from webui.metadata import generation_parameters, read


class PngInfo(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: Picture = ""


class Interrogation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: Picture = ""
    model: Name = "clip"


def routes(app: App) -> APIRouter:
    router = APIRouter()

    @router.post("/png-info")
    async def png_info(body: PngInfo) -> dict[str, Any]:
        """What a picture says about how it was made."""
        return await asyncio.to_thread(_png_info, decoded(body.image))

    @router.post("/interrogate")
    def interrogate(body: Interrogation) -> dict[str, Any]:
        """Captions need a model that Easel does not ship."""
        raise NotFound(
            "There is no model '{name}' here that describes pictures, so nothing can be interrogated.", name=body.model
        )

    return router


def _png_info(content: bytes) -> dict[str, Any]:
    try:
        found = read(content)
    except InvalidRequest:  # no picture at all, which AUTOMATIC1111 answers as one that says nothing
        return {"info": "", "items": {}, "parameters": {}}
    return {
        "info": found.parameters,
        "items": {"parameters": found.parameters} if found.parameters else {},
        "parameters": generation_parameters(found.parameters) if found.parameters else {},
    }
