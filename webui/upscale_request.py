"""What can be asked for when a picture is to become larger: AUTOMATIC1111's Extras as one strict, frozen request.

How large the result becomes is computed here; how it is made is known to `engine/upscaling`.
"""

import math
from typing import Annotated, ClassVar, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from webui.errors import InvalidRequest
from webui.params import Param
from webui.pictures import MAX_PIXELS
from webui.request_base import STRICT, PictureId, Request


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Upscale(Request):
    """A picture enlarged, by one upscaler or by two whose results are mixed."""

    kind: ClassVar[str] = "upscale"

    image: Annotated[PictureId, Param(label="Picture", help="The picture to begin with, uploaded before.")]
    upscaler: Annotated[
        str,
        Param(label="Upscaler", max_length=300,
              help="What enlarges the picture: Lanczos, Nearest or a file of models/upscalers. None: nothing."),
    ] = "Lanczos"  # fmt: skip
    size_mode: Annotated[
        str,
        Param(label="Size", choices="size_mode", help="Whether a factor or a width and a height say how large."),
    ] = "Scale by"
    scale: Annotated[
        float, Param(1.0, 8.0, step=0.05, label="Factor", help="How many times as wide and as high it becomes.")
    ] = 4.0
    max_side: Annotated[
        int, Param(0, 16384, step=8, label="Longest side at most", help="In pixels, for Scale by. 0: no limit.")
    ] = 0
    width: Annotated[int, Param(64, 8192, step=8, label="Width", help="Width of the picture in pixels.")] = 512
    height: Annotated[int, Param(64, 8192, step=8, label="Height", help="Height of the picture in pixels.")] = 512
    crop: Annotated[
        bool,
        Param(label="Crop to fit",
              help="For Scale to: what stands over is cut off on both sides. Without it, the picture covers the size."),
    ] = True  # fmt: skip
    second_upscaler: Annotated[
        str,
        Param(label="Upscaler 2", max_length=300, help="A second one, whose result is laid over that of the first."),
    ] = "None"
    second_visibility: Annotated[
        float,
        Param(0.0, 1.0, step=0.001, label="Upscaler 2 visibility", help="How much of the second is seen; 0: nothing."),
    ] = 0.0
    tile_size: Annotated[
        int,
        Param(0, 512, step=16, label="Tile size",
              help="Side in pixels of what goes through the network at once; smaller needs less memory. 0: all of it."),
    ] = 192  # fmt: skip
    tile_overlap: Annotated[
        int,
        Param(0, 48, step=1, label="Tile overlap", help="Over so many pixels two tiles are faded into each other."),
    ] = 8

    @model_validator(mode="after")
    def _tiles_get_on(self) -> Self:
        if self.tile_size and self.tile_size < max(16, 2 * self.tile_overlap):
            raise InvalidRequest(
                "Tiles of {size} pixels are too small for an overlap of {overlap}. Take {least} or more, or 0 for no "
                "tiles.",
                size=self.tile_size, overlap=self.tile_overlap, least=max(16, 2 * self.tile_overlap),
            )  # fmt: skip
        return self

    @property
    def pictures(self) -> int:
        return 1

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.image,)

    @property
    def summary(self) -> str:
        size = f"{self.width} × {self.height}" if self.size_mode == "Scale to" else f"× {self.scale:g}"
        return f"{self.upscaler} {size}"

    @property
    def upscalers(self) -> tuple[str, ...]:
        """Those that are used, in order: none, one or two."""
        if self.upscaler == "None":
            return ()
        is_mixed = self.second_upscaler != "None" and self.second_visibility > 0
        return (self.upscaler, self.second_upscaler) if is_mixed else (self.upscaler,)

    def is_limited(self, before: tuple[int, int]) -> bool:
        """Whether `max_side` makes the result of a picture of that size smaller."""
        return self.size_mode == "Scale by" and 0 < self.max_side < max(before) * self.scale

    def enlarged(self, before: tuple[int, int]) -> tuple[int, int]:
        """(width, height) that a picture of such a size is enlarged to, before anything is cut off.

        Raises `InvalidRequest` for more pixels than can be read again.
        """
        width, height = before
        factor = self.scale
        if self.size_mode == "Scale to":
            factor = max(self.width / width, self.height / height)
        elif self.is_limited(before):
            factor = self.max_side / max(before)
        after = max(1, round(width * factor)), max(1, round(height * factor))
        if math.prod(after) > MAX_PIXELS:
            raise InvalidRequest(
                "{width}×{height} is more than {limit} million pixels. Take a smaller factor or size.",
                width=after[0], height=after[1], limit=MAX_PIXELS // 1_000_000,
            )  # fmt: skip
        return after
