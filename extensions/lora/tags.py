"""What a tag `<lora:…>` asks for. Whether there is such a LoRA is not known here."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from webui.extension import Sentence, Tag


@dataclass(frozen=True)
class Wanted:
    """One LoRA of a prompt. Strengths: 1 is as it was trained, 0 is off, below 0 is away from it."""

    name: str
    te: float = 1.0
    """In the text encoders."""
    unet: float = 1.0
    rank: int | None = None
    """How much of it is used at most, in ranks from the first on; None: all."""
    start: float = 0.0
    """Share of a pass' steps from which on it is in the UNet. The text is encoded only once, so `te` counts always."""
    end: float = 1.0
    """Share of the steps before which it is in the UNet; 1: to the end."""

    def is_on(self, share: float) -> bool:
        """Whether the UNet has it when `share` (0 to below 1) of the steps is done."""
        return self.start <= share < self.end


def wanted(tags: Iterable[Tag]) -> tuple[tuple[Wanted, ...], tuple[Sentence, ...]]:
    """What the tags ask for, in order, and what is wrong with others. A LoRA that is named twice counts twice."""
    asked, problems = [], []
    for tag in tags:
        try:
            asked.append(_wanted(tag))
        except ValueError as error:
            problems.append(
                Sentence(
                    "LoRA “{name}” was left out: “{value}” is not a number. Write <lora:name:0.8>.",
                    name=tag.name[:80],
                    value=str(error)[:40],
                )
            )
    return tuple(asked), tuple(problems)


def _wanted(tag: Tag) -> Wanted:
    """As AUTOMATIC1111 reads it: text encoders, UNet, rank in this order, or by the names te, unet, dyn. `start` and
    `end` are our own."""
    te, unet, rank = (*tag.values[:3], *[""] * 3)[:3]
    te = tag.named.get("te", te)
    unet = tag.named.get("unet", unet)
    rank = tag.named.get("dyn", rank)
    strength = _number(te) if te else 1.0
    return Wanted(
        name=tag.name,
        te=strength,
        unet=_number(unet) if unet else strength,
        rank=max(1, int(_number(rank))) if rank else None,
        start=_number(tag.named.get("start", "0")),
        end=_number(tag.named.get("end", "1")),
    )


def _number(text: str) -> float:
    """Raises `ValueError` with the text itself."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(text) from None
    if not math.isfinite(number):
        raise ValueError(text)
    return number
