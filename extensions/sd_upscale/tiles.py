"""Where tiles lie in a picture and how they become one again. Knows no requests."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image

Taken = TypeVar("Taken")


@dataclass(frozen=True)
class Tiling:
    """Tiles of one size that overlap by at least `overlap` pixels and cover a picture of `size`. All in pixels."""

    size: tuple[int, int]
    tile: tuple[int, int]
    overlap: int

    @property
    def across(self) -> list[int]:
        """Left edges of the columns."""
        return _edges(self.size[0], self.tile[0], self.overlap)

    @property
    def down(self) -> list[int]:
        """Upper edges of the rows."""
        return _edges(self.size[1], self.tile[1], self.overlap)

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Upper left corners, row by row."""
        return [(x, y) for y, x in itertools.product(self.down, self.across)]

    def cut(self, picture: Image.Image) -> list[Image.Image]:
        return self.each(picture, lambda tile: tile)

    def each(self, picture: Image.Image, take: Callable[[Image.Image], Taken]) -> list[Taken]:
        """What `take` makes of every tile; there is one at a time."""
        width, height = self.tile
        return [take(picture.crop((x, y, x + width, y + height))) for x, y in self.corners]

    def join(self, tiles: Sequence[Image.Image]) -> Image.Image:
        """The inverse of `cut`: each tile fades in over the one before, from left to right and from top to bottom."""
        columns = self.across
        whole = Image.new("RGB", self.size)
        for row, y in enumerate(self.down):
            strip = Image.new("RGB", (self.size[0], self.tile[1]))
            for x, tile in zip(columns, tiles[row * len(columns) : (row + 1) * len(columns)], strict=True):
                strip.paste(tile, (x, 0), _fade(tile.size, self.overlap if x else 0, is_sideways=True))
            whole.paste(strip, (0, y), _fade(strip.size, self.overlap if y else 0, is_sideways=False))
        return whole


def _edges(length: int, tile: int, overlap: int) -> list[int]:
    """Evenly spread, the last one at the end."""
    if tile >= length:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [number * (length - tile) // (count - 1) for number in range(count)]


def _fade(size: tuple[int, int], overlap: int, *, is_sideways: bool) -> Image.Image:
    """A mask that rises from 0 to 255 over the first `overlap` pixels."""
    length = size[0] if is_sideways else size[1]
    line = Image.new("L", (length, 1) if is_sideways else (1, length))
    line.putdata([255 if at >= overlap else round(255 * at / overlap) for at in range(length)])
    return line.resize(size, Image.Resampling.NEAREST)
