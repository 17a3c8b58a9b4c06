"""AND: one prompt -> several that are denoised side by side, each with its weight.

Liu et al. 2022 (arXiv:2206.01714): the guided prediction is uncond + scale · Σ weight · (cond − uncond).
"""

import re
from dataclasses import dataclass

from webui.errors import InvalidRequest
from webui.prompt.limits import MAX_PARTS, limited

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"\s*+([+-]?(?:\d++(?:\.\d*+)?|\.\d++))\s*+")


@dataclass(frozen=True)
class Part:
    """What stands between two ANDs."""

    text: str
    weight: float = 1.0


def parts(prompt: str) -> tuple[Part, ...]:
    """The parts of a positive prompt. `:number` at the end of one is its weight, where there are several.

    Raises `InvalidRequest` when there are more than `MAX_PARTS`.
    """
    texts = _AND.split(prompt)
    if len(texts) == 1:
        return (Part(prompt),)
    if len(texts) > MAX_PARTS:
        raise InvalidRequest(
            "The prompt has {count} parts joined with AND; {most} are possible. Use fewer.",
            count=len(texts),
            most=MAX_PARTS,
        )
    return tuple(_part(text) for text in texts)


def _part(text: str) -> Part:
    before, colon, after = text.rpartition(":")
    if colon and (match := _WEIGHT.fullmatch(after)):
        return Part(before.rstrip(), limited(float(match[1])))
    return Part(text.rstrip())
