"""How each kind of conditioning turns examples into conditions, and what a finished folder says about it.

The networks behind the conditions are `conditioning`'s; which weights learn is `diffusion`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from webui.training.batches import Batch, Batches
from webui.training.captions import Captions
from webui.training.conditioning import (
    MAX_NOISE_LEVEL,
    Condition,
    LabelledBox,
    covered,
    inpainting_channels,
    layout_rows,
    low_resolution,
    random_masks,
    with_noise,
)
from webui.training.data import Example, Size, crop_boxes
from webui.training.networks import FirstStage


class Steering(Protocol):
    """One kind of conditioning over one dataset."""

    def condition(self, batch: Batch, generator: torch.Generator) -> Condition:
        """What the examples of a batch are drawn from."""
        ...

    def null(self, count: int, size: Size) -> Condition | None:
        """The tokens that stand for no condition; None when there is nothing to leave out."""
        ...


@dataclass(frozen=True)
class Unsteered:
    """Nothing but the pictures themselves."""

    def condition(self, batch: Batch, generator: torch.Generator) -> Condition:
        return Condition(torch.zeros(len(batch.members)))

    def null(self, count: int, size: Size) -> Condition | None:
        return None


@dataclass(frozen=True)
class ByClass:
    """One class per picture."""

    classes: Sequence[str]
    examples: Sequence[Example]

    def condition(self, batch: Batch, generator: torch.Generator) -> Condition:
        names = [self.examples[member].label for member in batch.members]
        return Condition(torch.tensor([self.classes.index(name) for name in names if name is not None]))

    def null(self, count: int, size: Size) -> Condition | None:
        return Condition(torch.full((count,), len(self.classes)))


@dataclass(frozen=True)
class ByLayout:
    """Labelled boxes."""

    labels: Sequence[str]
    places: int
    batches: Batches

    def condition(self, batch: Batch, generator: torch.Generator) -> Condition:
        layouts = [self._boxes(member, batch.size) for member in batch.members]
        return Condition(layout_rows(layouts, self.places, len(self.labels)))

    def null(self, count: int, size: Size) -> Condition | None:
        return Condition(layout_rows([()] * count, self.places, len(self.labels)))

    def _boxes(self, member: int, size: Size) -> list[LabelledBox]:
        """The boxes as they lie in the picture after it was cut to `size`."""
        example = self.batches.examples[member]
        boxes = crop_boxes(example.boxes, example.size, size)
        return [LabelledBox(self.labels.index(box.label), box.left, box.top, box.right, box.bottom) for box in boxes]


@dataclass(frozen=True)
class ByText:
    """Captions."""

    captions: Captions

    def condition(self, batch: Batch, generator: torch.Generator) -> Condition:
        return self.captions.condition(batch)

    def null(self, count: int, size: Size) -> Condition | None:
        return self.captions.null(count, size)


@dataclass(frozen=True)
class Upscaling:
    """A low-resolution picture beside the latents, with noise of a random level on it; words too where there are."""

    words: Steering
    batches: Batches

    def condition(self, batch: Batch, generator: torch.Generator) -> Condition:
        small = self.small(batch)
        level = torch.randint(MAX_NOISE_LEVEL + 1, (len(small),), generator=generator)
        return beside(self.words.condition(batch, generator), with_noise(small, level, generator), level)

    def null(self, count: int, size: Size) -> Condition | None:
        return self.words.null(count, size)

    def small(self, batch: Batch) -> torch.Tensor:
        """(n, 3, h, w) in [-1, 1]: the pictures at the size of their latents."""
        height, width = batch.latents.shape[-2:]
        return low_resolution(self.batches.pictures(batch), (width, height))


@dataclass(frozen=True)
class Inpainting:
    """A mask and the picture without what it covers beside the latents; words too where there are."""

    words: Steering
    batches: Batches
    first_stage: FirstStage

    def condition(self, batch: Batch, generator: torch.Generator) -> Condition:
        masks = random_masks(len(batch.members), batch.size, generator)
        return self.masked(batch, masks, self.words.condition(batch, generator))

    def masked(self, batch: Batch, masks: torch.Tensor, words: Condition) -> Condition:
        """With these masks (n, 1, height, width), 1 = repaint."""
        latents = self.first_stage.encode(covered(self.batches.pictures(batch), masks)).cpu()
        return beside(words, inpainting_channels(masks, latents))

    def null(self, count: int, size: Size) -> Condition | None:
        return self.words.null(count, size)


def beside(words: Condition, channels: torch.Tensor, level: torch.Tensor | None = None) -> Condition:
    """The condition with `channels` laid beside the latents."""
    return Condition(words.context, words.pooled, words.time_ids, channels, level)


def enlarged(pictures: torch.Tensor, size: Size) -> torch.Tensor:
    """(n, 3, h, w) to `size` (width, height) without smoothing: a low-resolution picture as it is."""
    return F.interpolate(pictures, size=(size[1], size[0]))


def names_in(examples: Sequence[Example], kind: str) -> tuple[str, ...]:
    """The classes, or the labels of boxes, that occur in a dataset, in order."""
    if kind == "class":
        return tuple(sorted({example.label for example in examples if example.label is not None}))
    return tuple(sorted({box.label for example in examples for box in example.boxes}))


def is_annotated(example: Example, kind: str) -> bool:
    """Whether an example says what this kind of conditioning needs to know."""
    if kind == "class":
        return example.label is not None
    return bool(example.boxes) if kind == "layout" else True


def card(kind: str, steering: Any, first_stage: FirstStage) -> dict[str, Any]:
    """What easel.json says, so that the model can be asked for what it knows."""
    told: dict[str, Any] = {"conditioning": kind}
    if isinstance(steering, ByClass):
        told["classes"] = list(steering.classes)
    elif isinstance(steering, ByLayout):
        told |= {"labels": list(steering.labels), "max_boxes": steering.places}
    elif isinstance(steering, Upscaling):
        told |= {"upscaling": first_stage.factor, "max_noise_level": MAX_NOISE_LEVEL}
    return told
