"""/controlnet: what the clients of AUTOMATIC1111's ControlNet extension ask besides pictures.

The preprocessors are those of our extension, whose modules `preprocessors` and `filters` are asked; while it is
disabled there is nothing here.
"""

import asyncio
import base64
import io
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from webui.api.sdapi.bodies import Name, Picture
from webui.api.sdapi.uploads import receive
from webui.app import App
from webui.errors import InvalidRequest, NotFound, UnknownName
from webui.params import parameters

EXTENSION = "controlnet"
VERSION = 3
"""Of the interface that units are described for."""
SIDES = (64, 2048)
RESOLUTION = 512

TYPES: Mapping[str, tuple[str, ...]] = {
    "Canny": ("canny",),
    "SoftEdge": ("softedge",),
    "Lineart": ("lineart",),
    "Scribble/Sketch": ("scribble", "t2ia_sketch"),
    "Shuffle": ("shuffle",),
    "Tile/Blur": ("tile", "blur"),
    "Recolor": ("recolor",),
    "Inpaint": ("inpaint",),
    "T2I-Adapter": ("t2ia",),
}
"""Kinds of control -> beginnings of the preprocessors' names, and parts of the models'."""


class Value(Protocol):
    """One of the two numbers of a preprocessor."""

    label: str
    minimum: float
    maximum: float
    default: float


class Preprocessor(Protocol):
    """What the extension tells of one of its preprocessors."""

    values: Sequence[Value]
    needs_mask: bool


class Detection(BaseModel):
    model_config = ConfigDict(extra="forbid")

    controlnet_module: Name = "none"
    controlnet_input_images: Annotated[list[Picture], Field(max_length=64)] = Field(default_factory=list)
    controlnet_images: Annotated[list[Picture], Field(max_length=64)] = Field(default_factory=list)
    """The same under the name that `webuiapi` sends."""
    controlnet_masks: Annotated[list[Picture], Field(max_length=64)] = Field(default_factory=list)
    controlnet_processor_res: int = -1
    controlnet_threshold_a: Annotated[float, Field(allow_inf_nan=False)] = -1
    controlnet_threshold_b: Annotated[float, Field(allow_inf_nan=False)] = -1
    low_vram: bool = False


def router(app: App) -> APIRouter:
    """Every route of /controlnet."""
    controlnet = APIRouter(prefix="/controlnet", tags=["AUTOMATIC1111"])
    _add_lists(controlnet, app)

    @controlnet.post("/detect")
    async def detect(body: Detection) -> dict[str, Any]:
        """The control pictures that a preprocessor makes of pictures."""
        encoded = body.controlnet_input_images or body.controlnet_images
        if not encoded:
            raise InvalidRequest("No image selected: controlnet_input_images holds no picture.")
        images = [await asyncio.to_thread(_detected, app, body, picture) for picture in encoded]
        return {"images": images, "info": "Success"}

    return controlnet


def _add_lists(router: APIRouter, app: App) -> None:
    @router.get("/version")
    def version() -> dict[str, int]:
        """Of the interface."""
        preprocessors(app)
        return {"version": VERSION}

    @router.get("/model_list")
    def model_list(update: bool = True) -> dict[str, list[str]]:
        """ControlNets and T2I-Adapters by name."""
        if update:
            app.refresh_models()
        return {"model_list": models(app)}

    @router.get("/module_list")
    def module_list(alias_names: bool = False) -> dict[str, Any]:
        """Preprocessors with their sliders. They have no other names."""
        known = preprocessors(app)
        return {"module_list": list(known), "module_detail": {name: _detail(each) for name, each in known.items()}}

    @router.get("/control_types")
    def control_types() -> dict[str, Any]:
        """Which preprocessors and models go together, by kind of control."""
        modules, names = list(preprocessors(app)), models(app)
        told = {"All": _type(modules, names, ("",))}
        told |= {kind: _type(modules, names, begins) for kind, begins in TYPES.items()}
        return {"control_types": told}

    @router.get("/settings")
    def settings() -> dict[str, int]:
        """How many units there are."""
        return {"control_net_unit_count": units(app)}


def preprocessors(app: App) -> Mapping[str, Preprocessor]:
    """By name. Raises `NotFound` while the extension is disabled."""
    return _module(app, "preprocessors").PREPROCESSORS  # type: ignore[no-any-return]


def models(app: App) -> list[str]:
    return list(app.library.shelf("controlnets"))


def units(app: App) -> int:
    """Raises `NotFound` while the extension is disabled."""
    preprocessors(app)
    return sum(name.endswith("_enabled") for name in parameters(app.extensions.option_types()[EXTENSION]))


def control_picture(app: App, picture_id: str, name: str, resolution: int, a: float, b: float) -> str:
    """What a preprocessor makes of a kept picture, PNG as base64. Raises `UnknownName`."""
    if name not in preprocessors(app):
        raise UnknownName("preprocessor", name, preprocessors(app))
    with Image.open(io.BytesIO(app.inputs.read(picture_id)), formats=("PNG",)) as picture:
        pixels: NDArray[np.uint8] = np.asarray(picture.convert("RGB"))
    buffer = io.BytesIO()
    Image.fromarray(_module(app, "filters").preprocess(name, pixels, resolution, a, b)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _detected(app: App, body: Detection, encoded: str) -> str:
    name, known = body.controlnet_module, preprocessors(app)
    if name not in known:
        raise UnknownName("preprocessor", name, known)
    if known[name].needs_mask and not body.controlnet_masks:
        raise InvalidRequest("The preprocessor {name} needs a mask for each picture: controlnet_masks.", name=name)
    kept = receive(app.inputs, encoded)
    asked = body.controlnet_processor_res
    resolution = RESOLUTION if asked < 0 else min(max(asked, SIDES[0]), SIDES[1])
    return control_picture(app, kept.id, name, resolution, body.controlnet_threshold_a, body.controlnet_threshold_b)


def _module(app: App, name: str) -> Any:  # a module of the extension, which is not ours to import
    folder = app.extensions.shelf.enabled().get(EXTENSION)
    module = None if folder is None else app.extensions.imported(folder, name)
    if module is None:
        raise NotFound("The extension ControlNet is disabled. Enable it on the page, in the tab Extensions.")
    return module


def _detail(preprocessor: Preprocessor) -> dict[str, Any]:
    resolution = {"name": "Preprocessor Resolution", "value": RESOLUTION, "min": SIDES[0], "max": SIDES[1], "step": 8}
    sliders = [
        {"name": value.label, "value": value.default, "min": value.minimum, "max": value.maximum}
        for value in preprocessor.values
    ]
    return {"model_free": False, "sliders": [resolution, *sliders]}


def _type(modules: Sequence[str], models: Sequence[str], parts: Sequence[str]) -> dict[str, Any]:
    chosen = [name for name in modules if name != "none" and name.startswith(tuple(parts))]
    fitting = [name for name in models if any(part in name.casefold() for part in parts)]
    return {
        "module_list": ["none", *chosen],
        "model_list": ["None", *fitting],
        "default_option": chosen[0] if chosen and parts != ("",) else "none",
        "default_model": fitting[0] if fitting and parts != ("",) else "None",
    }
