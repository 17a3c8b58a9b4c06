"""What a person can set: the boxes as lines of text, and how they meet the rest of the picture."""

from typing import Annotated, Self

from pydantic import model_validator

from webui.extension import Param, options

from .boxes import read_boxes


@options
class Options:
    """Without boxes it takes no part."""

    boxes: Annotated[
        str,
        Param(label="Boxes", max_length=20_000,
              help="One line for each: left top width height weight: prompt. Places are shares of the picture, from 0 "
                   "to 1; the weight may be left out. A line “not: …” below it is its own negative prompt."),
    ] = ""  # fmt: skip
    common: Annotated[
        float,
        Param(0.0, 1.0, step=0.05, label="Common prompt in the boxes",
              help="How much the prompt of the whole picture counts inside the boxes; 1: the boxes have no effect."),
    ] = 0.2  # fmt: skip
    feather: Annotated[
        float,
        Param(0.0, 0.5, step=0.01, label="Soft edge",
              help="How wide the edge is in which a box fades, as a share of its shorter side."),
    ] = 0.1  # fmt: skip

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        read_boxes(self.boxes)
        return self
