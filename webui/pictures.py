"""Picture files from outside as upright RGB: every band layout, and a sentence for what cannot be read.

Knows no torch and nothing of datasets. A file is never trusted: its size is looked at before it is decoded, and only
formats that Pillow decodes by itself are tried.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from webui.errors import UnusablePicture
from webui.sentences import Sentence

Size: TypeAlias = tuple[int, int]
"""(width, height) in pixels."""

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM")
"""Not all that Pillow knows: some start other programs (EPS) or are fonts and documents."""
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp"),
    *(".tif", ".tiff", ".jp2", ".ppm", ".pgm"),
)
MAX_PIXELS = 89_478_485
"""Pillow's own limit for pictures that are no attack: 256 MB as RGB."""
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright (TIFF 6.0, tag 274)."""


def picture_size(path: Path) -> Size:
    """(width, height) of the upright picture, from the file's beginning alone. Raises `UnusablePicture`."""
    with _opened(path) as image:
        if image.format == "PNG" and "exif" not in image.info:
            return image.size  # Pillow would decode all of it to look whether EXIF comes behind
        return _upright_size(image)


def check_picture(path: Path) -> Size:
    """(width, height) of the upright picture after decoding all of it. Raises `UnusablePicture`."""
    with _opened(path) as image:
        size = _upright_size(image)
        image.draft("L", (image.width // 8, image.height // 8))  # JPEG only: all is read, little is computed
        image.load()
        return size


def read_picture(path: Path, least: int | None = None, called: str | Sentence = "") -> Image.Image:
    """Upright RGB, transparency over white. Raises `UnusablePicture`, which says `called` or the file's name.

    With `least` a JPEG may be decoded smaller, both sides staying at least that long.
    """
    with _opened(path, called) as image:
        turn = TURNS.get(_orientation(image))
        if least is not None:
            image.draft("RGB", (least, least))
        flat = to_rgb(image)
        return flat if turn is None else flat.transpose(turn)


def read_mask(path: Path) -> Image.Image:
    """Upright 8 bit grey: what is painted in the alpha channel where that is not all opaque, else the brightness.

    Raises `UnusablePicture`.
    """
    with _opened(path) as image:
        turn = TURNS.get(_orientation(image))
        if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
            alpha = image.convert("RGBA").getchannel("A")
            mask = alpha if alpha.getextrema() != (255, 255) else to_rgb(image).convert("L")
        else:
            mask = to_rgb(image).convert("L")
        return mask if turn is None else mask.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB; what is transparent becomes white."""
    if image.mode[0] == "I" or image.mode == "F":
        image = _eight_bit(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """16 and 32 bit integers and floats as grey; Pillow alone would cut everything above 255 off."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:  # the file does not say what white is: the smallest usual maximum that holds all values
        usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        largest = float(values.max(initial=0))
        top = next((limit for limit in usual if largest <= limit), largest)
    return Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))


def _upright_size(image: Image.Image) -> Size:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF raises anything, and the picture is there all the same
        return 1


@contextmanager
def _opened(path: Path, called: str | Sentence = "") -> Iterator[Image.Image]:
    """The file, looked at but not decoded; everything that Pillow raises in the block becomes `UnusablePicture`."""
    name = called or path.name
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(name)
            yield image
    except UnusablePicture:
        raise
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except UnidentifiedImageError as error:
        raise UnusablePicture("{name} cannot be used: it is no picture, or damaged.", name=name) from error
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        if isinstance(error, OSError) and error.strerror:
            raise UnusablePicture("{name} cannot be read: {reason}.", name=name, reason=error.strerror) from error
        raise UnusablePicture("{name} cannot be used: it is cut off or damaged.", name=name) from error


def _too_large(name: str | Sentence) -> UnusablePicture:
    return UnusablePicture(
        "{name} cannot be used: it has more than {limit} million pixels. Make it smaller.",
        name=name,
        limit=MAX_PIXELS // 1_000_000,
    )
