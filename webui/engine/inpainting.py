"""What happens to pictures and masks around the sampling of img2img and inpainting: sizes, boxes, content, overlay.

Works on pixels with Pillow and numpy alone; latents are the business of `denoise` and `vae`. A mask is a grey picture:
white is repainted, black stays. Boxes are (left, top, right, bottom) in pixels, the right and bottom edge excluded.
"""

from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageChops, ImageOps

Box: TypeAlias = tuple[int, int, int, int]
Size: TypeAlias = tuple[int, int]
Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

FILL_RADII = (256.0, 64.0, 16.0, 16.0, 4.0, 4.0, 4.0, 4.0, 2.0, 2.0)
"""Blurs, coarse to fine, whose layers spread the surroundings into the masked area."""
FILL_SIDE = 256
"""Longer pictures are filled at this size."""


# Sizes.


def resized(picture: Image.Image, size: Size, resize_mode: str) -> Image.Image:
    """`picture` at `size` (width, height): stretched, cut to the shape, or padded with its stretched edges."""
    if resize_mode == "Crop and resize":
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    if resize_mode == "Resize and fill":
        return _padded(picture, size)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _padded(picture: Image.Image, size: Size) -> Image.Image:
    """The whole picture in the middle; its outermost rows or columns are stretched over the rest."""
    scale = min(size[0] / picture.width, size[1] / picture.height)
    fitting = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    inner = resized(picture, fitting, "Just resize")
    across, down = size[0] - inner.width, size[1] - inner.height
    margins = [(down // 2, down - down // 2), (across // 2, across - across // 2)]
    pixels = np.asarray(inner)
    return Image.fromarray(np.pad(pixels, [*margins, (0, 0)][: pixels.ndim], mode="edge"))


def grown(picture: Image.Image, margins: Box) -> Image.Image:
    """`picture` with `margins` (left, top, right, bottom) around it, over which its edge is stretched."""
    left, top, right, bottom = margins
    pixels = np.asarray(picture)
    return Image.fromarray(np.pad(pixels, [(top, bottom), (left, right), (0, 0)][: pixels.ndim], mode="edge"))


def masked_margins(mask: Image.Image, margins: Box) -> Image.Image:
    """The mask of a `grown` picture: all that is new is white."""
    left, top, right, bottom = margins
    larger = Image.new("L", (left + mask.width + right, top + mask.height + bottom), 255)
    larger.paste(mask, (left, top))
    return larger


# Masks.


def gaussian(grey: Image.Image, sigma: float) -> Image.Image:
    """Gaussian blur by a kernel of 2·⌊2.5·sigma + 0.5⌋ + 1 pixels, the edge pixels repeated outwards.

    Only around what is not black: the rest stays black.
    """
    reach = int(2.5 * sigma + 0.5)
    box = masked_box(grey, 2 * reach)
    if reach < 1 or box is None:
        return grey
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1, dtype=np.float32) / sigma) ** 2)
    weights /= weights.sum()
    values = np.asarray(grey.crop(box), dtype=np.float32)
    for _ in range(2):  # rows, then columns
        padded = np.pad(values, [(reach, reach), (0, 0)], mode="edge")
        total = np.zeros_like(values)
        for at, weight in enumerate(weights):
            total += weight * padded[at : at + len(values)]
        values = np.ascontiguousarray(total.T)
    soft = grey.copy()
    soft.paste(Image.fromarray(np.clip(values.round(), 0, 255).astype(np.uint8)), box[:2])
    return soft


def masked_box(mask: Image.Image, padding: int) -> Box | None:
    """The box around everything that is not black, `padding` pixels wider on each side; None for a black mask."""
    found = mask.getbbox()
    if found is None:
        return None
    left, top, right, bottom = found
    width, height = mask.size
    return max(0, left - padding), max(0, top - padding), min(width, right + padding), min(height, bottom + padding)


def widened(box: Box, target: Size, picture: Size) -> Box:
    """`box` grown along one side to the shape of `target`, about its middle and inside the picture where it can be."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if width * target[1] > height * target[0]:
        top, bottom = _grown(top, bottom, int(width * target[1] / target[0]), picture[1])
    else:
        left, right = _grown(left, right, int(height * target[0] / target[1]), picture[0])
    return left, top, right, bottom


def _grown(begin: int, end: int, length: int, limit: int) -> tuple[int, int]:
    missing = length - (end - begin)
    begin, end = begin - missing // 2, end + missing - missing // 2
    if end > limit:
        begin, end = begin - (end - limit), limit
    if begin < 0:
        begin, end = 0, end - begin
    return begin, min(end, limit)


# Content.


def filled(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """RGB `picture` with its masked area replaced by the colours around it, spread inwards.

    What is masked altogether has nothing around it and stays as it is. The fill is a blur, so it is made small.
    """
    kept = ImageOps.invert(mask.convert("L"))
    if kept.getbbox() is None:
        return picture
    small = max(1.0, max(picture.size) / FILL_SIDE)
    size = max(1, round(picture.width / small)), max(1, round(picture.height / small))
    alpha = np.asarray(kept.resize(size, Image.Resampling.BOX), dtype=np.float64)[..., None] / 255
    colours = np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.float64)
    known = np.concatenate([colours * alpha, alpha], axis=-1)
    result = np.zeros_like(known)
    for radius in FILL_RADII:
        result = _over(_blurred(known, radius / small), result)
    spread = result[..., :3] / np.maximum(result[..., 3:], 1e-9)
    fill = Image.fromarray(np.clip(spread.round(), 0, 255).astype(np.uint8)).resize(picture.size)
    return Image.composite(picture, fill, kept)


def _blurred(planes: Pixels, radius: float) -> Pixels:
    """(height, width, n) under three running means, which are near a Gaussian (Wells 1986)."""
    reach = max(1, round(radius))
    for axis in (0, 1) * 3:
        padding = [(reach + 1, reach) if each == axis else (0, 0) for each in range(3)]
        sums = np.pad(planes, padding, mode="edge").cumsum(axis)
        length = planes.shape[axis]
        last = range(2 * reach + 1, 2 * reach + 1 + length)
        planes = (sums.take(last, axis) - sums.take(range(length), axis)) / (2 * reach + 1)
    return planes


def _over(upper: Pixels, lower: Pixels) -> Pixels:
    """Premultiplied alpha compositing (Porter & Duff 1984)."""
    return upper + lower * (1 - upper[..., 3:])


# Overlay.


def overlaid(original: Image.Image, repainted: Image.Image, mask: Image.Image, box: Box | None = None) -> Image.Image:
    """`repainted`, stretched into `box` or over all of it, on RGB `original` through the mask of the whole picture."""
    layer = original.copy()
    place = box or (0, 0, *original.size)
    size = place[2] - place[0], place[3] - place[1]
    layer.paste(resized(repainted, size, "Just resize"), place[:2])
    if box is not None:  # outside the box nothing was repainted, whatever a blurred mask says
        inside = Image.new("L", mask.size)
        inside.paste(255, box)
        mask = ImageChops.multiply(mask, inside)
    return Image.composite(layer, original, mask)


def overlay_mask(mask: Image.Image) -> Image.Image:
    """The mask of the overlay when the whole picture was drawn: twice as strong, so that its soft edge lies outside."""
    return mask.point(lambda value: min(255, 2 * value))


def untouched(original: Image.Image, result: Image.Image, painted: Image.Image) -> Image.Image:
    """`result` where the mask as painted is not black, and the very pixels of `original` everywhere else."""
    return Image.composite(result, original, painted.point(lambda value: 255 if value else 0))
