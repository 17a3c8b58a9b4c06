"""Soft inpainting: the mask as the strength of each latent, and an overlay made from what has really changed.

The formulas of AUTOMATIC1111's extension of that name. Knows latents and masks; where they come from is known to
`beginning`.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageFilter

from webui.request_groups import Size, SoftInpaintingFields

Plane: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

REACH = 2
"""Neighbours on each side that the overlay looks at, in latents."""
SPREAD = 1.5
"""Standard deviation of their weights."""
BLUR = 4
"""Of the overlay's mask, in pixels, against the edges of latents."""


@dataclass(frozen=True)
class SoftMask:
    """The mask of one job with the numbers that say how it counts."""

    mask: torch.Tensor
    """(1, 1, height, width), 0 kept to 1 made anew."""
    fields: SoftInpaintingFields

    def blended(self, kept: torch.Tensor, made: torch.Tensor, sigma: float) -> torch.Tensor:
        """The estimate at level `sigma`: `kept` and `made`, (pictures, channels, height, width), mixed by the mask to
        the power of sigma^bias × preservation. The length of the mixed vector is a power mean of both lengths, not what
        mixing leaves of them, so that details stay sharp in between.
        """
        fields = self.fields
        share = self.mask ** (sigma**fields.soft_schedule_bias * fields.soft_preservation)
        mixed = torch.lerp(kept, made, share)
        power = fields.soft_contrast
        length_kept, length_made = (each.double().norm(dim=1, keepdim=True) ** power for each in (kept, made))
        wanted = torch.lerp(length_kept, length_made, share.double()) ** (1 / power)
        scale: torch.Tensor = wanted / (mixed.double().norm(dim=1, keepdim=True) + 1e-5)
        return (mixed * scale).to(mixed.dtype)

    def overlay(self, kept: torch.Tensor, made: torch.Tensor, size: Size) -> Image.Image:
        """The grey mask of `size` pixels through which the result lies over the original: white where the finished
        latents (channels, height, width) are far from the original ones."""
        fields = self.fields
        distance = (made - kept).norm(dim=0).double().cpu().numpy()
        distance = _trimmed_mean(_trimmed_mean(distance, 0.9, 1.0), 0.25, 0.75)
        masked = self.mask[0, 0].double().cpu().numpy() ** (fields.soft_preservation / 2)
        bias = 0.5 * (1 - fields.soft_mask_influence) + (1 - masked) * fields.soft_mask_influence
        half = fields.soft_difference_threshold * bias / (1.00001 - bias)
        ratio = np.divide(distance, half, out=np.full_like(distance, np.inf), where=half > 0)
        stays = 1 / (1 + ratio**fields.soft_difference_contrast)
        smooth = stays**3 * (stays * (stays * 6 - 15) + 10)
        grey = Image.fromarray(((1 - smooth) * 255).astype(np.uint8))
        return grey.resize(size, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(BLUR))


def _trimmed_mean(plane: Plane, low: float, high: float) -> Plane:
    """Of each place's neighbourhood, weighted by nearness: the mean of what lies between two shares of its weight."""
    offsets = [(dy, dx) for dy in range(-REACH, REACH + 1) for dx in range(-REACH, REACH + 1)]
    height, width = plane.shape
    padded = np.pad(plane, REACH)
    inside = np.pad(np.ones_like(plane), REACH)
    areas = [(slice(REACH + dy, REACH + dy + height), slice(REACH + dx, REACH + dx + width)) for dy, dx in offsets]
    nearness = [np.exp(-(dy * dy + dx * dx) / (2 * SPREAD**2)) for dy, dx in offsets]
    values = np.stack([padded[area] for area in areas])
    weights = np.stack([inside[area] * near for area, near in zip(areas, nearness, strict=True)])
    order = values.argsort(axis=0)
    values, weights = (np.take_along_axis(each, order, axis=0) for each in (values, weights))
    until = weights.cumsum(axis=0)
    total = until[-1]
    taken = np.minimum(until, high * total) - np.maximum(until - weights, low * total)
    taken = np.maximum(taken, 0)
    mean: Plane = (taken * values).sum(axis=0) / taken.sum(axis=0)
    return mean
