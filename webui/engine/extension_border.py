"""The border between engine and hooks: our types made theirs and back, and what hooks give, checked.

Calling the hooks is done in `extensions`.
"""

from collections.abc import Callable

import torch

from webui.engine.models import Components
from webui.engine.text import Area, Conditioning, Encoded
from webui.extension import Area as TheirArea
from webui.extension import Components as TheirComponents
from webui.extension import Conditioning as TheirConditioning
from webui.extension import Step


class WrongResult(TypeError):
    """A hook gave back what its contract does not allow."""


def checked(result: object, like: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape and numbers only."""
    same_shape(result, like)
    assert isinstance(result, torch.Tensor)
    if not bool(torch.isfinite(result).all()):
        raise WrongResult("what is not a number")
    return result.to(like.dtype)


def same_shape(result: object, like: torch.Tensor) -> None:
    if not isinstance(result, torch.Tensor):
        raise WrongResult(f"{type(result).__name__} instead of a tensor")
    if result.shape != like.shape:
        raise WrongResult(f"the shape {tuple(result.shape)} instead of {tuple(like.shape)}")


def check_conditioning(changed: object, before: TheirConditioning, step: Step) -> None:
    """A conditioning of parts that belong together, with areas that lie in the picture."""
    if not isinstance(changed, TheirConditioning):
        raise WrongResult(f"{type(changed).__name__} instead of Conditioning")
    if len(changed.conds) != len(changed.weights) or (changed.uncond is None) != (before.uncond is None):
        raise WrongResult("parts that do not belong together")
    shapes = {cond.shape for cond in changed.conds} | ({changed.uncond.shape} if changed.uncond is not None else set())
    if len(shapes) != 1:
        raise WrongResult("parts of different shapes")
    for area in changed.areas:
        _check_area(area, step)


def _check_area(area: object, step: Step) -> None:
    if not isinstance(area, TheirArea) or not isinstance(area.conditioning, TheirConditioning):
        raise WrongResult("an area without a conditioning")
    left, top, right, bottom = area.box
    width, height = step.size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise WrongResult(f"the area {area.box} in latents of {width}×{height}")
    share = area.share
    if share.shape != (bottom - top, right - left) or not bool(((share >= 0) & (share <= 1)).all()):
        raise WrongResult("an area whose share is not of its size, or not from 0 to 1")


def their_components(components: Components) -> TheirComponents:
    return TheirComponents(
        name=components.name,
        unet=components.unet,
        vae=components.vae,
        text_encoders=tuple(tower.encoder for tower in components.towers),
        tokenizers=tuple(tower.tokenizer for tower in components.towers),
        prediction_type=components.prediction_type,
        factor=components.factor,
        device=components.device,
        dtype=components.dtype,
    )


def their_conditioning(ours: Conditioning, read: Callable[[str, str | None], TheirConditioning]) -> TheirConditioning:
    """`read` is what they read further prompts with."""
    pooled = tuple(cond.pooled for cond in ours.conds if cond.pooled is not None)
    return TheirConditioning(
        conds=tuple(cond.hidden for cond in ours.conds),
        weights=ours.weights,
        uncond=None if ours.uncond is None else ours.uncond.hidden,
        pooled=pooled or None,
        pooled_uncond=None if ours.uncond is None else ours.uncond.pooled,
        read=read,
    )


def our_conditioning(theirs: TheirConditioning) -> Conditioning:
    pooled = theirs.pooled or (None,) * len(theirs.conds)
    conds = tuple(Encoded(hidden, whole) for hidden, whole in zip(theirs.conds, pooled, strict=True))
    uncond = None if theirs.uncond is None else Encoded(theirs.uncond, theirs.pooled_uncond)
    areas = tuple(
        Area(area.box, area.share.to(conds[0].hidden.device, torch.float32), our_conditioning(area.conditioning))
        for area in theirs.areas
    )
    return Conditioning(conds, theirs.weights, uncond, areas)
