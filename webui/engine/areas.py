"""Parts of a picture that are predicted by themselves: what each of them sees, and how all predictions are joined.

MultiDiffusion (Bar-Tal et al. 2023, arXiv:2302.08113), eq. 5, where F_0 is the whole picture and F_i the crop to the
i-th area; the weights W are already divided by their sum. Joined is what the network predicts and not the next x: the
two are the same for every sampler whose step is linear in the prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from webui.engine.text import Area, Conditioning

Predicted = tuple[torch.Tensor | None, torch.Tensor]
"""(unconditional, conditional) output of the network, fp32; without guidance there is no unconditional one."""


@dataclass(frozen=True)
class View:
    """What the network is shown: all of a picture, or an area of it."""

    latents: torch.Tensor
    """(pictures, channels, height, width), scaled as the network takes them."""
    channels: torch.Tensor | None
    """(1, n, height, width): what it sees beside the latents."""
    conditioning: Conditioning
    box: tuple[int, int, int, int]
    """Left, top, right and bottom of what is seen, in latents of the whole picture."""
    size: tuple[int, int]
    """Width and height of the whole picture's latents."""

    @classmethod
    def whole(cls, latents: torch.Tensor, channels: torch.Tensor | None, conditioning: Conditioning) -> "View":
        height, width = latents.shape[-2:]
        return cls(latents, channels, conditioning, (0, 0, width, height), (width, height))

    def of(self, area: Area) -> "View":
        """What is in the area, under its prompt."""
        left, top, right, bottom = area.box
        channels = None if self.channels is None else self.channels[..., top:bottom, left:right]
        latents = self.latents[..., top:bottom, left:right]
        return View(latents, channels, area.conditioning, area.box, self.size)


def joined(whole: Predicted, parts: Sequence[tuple[Area, Predicted]]) -> Predicted:
    """One prediction of the whole picture. Where `whole` has no unconditional one, the result has none either."""
    if not parts:
        return whole
    noise_uncond, noise_cond = whole
    conds = [(area, cond) for area, (_, cond) in parts]
    unconds = [(area, cond if uncond is None else uncond) for area, (uncond, cond) in parts]
    return None if noise_uncond is None else _mixed(noise_uncond, unconds), _mixed(noise_cond, conds)


def _mixed(whole: torch.Tensor, parts: Sequence[tuple[Area, torch.Tensor]]) -> torch.Tensor:
    own = torch.ones(whole.shape[-2:], device=whole.device)
    sums = torch.zeros_like(whole)
    for area, predicted in parts:
        left, top, right, bottom = area.box
        own[top:bottom, left:right] -= area.share
        sums[..., top:bottom, left:right] += area.share * predicted
    return own.clamp(min=0) * whole + sums
