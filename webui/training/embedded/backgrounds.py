"""Simple painted backgrounds, by place: sky and grass, a beach, a starry night, a room, …

Drawn with Pillow from random numbers, so that no picture of anybody else is needed. A bank holds a few dozen per place.
"""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from webui.training.embedded.words import PLACES

Colour = tuple[int, int, int]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Painter = Callable[[ImageDraw.ImageDraw, int, random.Random], None]


def paint(place: str, size: int, rng: random.Random) -> Pixels:
    """One background, (size, size, 3) uint8; drawn at twice the size and reduced, so that edges are smooth."""
    image = Image.new("RGB", (2 * size, 2 * size))
    PAINTERS[place](ImageDraw.Draw(image), 2 * size, rng)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5) * size / 128))
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))


def _near(colour: Colour, rng: random.Random, spread: int = 16) -> Colour:
    shift = rng.randint(-spread, spread)
    red, green, blue = (max(0, min(255, part + shift + rng.randint(-spread // 2, spread // 2))) for part in colour)
    return red, green, blue


def _gradient(
    draw: ImageDraw.ImageDraw, size: int, top: Colour, bottom: Colour, begin: float = 0, end: float = 1
) -> None:
    first, last = int(begin * size), int(end * size)
    for row in range(first, last):
        share = (row - first) / max(1, last - first)
        draw.line(
            [(0, row), (size, row)], fill=tuple(round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
        )


def _sky(draw: ImageDraw.ImageDraw, size: int, rng: random.Random, end: float = 1) -> None:
    _gradient(draw, size, _near((105, 180, 240), rng), _near((205, 232, 250), rng), 0, end)


def _clouds(draw: ImageDraw.ImageDraw, size: int, rng: random.Random, count: int, below: float) -> None:
    for _ in range(count):
        x, y, width = rng.uniform(0, size), rng.uniform(0.05, below) * size, rng.uniform(0.12, 0.3) * size
        for _ in range(4):
            dx, r = rng.uniform(-0.5, 0.5) * width, rng.uniform(0.2, 0.35) * width
            draw.ellipse([x + dx - r, y - r * 0.7, x + dx + r, y + r * 0.7], fill=_near((248, 250, 252), rng, 4))


def _hills(
    draw: ImageDraw.ImageDraw, size: int, rng: random.Random, level: float, height: float, colour: Colour
) -> None:
    phases = [(rng.uniform(0, 6.3), rng.uniform(0.6, 2.2), rng.uniform(0.3, 1)) for _ in range(3)]
    points = [
        (x, (level - height * sum(a * math.sin(p + f * 6.3 * x / size) for p, f, a in phases) / 2) * size)
        for x in range(0, size + 8, 8)
    ]
    draw.polygon([*points, (size, size), (0, size)], fill=colour)


def _grass(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    level = rng.uniform(0.5, 0.75)
    _sky(draw, size, rng)
    _clouds(draw, size, rng, rng.randint(0, 3), 0.4)
    _hills(draw, size, rng, level, 0.05, _near((120, 190, 85), rng))
    _hills(draw, size, rng, level + 0.12, 0.03, _near((95, 170, 70), rng))


def _beach(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    horizon, shore = rng.uniform(0.35, 0.5), rng.uniform(0.6, 0.72)
    _sky(draw, size, rng, horizon)
    _gradient(draw, size, _near((40, 130, 200), rng), _near((95, 200, 215), rng), horizon, shore)
    _hills(draw, size, rng, shore, 0.02, _near((245, 248, 245), rng, 4))
    _hills(draw, size, rng, shore + 0.03, 0.02, _near((240, 215, 160), rng))


def _night(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    _gradient(draw, size, _near((12, 16, 50), rng, 8), _near((45, 50, 110), rng, 12))
    for _ in range(rng.randint(25, 60)):
        x, y, r = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(0.003, 0.009) * size
        draw.ellipse([x - r, y - r, x + r, y + r], fill=_near((250, 245, 215), rng, 6))


def _sea(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    level = rng.uniform(0.25, 0.5)
    _sky(draw, size, rng)
    deep = _near((30, 105, 190), rng)
    for index in range(5):
        share = index / 4
        colour = (
            round(deep[0] + 40 * (1 - share)),
            round(deep[1] + 50 * (1 - share)),
            round(deep[2] + 30 * (1 - share)),
        )
        _hills(draw, size, rng, level + share * (0.95 - level), 0.02, colour)


def _snow(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    _gradient(draw, size, _near((150, 185, 215), rng), _near((220, 232, 242), rng))
    _hills(draw, size, rng, rng.uniform(0.55, 0.7), 0.05, _near((240, 246, 252), rng, 5))
    for _ in range(rng.randint(25, 50)):
        x, y, r = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(0.006, 0.014) * size
        draw.ellipse([x - r, y - r, x + r, y + r], fill=(255, 255, 255))


def _room(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    floor = rng.uniform(0.62, 0.75) * size
    wall = rng.choice([(238, 220, 190), (205, 225, 215), (225, 205, 220), (235, 228, 215)])
    draw.rectangle([0, 0, size, floor], fill=_near(wall, rng))
    draw.rectangle([0, floor, size, size], fill=_near((165, 115, 75), rng))
    draw.rectangle([0, floor - 0.03 * size, size, floor], fill=_near((250, 248, 242), rng, 4))
    left, top = rng.choice([0.06, 0.6]) * size, rng.uniform(0.08, 0.16) * size
    right, bottom = left + 0.32 * size, top + 0.32 * size
    draw.rectangle([left, top, right, bottom], fill=(252, 252, 250))
    edge = 0.025 * size
    draw.rectangle([left + edge, top + edge, right - edge, bottom - edge], fill=_near((160, 210, 245), rng))
    draw.rectangle([(left + right) / 2 - edge / 2, top, (left + right) / 2 + edge / 2, bottom], fill=(252, 252, 250))


def _city(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    _sky(draw, size, rng)
    ground, x = 0.84 * size, 0.0
    while x < size:
        width, top = rng.uniform(0.1, 0.2) * size, rng.uniform(0.2, 0.6) * size
        draw.rectangle(
            [x, top, x + width, ground], fill=_near(rng.choice([(120, 130, 150), (160, 150, 150), (95, 110, 135)]), rng)
        )
        for wx in np.arange(x + 0.02 * size, x + width - 0.03 * size, 0.045 * size):
            for wy in np.arange(top + 0.03 * size, ground - 0.04 * size, 0.06 * size):
                draw.rectangle([wx, wy, wx + 0.02 * size, wy + 0.028 * size], fill=(245, 230, 160))
        x += width + rng.uniform(0, 0.02) * size
    draw.rectangle([0, ground, size, size], fill=_near((95, 98, 105), rng))


def _forest(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    _gradient(draw, size, _near((150, 205, 200), rng), _near((200, 225, 190), rng))
    for layer in range(2):
        for _ in range(7):
            x, base = rng.uniform(0, size), (0.68 + 0.1 * layer) * size
            width, height = rng.uniform(0.08, 0.14) * size, rng.uniform(0.35, 0.6) * size
            green = _near((55, 125 - 25 * layer, 75 - 15 * layer), rng)
            draw.rectangle([x - 0.012 * size, base - 0.06 * size, x + 0.012 * size, base], fill=(100, 70, 45))
            draw.polygon(
                [(x - width, base - 0.05 * size), (x, base - height), (x + width, base - 0.05 * size)], fill=green
            )
        _hills(draw, size, rng, 0.68 + 0.1 * layer, 0.02, _near((80, 135 - 15 * layer, 60), rng))


def _desert(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    _gradient(draw, size, _near((130, 195, 235), rng), _near((250, 225, 180), rng))
    _hills(draw, size, rng, rng.uniform(0.5, 0.6), 0.07, _near((230, 180, 105), rng))
    _hills(draw, size, rng, rng.uniform(0.68, 0.78), 0.06, _near((215, 155, 80), rng))


def _mountains(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    _sky(draw, size, rng)
    for _ in range(rng.randint(3, 5)):
        x, top, width, base = (
            rng.uniform(0, size),
            rng.uniform(0.12, 0.35) * size,
            rng.uniform(0.25, 0.45) * size,
            0.72 * size,
        )
        draw.polygon([(x - width, base), (x, top), (x + width, base)], fill=_near((115, 125, 150), rng))
        cap = 0.25
        draw.polygon(
            [(x - width * cap, top + (base - top) * cap), (x, top), (x + width * cap, top + (base - top) * cap)],
            fill=(248, 250, 253),
        )
    _hills(draw, size, rng, 0.7, 0.03, _near((100, 160, 90), rng))


def _sunset(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    level = rng.uniform(0.6, 0.75)
    _gradient(draw, size, _near((90, 60, 130), rng), _near((250, 150, 80), rng), 0, level)
    x, y, r = rng.uniform(0.15, 0.85) * size, (level - rng.uniform(0, 0.15)) * size, rng.uniform(0.08, 0.14) * size
    draw.ellipse([x - r, y - r, x + r, y + r], fill=_near((255, 220, 120), rng, 6))
    _gradient(draw, size, _near((120, 60, 90), rng), _near((50, 35, 75), rng), level, 1)


def _open_sky(draw: ImageDraw.ImageDraw, size: int, rng: random.Random) -> None:
    _sky(draw, size, rng)
    _clouds(draw, size, rng, rng.randint(3, 7), 0.95)


PAINTERS: Mapping[str, Painter] = {
    "grass": _grass,
    "beach": _beach,
    "night": _night,
    "sea": _sea,
    "snow": _snow,
    "room": _room,
    "city": _city,
    "forest": _forest,
    "desert": _desert,
    "mountains": _mountains,
    "sunset": _sunset,
    "sky": _open_sky,
}
assert set(PAINTERS) == set(PLACES)


def bank(place: str, size: int, count: int, seed: int) -> Pixels:
    """(count, size, size, 3): different backgrounds of one place."""
    rng = random.Random(f"{seed}/{place}")
    return np.stack([paint(place, size, rng) for _ in range(count)])
