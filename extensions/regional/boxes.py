"""Boxes as people type them and as the option keeps them: read and refused line by line. See docs/regional.md."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from webui.extension import InvalidRequest

MOST_BOXES = 16
"""Each costs a call of the UNet at every step."""
MOST_WEIGHT = 5.0

LINE = re.compile(r"([^:]*):(.*)")
NEGATIVE = "not"


@dataclass(frozen=True)
class Box:
    """A part of the picture and what it shows; places and lengths are shares of the picture's sides."""

    left: float
    top: float
    width: float
    height: float
    weight: float
    prompt: str
    negative_prompt: str | None = None
    """None: that of the picture."""


def read_boxes(text: str) -> tuple[Box, ...]:
    """Of lines "left top width height weight: prompt"; the weight may be left out, and a line "not: negative prompt"
    belongs to the box above it. Raises `InvalidRequest`.
    """
    boxes: list[Box] = []
    for number, said in _lines(text):
        match = LINE.fullmatch(said)
        if match is None:
            raise InvalidRequest(
                "Line {line} of the boxes has no colon: write “left top width height: prompt”.", line=number
            )
        numbers, words = match[1].split(), match[2].strip()
        if numbers != [NEGATIVE]:
            boxes.append(_box(number, numbers, words))
        elif boxes and boxes[-1].negative_prompt is None:
            boxes[-1] = replace(boxes[-1], negative_prompt=words)
        else:
            raise InvalidRequest("Line {line} of the boxes is a “not:” without a box of its own above it.", line=number)
    if len(boxes) > MOST_BOXES:
        raise InvalidRequest("There are {count} boxes; {most} are possible.", count=len(boxes), most=MOST_BOXES)
    return tuple(boxes)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Those that say something, with their numbers from 1."""
    return ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _box(line: int, numbers: list[str], prompt: str) -> Box:
    try:
        left, top, width, height, weight = (float(each) for each in (numbers if len(numbers) == 5 else [*numbers, "1"]))
    except ValueError:
        raise InvalidRequest(
            "Line {line} of the boxes does not begin with four or five numbers: write “left top width height weight: "
            "prompt”, each from 0 to 1 and the weight if it is not 1.",
            line=line,
        ) from None
    is_inside = left >= 0 and top >= 0 and left + width <= 1.001 and top + height <= 1.001
    if not (is_inside and width > 0 and height > 0):  # false for what is not a number, too
        raise InvalidRequest(
            "The box of line {line} does not lie in the picture: left + width and top + height must be 1 at most.",
            line=line,
        )
    if not (math.isfinite(weight) and 0 <= weight <= MOST_WEIGHT):
        raise InvalidRequest(
            "The weight in line {line} of the boxes must be between 0 and {most}.", line=line, most=f"{MOST_WEIGHT:g}"
        )
    return Box(left, top, width, height, weight, prompt)
