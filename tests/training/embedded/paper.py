"""Pictures that nobody drew: coloured discs with words, enough to go through every stage."""

import numpy as np

from webui.training.embedded.emoji import Emoji
from webui.training.embedded.words import Concept


def paper_concept(number, subgroup="geometric"):
    return Concept(str(number), f"disc {number}", ("plate", "coin"), ("round",), (f"원 {number}", "원"), subgroup)


def paper_emoji(count, size=64, styles=("fluent3d",)):
    """`count` discs of different colours in each style; the disc fills the middle two thirds."""
    rows, columns = np.mgrid[:size, :size]
    disc = (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 3) ** 2
    colours = np.random.default_rng(0).integers(0, 255, (count, 3), dtype=np.uint8)
    return [
        Emoji(
            paper_concept(number),
            style,
            np.dstack([np.full((size, size, 3), colour), disc * np.uint8(255)]).astype(np.uint8),
        )
        for style in styles
        for number, colour in enumerate(colours)
    ]
