"""A picture becomes the next one's beginning, again and again; the denoising strength follows a curve."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from webui.extension import (
    Cell,
    Composed,
    Finished,
    Grid,
    ImageToImage,
    Inpaint,
    InvalidRequest,
    Param,
    Request,
    ScriptHooks,
    changed,
    draw_grid,
    opened,
    options,
)

CURVES: Mapping[str, Callable[[float], float]] = {
    "Aggressive": lambda share: math.sin(share * math.pi / 2),
    "Linear": lambda share: share,
    "Lazy": lambda share: 1 - math.cos(share * math.pi / 2),
}
"""How far the strength is on its way when a share of the loops is over, both 0 to 1."""
SEEDS = 2**32


@options
class Options:
    loops: Annotated[int, Param(1, 32, step=1, label="Loops", help="How many times over.")] = 4
    final_strength: Annotated[
        float,
        Param(0.0, 1.0, step=0.01, label="Final denoising strength",
              help="Of the last loop; the first has that of the form."),
    ] = 0.5  # fmt: skip
    curve: Annotated[
        str,
        Param(label="Denoising strength curve", values=tuple(CURVES),
              help="Whether the strength changes early, evenly or late."),
    ] = "Linear"  # fmt: skip


class Script(ScriptHooks[Options]):
    """Each batch of the request is a chain of its own that begins with the request's picture."""

    kinds = ("img2img", "inpaint")

    def following(self, request: Request, finished: Sequence[Finished]) -> Sequence[Cell]:
        assert isinstance(request, ImageToImage)
        if isinstance(request, Inpaint) and not request.mask:
            raise InvalidRequest("Loopback needs a mask: a picture grows only once.")
        made = len(finished)
        if made == self.count(request):
            return ()
        chain, loop = divmod(made, self.options.loops)
        values: dict[str, Any] = {
            "batch_count": 1, "batch_size": 1, "seed": (request.seed + made) % SEEDS,
            "strength": self._strength(request.strength, loop),
        }  # fmt: skip
        if loop:
            before = finished[-1]
            if not before.pictures:  # it failed: there is nothing to go on from
                return ()
            values |= self._next_input(request, before)
        return [Cell(request=changed(request, **values), label=f"{chain + 1}.{loop + 1}")]

    def count(self, request: Request) -> int:
        assert isinstance(request, ImageToImage)
        return self.options.loops * request.batch_count

    def columns(self, request: Request) -> int:
        return self.options.loops

    def compose(self, request: Request, finished: Sequence[Finished]) -> Iterator[Composed]:
        pictures = [pictures[0] if pictures else None for pictures in opened(finished)]
        if len(pictures) > 1:
            told = {"Loops": str(self.options.loops), "Final denoising strength": f"{self.options.final_strength:g}"}
            grid = Grid(cells=pictures, columns=self.options.loops)
            yield Composed(image=draw_grid(grid), told={**told, "Denoising curve": self.options.curve})

    def _strength(self, first: float, loop: int) -> float:
        share = CURVES[self.options.curve](loop / (self.options.loops - 1)) if self.options.loops > 1 else 0.0
        return round(first + (self.options.final_strength - first) * share, 6)

    def _next_input(self, request: ImageToImage, before: Finished) -> dict[str, Any]:
        """What the next loop begins with. A mask is brought to the size of the picture that it is for."""
        picture = before.pictures[0].open()
        values: dict[str, Any] = {"image": self.context.keep_picture(picture)}
        if not isinstance(request, Inpaint):
            return values
        # What was painted is changed further instead of being filled anew, and the picture has grown already.
        values |= {"masked_content": "original", **dict.fromkeys(MARGINS, 0)}
        if request.mask:
            mask = self.context.open_picture(request.mask)
            is_fitting = mask.size == picture.size
            values["mask"] = request.mask if is_fitting else self.context.keep_picture(mask.resize(picture.size))
        return values


MARGINS = ("outpaint_left", "outpaint_right", "outpaint_up", "outpaint_down")
