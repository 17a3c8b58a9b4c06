"""Draws pictures into one: a grid with names over its columns and beside its rows. Knows neither jobs nor requests.

The layout is AUTOMATIC1111's as far as a person sees it: names over the columns and left of the rows, wrapped to the
width that they have, cells of one size, an empty one where a picture is missing.
"""

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, EMPTY = (255, 255, 255), (0, 0, 0), (214, 214, 214)
MOST_PIXELS = 200_000_000
"""Of one picture that is drawn; the cells of a larger one are made smaller."""
LINE_HEIGHT = 1.25
GAP = 0.5
"""Between names and pictures, in letters' heights."""
MOST_LINES = 12

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FONTS = ("NotoSansCJK-Regular.ttc", "NotoSansKR-Regular.otf", "NanumGothic.ttf", "malgun.ttf", "AppleSDGothicNeo.ttc")
"""Fonts that may be on the machine, for letters that Pillow's own does not have."""
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "C:/Windows/Fonts", "/System/Library/Fonts")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is drawn: `cells` row by row, as many rows as `columns` makes of them."""

    cells: "Sequence[Image.Image | None]"
    """None where a picture is missing: an empty cell, crossed out."""
    columns: int
    """1 or more."""
    over: Sequence[str] = ()
    """Names of the columns; () or one for each."""
    beside: Sequence[str] = ()
    """Names of the rows; () or one for each."""
    title: str = ""
    """Over all of it."""
    margin: int = 0
    """Pixels between cells."""


def draw_grid(grid: Grid) -> Image.Image:
    """The grid as one RGB picture. Cells are as large as the largest of them; smaller pictures stand in the middle.

    A grid of more than `MOST_PIXELS` is drawn of smaller cells.
    """
    width = max((cell.width for cell in grid.cells if cell), default=64)
    height = max((cell.height for cell in grid.cells if cell), default=64)
    rows = -(-len(grid.cells) // grid.columns)
    size = max(12, (width + height) // 25)
    left = _room_beside(grid.beside, width, size)
    across = grid.columns * (width + grid.margin) - grid.margin
    title = _fitted(grid.title, left + across, size)
    over = [_fitted(name, width, size) for name in grid.over]
    top = _height((title,), size) + _height(over, size)
    whole = left + across, top + rows * (height + grid.margin) - grid.margin
    if math.prod(whole) > MOST_PIXELS and max(width, height) > 1:
        share = 0.98 * share_of(math.prod(whole))
        smaller = [cell and shrunk(cell, share) for cell in grid.cells]
        return draw_grid(replace(grid, cells=smaller, margin=int(grid.margin * share)))
    canvas = Image.new("RGB", whole, PAPER)
    draw = ImageDraw.Draw(canvas)
    _write(draw, title, (left + across / 2, _height((title,), size) / 2), size)
    for number, lines in enumerate(over):
        middle = left + number * (width + grid.margin) + width / 2
        _write(draw, lines, (middle, top - _height(over, size) / 2), size)
    for number, name in enumerate(grid.beside):
        middle = top + number * (height + grid.margin) + height / 2
        _write(draw, _fitted(name, left, size), (left / 2, middle), size)
    for number, cell in enumerate(grid.cells):
        row, column = divmod(number, grid.columns)
        _put(canvas, cell, (left + column * (width + grid.margin), top + row * (height + grid.margin)), (width, height))
    return canvas


def share_of(pixels: int) -> float:
    """How large the sides of pictures of so many pixels together may be, 1: as they are."""
    return min(1.0, math.sqrt(MOST_PIXELS / max(1, pixels)))


def shrunk(picture: Image.Image, share: float) -> Image.Image:
    """With sides of `share` times their length."""
    if share >= 1:
        return picture
    size = max(1, int(picture.width * share)), max(1, int(picture.height * share))
    return picture.resize(size, Image.Resampling.BOX)


def _put(canvas: Image.Image, cell: Image.Image | None, corner: tuple[int, int], size: tuple[int, int]) -> None:
    (x, y), (width, height) = corner, size
    if cell is not None:
        canvas.paste(cell, (x + (width - cell.width) // 2, y + (height - cell.height) // 2))
        return
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=EMPTY)
    draw.line((x, y, x + width - 1, y + height - 1), fill=PAPER, width=2)
    draw.line((x, y + height - 1, x + width - 1, y), fill=PAPER, width=2)


@dataclass(frozen=True)
class _Lines:
    """A name as it is written: wrapped, in letters of `size` pixels."""

    lines: tuple[str, ...] = ()
    size: int = 0

    @property
    def height(self) -> int:
        return round(len(self.lines) * self.size * LINE_HEIGHT)


def _fitted(text: str, width: int, size: int) -> _Lines:
    """Wrapped to `width` pixels; in smaller letters where a word alone is wider or the lines are too many."""
    while text:
        wrapped = _wrapped(text, width, _font(size, text))
        is_wide = any(_length(line, _font(size, text)) > width for line in wrapped)
        if (not is_wide and len(wrapped) <= MOST_LINES) or size <= 10:
            return _Lines(tuple(wrapped[:MOST_LINES]), size)
        size = max(10, size - 2)
    return _Lines()


def _wrapped(text: str, width: int, font: Font) -> list[str]:
    lines: list[str] = []
    for part in text.splitlines():
        line = ""
        for word in part.split():
            longer = f"{line} {word}".strip()
            if line and _length(longer, font) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _height(names: Sequence[_Lines], size: int) -> int:
    tallest = max((name.height for name in names), default=0)
    return tallest + round(size * GAP) if tallest else 0


def _room_beside(names: Sequence[str], width: int, size: int) -> int:
    """Width of the column of row names: what the longest needs, three quarters of a picture at most."""
    if not any(names):
        return 0
    longest = max(_length(line, _font(size, name)) for name in names for line in name.splitlines() or [""])
    return round(min(longest, max(0.75 * width, 48))) + round(size * 2 * GAP)


def _write(draw: ImageDraw.ImageDraw, name: _Lines, middle: tuple[float, float], size: int) -> None:
    x, y = middle
    y -= name.height / 2
    for line in name.lines:
        draw.text((x, y + name.size * LINE_HEIGHT / 2), line, fill=INK, font=_font(name.size, line), anchor="mm")
        y += name.size * LINE_HEIGHT


def _length(text: str, font: Font) -> float:
    return font.getlength(text)


def _font(size: int, text: str) -> Font:
    return _loaded(size, all(ord(letter) < 0x250 for letter in text))


@functools.lru_cache(maxsize=64)
def _loaded(size: int, is_latin: bool) -> Font:
    path = None if is_latin else _font_of_the_machine()
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)


@functools.cache
def _font_of_the_machine() -> Path | None:
    """One of `FONTS`, wherever the system keeps it."""
    found = {name: Path(folder) / name for top in FONT_FOLDERS for folder, _, names in os.walk(top) for name in names}
    return next((found[name] for name in FONTS if name in found), None)
