"""Real picture files as several tools write them."""

import io
import os
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from webui.metadata import encode_png, infotext
from webui.requests import build, resolve

A1111 = (
    "{prompt}\nNegative prompt: blurry\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: {seed}, Size: 512x512, Model: deliberate_v2"
)


def draw(colour: object = "red", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, colour)  # type: ignore[arg-type]


def save(path: Path, content: bytes, *, age: float = 0.0) -> Path:
    """Write a file that is `age` seconds older than 2026-01-02 12:00 UTC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    when = 1_767_355_200 - age
    os.utime(path, (when, when))
    return path


def of_easel(seed: int = 1, **values: Any) -> bytes:
    """As our engine saves it."""
    request = resolve(build("txt2img", {"prompt": "a cat", "seed": seed, "checkpoint": "easel", **values}))
    text = infotext(request, 0, model_hash="0123456789", version="0.1")
    return encode_png(draw((seed % 256, seed // 256 % 256, 7)), request, 0, text)


def of_a1111(prompt: str = "a dog", seed: int = 7) -> bytes:
    return of_text(A1111.format(prompt=prompt, seed=seed), (9, seed % 256, 9))


def of_text(text: str, colour: object = "red") -> bytes:
    """With an infotext as it stands."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", text)
    return png(draw(colour), pnginfo=texts)


def png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()
