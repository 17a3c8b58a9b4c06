"""How a picture of a dataset becomes what a network is given: its size in training, its crop, its tensor.

What a dataset is on the disk is `webui.dataset`'s; its types are here as well, for everything in this package.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from webui.dataset import Box, Dataset, Example, read_dataset
from webui.pictures import Size, picture_size, read_picture

__all__ = [
    "Box", "Dataset", "Example", "Size", "buckets", "crop_boxes", "frame", "load_picture", "picture_size",
    "read_dataset", "to_bytes",
]  # fmt: skip

MOST_ELONGATED = 3.0
"""Training sizes go from 1:3 to 3:1; what is longer is cropped."""


def buckets(originals: Sequence[Size], side: int, multiple: int) -> list[Size]:
    """For each picture the (width, height) it is trained at, the one nearest to its own aspect ratio.

    Both are multiples of `multiple`; the area is at most `side` squared, or one `multiple` squared.
    """
    cells = max(1, side // multiple)
    wide = [(columns, cells * cells // columns) for columns in range(cells, cells * cells + 1)]
    wide = [size for size in wide if size[0] <= MOST_ELONGATED * size[1]]
    sizes = wide + [(rows, columns) for columns, rows in wide]
    ordered = sorted(sizes, key=lambda size: -size[0] * size[1])  # of two equally near the larger
    nearest: dict[Size, Size] = {}
    for original in set(originals):
        aspect = math.log(original[0] / original[1])
        nearest[original] = min(ordered, key=lambda size: abs(math.log(size[0] / size[1]) - aspect))
    return [(nearest[each][0] * multiple, nearest[each][1] * multiple) for each in originals]


def frame(original: Size, size: Size) -> tuple[Size, Size]:
    """How a picture covers `size`: its own (width, height) after scaling, and what is cut off (left, top) of it."""
    scale = max(size[0] / original[0], size[1] / original[1])
    width, height = max(size[0], round(original[0] * scale)), max(size[1], round(original[1] * scale))
    return (width, height), ((width - size[0]) // 2, (height - size[1]) // 2)


def crop_boxes(boxes: Sequence[Box], original: Size, size: Size) -> tuple[Box, ...]:
    """The boxes of a picture in the crop that `load_picture` makes of it; those outside of it are dropped."""
    (width, height), (left, top) = frame(original, size)

    def inside(share: float, scaled: int, cut: int, kept: int) -> float:
        return min(max((share * scaled - cut) / kept, 0.0), 1.0)

    moved = (
        Box(
            label=box.label,
            left=inside(box.left, width, left, size[0]),
            top=inside(box.top, height, top, size[1]),
            right=inside(box.right, width, left, size[0]),
            bottom=inside(box.bottom, height, top, size[1]),
        )
        for box in boxes
    )
    return tuple(box for box in moved if box.left < box.right and box.top < box.bottom)


def load_picture(path: Path, width: int, height: int) -> torch.Tensor:
    """(3, height, width) in [-1, 1]: upright, over white, scaled to cover the size and cut at its centre.

    Raises `UnusablePicture`.
    """
    image = read_picture(path, least=2 * max(width, height))
    scaled, (left, top) = frame(image.size, (width, height))
    image = image.resize(scaled, Image.Resampling.LANCZOS).crop((left, top, left + width, top + height))
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32))
    return pixels.permute(2, 0, 1).contiguous() / 127.5 - 1


def to_bytes(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 of pictures in [-1, 1], as they are saved."""
    return ((pictures.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
