"""POST png-info, extra-single-image, extra-batch-images, interrogate."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from webui.api.sdapi.bodies import Name, Picture
from webui.api.sdapi.timed import Timed
from webui.api.sdapi.uploads import decoded, receive
from webui.api.sdapi.waiting import finished, results
from webui.app import App
from webui.errors import InvalidRequest, NotHere, UnknownName
from webui.metadata import generation_parameters, read
from webui.upscale_request import Upscale

CAPTIONERS = {"clip": "model_base_caption_capfilt_large.pth", "deepdanbooru": "model-resnet_custom_v3.pt"}
"""Names that AUTOMATIC1111 gives to what describes pictures -> the weights of each."""


class PngInfo(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: Picture = ""


class Extras(BaseModel):
    """How pictures are enlarged."""

    model_config = ConfigDict(extra="forbid")

    resize_mode: Annotated[int, Field(ge=0, le=1)] = 0
    """0: by a factor, 1: to a size."""
    show_extras_results: bool = True
    gfpgan_visibility: float = 0
    codeformer_visibility: float = 0
    codeformer_weight: float = 0
    upscaling_resize: float = 2
    upscaling_resize_w: int = 512
    upscaling_resize_h: int = 512
    upscaling_crop: bool = True
    upscaler_1: Name = "None"
    upscaler_2: Name = "None"
    extras_upscaler_2_visibility: float = 0
    upscale_first: bool = False


class SingleExtras(Extras):
    image: Picture = ""


class NamedPicture(BaseModel):
    model_config = ConfigDict(extra="forbid")

    data: Picture
    name: Name = ""


class BatchExtras(Extras):
    imageList: Annotated[list[NamedPicture], Field(max_length=64)]  # noqa: N815  # their name


class Interrogation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: Picture = ""
    model: Name = "clip"


def routes(app: App) -> APIRouter:
    router = APIRouter(route_class=Timed)

    @router.post("/png-info")
    async def png_info(body: PngInfo) -> dict[str, Any]:
        """What a picture says about how it was made."""
        return await asyncio.to_thread(_png_info, decoded(body.image))

    @router.post("/extra-single-image")
    async def extra_single_image(body: SingleExtras) -> dict[str, Any]:
        """Enlarge a picture."""
        return {"html_info": "", "image": (await _enlarged(app, body, [body.image]))[0]}

    @router.post("/extra-batch-images")
    async def extra_batch_images(body: BatchExtras) -> dict[str, Any]:
        """Enlarge several, in the same way."""
        return {"html_info": "", "images": await _enlarged(app, body, [picture.data for picture in body.imageList])}

    @router.post("/interrogate")
    def interrogate(body: Interrogation) -> dict[str, Any]:
        """Captions need a model that Easel does not ship, nor read yet."""
        if body.model not in CAPTIONERS:
            raise UnknownName("captioner", body.model, CAPTIONERS)
        raise NotHere(
            "Nothing here describes pictures: the weights {file} of '{name}' do not come with Easel, and it has no "
            "place for them yet.",
            name=body.model,
            file=CAPTIONERS[body.model],
        )

    return router


async def _enlarged(app: App, body: Extras, pictures: list[str]) -> list[str]:
    """The results as base64, in order; all are asked for before the first is waited for."""
    for name in ("gfpgan_visibility", "codeformer_visibility"):
        if getattr(body, name):
            raise InvalidRequest(
                "Easel has nothing for {name} = {value}. Leave the field out.", name=name, value=getattr(body, name)
            )
    jobs = []
    for picture in pictures:
        kept = await asyncio.to_thread(receive, app.inputs, picture)
        jobs.append(await asyncio.to_thread(app.submit, Upscale.kind, {**_values(body), "image": kept.id}))
    return [encoded for job in jobs for encoded in await results(app, await finished(app, job.id))]


def _values(body: Extras) -> dict[str, Any]:
    return {
        "upscaler": body.upscaler_1,
        "size_mode": "Scale to" if body.resize_mode else "Scale by",
        "scale": body.upscaling_resize,
        "width": body.upscaling_resize_w,
        "height": body.upscaling_resize_h,
        "crop": body.upscaling_crop,
        "second_upscaler": body.upscaler_2,
        "second_visibility": body.extras_upscaler_2_visibility,
    }


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
