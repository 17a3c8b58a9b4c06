"""Boxes at work: each is predicted by itself at every step, in a crop around it. Equation: docs/regional.md."""

from dataclasses import dataclass

import torch

from webui.extension import Area, Conditioning, EngineContext, EngineHooks, Sentence, Step, replace

from .boxes import Box, read_boxes
from .options import Options

LEAST_SIDE = 8
"""Latents of a crop along a side: a network sees nothing in less. A smaller box is cropped with its surroundings."""

Place = tuple[int, int, int, int]
"""Left, top, right and bottom in latents."""


@dataclass(frozen=True)
class Placed:
    """A box in the latents of a pass."""

    box: Box
    place: Place
    share: torch.Tensor
    """(height, width) of the place, 0 to 1."""


class Engine(EngineHooks[Options]):
    def __init__(self, options: Options, context: EngineContext) -> None:
        super().__init__(options, context)
        self._boxes = read_boxes(options.boxes)
        self._placed: tuple[Placed, ...] = ()
        self._placed_in: object = None

    def conditioning(self, conditioning: Conditioning, step: Step) -> Conditioning:
        if self._placed_in != (step.size, step.window):
            self._place(step)
        areas = (
            Area(
                box=each.place,
                share=each.share,
                conditioning=conditioning.read(each.box.prompt, each.box.negative_prompt),
            )
            for each in self._placed
        )
        return replace(conditioning, areas=(*conditioning.areas, *areas))

    def _place(self, step: Step) -> None:
        """Find the boxes' places in the step's pass."""
        common, feather = self.options.common, self.options.feather
        self._placed = shares(self._boxes, step.size, step.window, common=common, feather=feather)
        self._placed_in = step.size, step.window
        drawn, boxes = len(self._placed), len(self._boxes)
        self.context.note(Sentence("{drawn} of {boxes} boxes lay in what was drawn.", drawn=drawn, boxes=boxes))


def shares(
    boxes: tuple[Box, ...],
    size: tuple[int, int],
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
    *,
    common: float,
    feather: float,
) -> tuple[Placed, ...]:
    """Where each box is cropped, and how much it counts there.

    `size` (width, height) in latents of what is drawn, `window` what that is of the picture. Boxes without a share are
    left out.
    """
    masks = [box.weight * mask(box, size, window, feather) for box in boxes]
    every = torch.zeros(size[1], size[0])
    for weighted in masks:
        every += weighted
    total = common + (1 - common) * every.clamp(min=1)
    placed = []
    for box, weighted in zip(boxes, masks, strict=True):
        share = (1 - common) * weighted / total
        if bool((share > 0).any()):
            place = crop(share)
            left, top, right, bottom = place
            placed.append(Placed(box, place, share[top:bottom, left:right].contiguous()))
    return tuple(placed)


def mask(box: Box, size: tuple[int, int], window: tuple[float, float, float, float], feather: float) -> torch.Tensor:
    """(height, width): 1 inside the box, 0 outside, and one half on its edge where that is soft."""
    left, top, right, bottom = window
    unit = size[0] / (right - left), size[1] / (bottom - top)  # latents in a side of the whole picture
    ramp = max(1.0, feather * min(box.width * unit[0], box.height * unit[1]))  # less would lose parts of latents
    columns = _ramps(box.left, box.left + box.width, left, unit[0], size[0], ramp)
    rows = _ramps(box.top, box.top + box.height, top, unit[1], size[1], ramp)
    return rows[:, None] * columns


def _ramps(begin: float, end: float, first: float, unit: float, length: int, ramp: float) -> torch.Tensor:
    """(length): from 0 to 1 around `begin`, from 1 to 0 around `end`, each over `ramp` latents; an edge of the box on
    the picture's own edge is not soft."""
    at = torch.arange(length) + 0.5
    rise = ((at - (begin - first) * unit) / ramp + 0.5).clamp(0, 1)
    fall = (((end - first) * unit - at) / ramp + 0.5).clamp(0, 1)
    return (rise if begin > 0.001 else 1) * (fall if end < 0.999 else torch.ones(length))


def crop(share: torch.Tensor) -> Place:
    """The place around all of a share that is not 0, `LEAST_SIDE` wide and high where the picture is."""
    top, bottom = _span((share > 0).any(1))
    left, right = _span((share > 0).any(0))
    return left, top, right, bottom


def _span(has_share: torch.Tensor) -> tuple[int, int]:
    found, latents = torch.nonzero(has_share).flatten(), len(has_share)
    begin, end = int(found[0]), int(found[-1]) + 1
    length = max(end - begin, min(LEAST_SIDE, latents))
    begin = min(max(0, (begin + end - length) // 2), latents - length)
    return begin, begin + length
