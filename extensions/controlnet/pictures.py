"""Control pictures as a ControlNet takes them: read, masked, brought to the size of the result. No networks."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .filters import Picture, preprocess
from .options import FILL, JUST_RESIZE
from .preprocessors import pixel_perfect

Size = tuple[int, int]
"""Width and height."""


def read(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        picture.load()
        return picture


def control_picture(
    picture: Image.Image, size: Size, *, preprocessor: str, resolution: int | None, resize_mode: str, a: float, b: float
) -> Image.Image:
    """RGB at `size`; `resolution` None is pixel perfect."""
    array: Picture = np.asarray(picture.convert("RGB"))
    if resolution is None:
        resolution = pixel_perfect(picture.size, size, is_filled=resize_mode == FILL)
    made = Image.fromarray(preprocess(preprocessor, array, max(64, resolution), a, b))
    return fitted(made, size, resize_mode)


def fitted(picture: Image.Image, size: Size, resize_mode: str) -> Image.Image:
    """At `size`: stretched, cut to its shape, or with bars in the colour that its border has."""
    if picture.size == size:
        return picture
    made = _fitted(picture, size, resize_mode)
    if len(picture.convert("L").getcolors() or ()) > 2:
        return made
    # Lines of one pixel have to survive being made smaller, and stay black and white.
    shrunk = max(1.0, *(before / after for before, after in zip(picture.size, size, strict=True)))
    return made.point(lambda tone: 255 if tone > 127 / shrunk else 0)


def _fitted(picture: Image.Image, size: Size, resize_mode: str) -> Image.Image:
    how = Image.Resampling.LANCZOS
    if resize_mode == JUST_RESIZE:
        return picture.resize(size, how)
    if resize_mode == FILL:
        return ImageOps.pad(picture, size, how, color=_border_colour(picture))
    return ImageOps.fit(picture, size, how)


def _border_colour(picture: Image.Image) -> tuple[int, ...] | int:
    pixels = np.asarray(picture)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    middle = np.median(border, axis=0).astype(int)
    return tuple(middle.tolist()) if picture.mode == "RGB" else int(middle)


def hint(picture: Image.Image, mask: Image.Image | None = None) -> NDArray[np.float32]:
    """(3, height, width) from 0 to 1, and -1 where `mask` (of the same size, white: to be painted) is white."""
    values = np.asarray(picture.convert("RGB"), dtype=np.float32).transpose(2, 0, 1) / 255
    if mask is not None:
        values = np.where(np.asarray(mask.convert("L")) > 127, np.float32(-1), values)
    return np.ascontiguousarray(values)
