"""The units' panel in every form, and the route that shows a control picture before anything is drawn."""

import io
from typing import Annotated

import gradio as gr
import numpy as np
from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse, Response
from PIL import Image, UnidentifiedImageError

from webui.extension import InvalidRequest, Panel, ServerContext, UnknownName, UserError

from .options import UNITS
from .preprocessors import PREPROCESSORS

MOST_PIXELS = 32 * 2**20


def panel(panel: Panel) -> None:
    gr.HTML(
        html_template=f'<easel-control-units tab="{panel.kind}" units="{UNITS}"></easel-control-units>',
        js_on_load=None,
        apply_default_css=False,
        elem_classes="easel-element",
        elem_id=f"{panel.kind}_controlnet_units",
    )


def routes(context: ServerContext) -> APIRouter:
    router = APIRouter()

    @router.post("/map", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    def control_map(
        picture: Annotated[bytes, Body(media_type="application/octet-stream", max_length=64 * 2**20)],
        preprocessor: Annotated[str, Query()] = "none",
        resolution: Annotated[int, Query(ge=64, le=2048)] = 512,
        a: Annotated[float, Query(ge=-1, le=255, allow_inf_nan=False)] = -1,
        b: Annotated[float, Query(ge=-1, le=255, allow_inf_nan=False)] = -1,
    ) -> Response:
        """The control picture that a preprocessor makes of the picture in the body, as PNG."""
        try:
            content = _map(picture, preprocessor, resolution, a, b)
        except UserError as error:
            return JSONResponse({"error": {"kind": error.kind, **error.sentence.to_json()}}, error.status)
        return Response(content, media_type="image/png", headers={"X-Content-Type-Options": "nosniff"})

    return router


def _map(picture: bytes, preprocessor: str, resolution: int, a: float, b: float) -> bytes:
    """PNG. Raises `UserError`."""
    from .filters import preprocess  # only here, because OpenCV takes a moment

    if preprocessor not in PREPROCESSORS:
        raise UnknownName("preprocessor", preprocessor, PREPROCESSORS)
    content = io.BytesIO()
    Image.fromarray(preprocess(preprocessor, _read(picture), resolution, a, b)).save(content, "PNG")
    return content.getvalue()


def _read(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(height, width, 3). Raises `InvalidRequest` for what is no picture, or one that is too large."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise InvalidRequest("The picture is too large: {most} pixels are possible.", most=f"{MOST_PIXELS:,}")
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidRequest("This is no picture that can be read. Use PNG, JPEG or WebP.") from error
