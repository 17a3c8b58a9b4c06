"""A picture through a network tile by tile: what it takes of memory depends on the tile and not on the picture.

Tiles overlap and are faded into each other. Each is computed with some pixels more all around, so that what a network
makes of a border is cut off again. Knows nothing of which network it is.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from webui.engine.upscaling.enlarger import Enlarger

CONTEXT = 8
"""Pixels around a tile that the network sees beside it."""


@dataclass(frozen=True)
class Tiling:
    """`tile`: side of a tile in pixels of what goes in, 0 for all of it; `overlap`: at least about this many pixels."""

    tile: int = 192
    overlap: int = 8

    def starts(self, length: int) -> list[int]:
        """Where the tiles of a side of `length` begin, evenly spread; the last one ends with it."""
        tile = self.size(length)
        if tile == length:
            return [0]
        count = -(-(length - self.overlap) // max(tile - self.overlap, 1))
        return [round(number * (length - tile) / (count - 1)) for number in range(count)]

    def size(self, length: int) -> int:
        """Length of a tile's side on a side of the picture."""
        return min(self.tile or length, length)

    def count(self, size: tuple[int, int]) -> int:
        return len(self.starts(size[0])) * len(self.starts(size[1]))

    def halved(self, size: tuple[int, int]) -> "Tiling":
        """Tiles of half the side, for a picture of `size`."""
        return Tiling(max(self.size(side) for side in size) // 2, self.overlap)


def enlarge(enlarger: Enlarger, picture: Image.Image, tiling: Tiling) -> Generator[None, None, Image.Image]:
    """`picture` (RGB) `enlarger.scale` times as large; yields after every tile."""
    scale, (width, height) = enlarger.scale, picture.size
    tile_width, tile_height = tiling.size(width), tiling.size(height)
    result = Image.new("RGB", (width * scale, height * scale))
    bottom = 0
    for top in tiling.starts(height):
        row = Image.new("RGB", (width * scale, tile_height * scale))
        right = 0
        for left in tiling.starts(width):
            tile = _tile(enlarger, picture, (left, top, left + tile_width, top + tile_height))
            row.paste(tile, (left * scale, 0), _fade(tile.size, (right - left) * scale, 0))
            right = left + tile_width
            yield
        result.paste(row, (0, top * scale), _fade(row.size, (bottom - top) * scale, 1))
        bottom = top + tile_height
    return result


def _tile(enlarger: Enlarger, picture: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """The part of `picture` in `box` (left, top, right, bottom), enlarged."""
    left, top = max(box[0] - CONTEXT, 0), max(box[1] - CONTEXT, 0)
    right, bottom = min(box[2] + CONTEXT, picture.width), min(box[3] + CONTEXT, picture.height)
    pixels = torch.from_numpy(np.array(picture.crop((left, top, right, bottom)))).permute(2, 0, 1)[None] / 255
    enlarged = enlarger(pixels)[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    x, y = (box[0] - left) * enlarger.scale, (box[1] - top) * enlarger.scale
    width, height = (box[2] - box[0]) * enlarger.scale, (box[3] - box[1]) * enlarger.scale
    return Image.fromarray(enlarged).crop((x, y, x + width, y + height))


def _fade(size: tuple[int, int], overlap: int, axis: int) -> Image.Image:
    """A mask of `size` that rises over the first `overlap` pixels along an axis (0: from the left, 1: from the top)."""
    length = size[axis]
    rise = (np.arange(length) + 0.5) / max(overlap, 1)
    levels = np.where(np.arange(length) < overlap, rise * 255, 255).round().astype(np.uint8)
    line = Image.fromarray(levels[None] if axis == 0 else levels[:, None])
    return line.resize(size, Image.Resampling.NEAREST)
