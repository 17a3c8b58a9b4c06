"""What an enlarged picture says about itself: AUTOMATIC1111's `postprocessing` text, and the PNG that holds it.

Pictures that were drawn are the business of `infotext` and `writing`.
"""

import io
import json

from PIL import Image, PngImagePlugin

from webui.upscale_request import Upscale

KEYS = ("postprocessing", "extras")
"""PNG text chunks that AUTOMATIC1111 writes it to, both."""


def postprocessing(request: Upscale, before: tuple[int, int]) -> str:
    """One line of `Key: value` for a picture that was of size `before`; "" when nothing was done to it."""
    if not request.upscalers:
        return ""
    is_size = request.size_mode == "Scale to"
    size = f"{request.width}x{request.height}"
    fields: dict[str, object] = {
        "Postprocess upscale to": size if is_size else None,
        "Postprocess upscale by": None if is_size else f"{request.scale:g}",
        "Max side length": request.max_side if request.is_limited(before) else None,
        "Postprocess crop to": size if is_size and request.crop else None,
        "Postprocess upscaler": request.upscalers[0],
        "Postprocess upscaler 2": request.upscalers[1] if len(request.upscalers) > 1 else None,
    }
    return ", ".join(f"{key}: {_quoted(str(value))}" for key, value in fields.items() if value is not None)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",\n:") else value


def encode_enlarged(image: Image.Image, text: str) -> bytes:
    """The picture as PNG with the text inside."""
    texts = PngImagePlugin.PngInfo()
    for key in KEYS if text else ():
        if text.isascii():
            texts.add_text(key, text)
        else:  # tEXt is Latin-1 only
            texts.add_itxt(key, text)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=texts, compress_level=1)
    return buffer.getvalue()
