"""What a sampler is given and gives back, and the two ways of adding fresh noise that many share.

Knows no sampler, no network and no schedule.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from webui.engine.sigmas import Sigmas

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""(x, sigma) -> pred_original, both (pictures, channels, height, width), fp32; sigma > 0."""

History = Mapping[str, torch.Tensor]
"""What a sampler remembers of earlier steps; empty before the first."""


@runtime_checkable
class GuidedDenoise(Protocol):
    """A `Denoise` that can also tell the unconditional picture from the guided one."""

    def __call__(self, x: torch.Tensor, sigma: float, /) -> torch.Tensor: ...

    def apart(self, x: torch.Tensor, sigma: float, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """pred_original under `share` times the guidance scale, and the unconditional one."""


@dataclass(frozen=True, kw_only=True)
class SamplerOptions:
    """The numbers that change what samplers do; each sampler heeds those that its method has."""

    eta: float = 1.0
    """Share of fresh noise in ancestral and SDE samplers, 0 (none) to 1."""
    ddim_eta: float = 0.0
    """The same for DDIM, whose habit is none."""
    s_churn: float = 0.0
    """Noise added before a step, over the whole schedule: S_churn of Karras et al. 2022, algorithm 2."""
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    """Churn only at noise levels from s_tmin to s_tmax; s_tmax 0 means no upper limit."""
    s_noise: float = 1.0
    """Scale of all fresh noise: S_noise of the same."""
    unipc_order: int = 2
    """Of UniPC: 1, 2 or 3."""
    unipc_variant: str = "bh2"
    """Its B(h): "bh1" or "bh2"."""


@dataclass(frozen=True)
class Step:
    """What one step is given."""

    x: torch.Tensor
    """Latents with noise of level `sigma`."""
    sigmas: Sigmas
    index: int
    """0-based; step `index` goes from sigmas[index] to sigmas[index + 1]."""
    draw: Callable[[], torch.Tensor]
    """Fresh standard normal noise of x's shape."""
    history: History = field(default_factory=dict)
    options: SamplerOptions = field(default_factory=SamplerOptions)
    draw_between: Callable[[float, float], torch.Tensor] | None = None
    """Standard normal noise of x's shape that belongs to the way between two levels: `brownian.py`."""

    @property
    def sigma(self) -> float:
        return self.sigmas[self.index]

    @property
    def sigma_next(self) -> float:
        return self.sigmas[self.index + 1]

    def noise(self, sigma: float, sigma_next: float) -> torch.Tensor:
        """Standard normal noise for the way from `sigma` down to `sigma_next`, times s_noise."""
        drawn = self.draw_between(sigma, sigma_next) if self.draw_between else self.draw()
        return drawn * self.options.s_noise

    def log_snr(self, index: int) -> float:
        """lambda of the DPM-Solver papers, log(alpha / sigma); with alpha = 1 that is -log sigma."""
        return -math.log(self.sigmas[index])


@dataclass(frozen=True)
class Stepped:
    """What one step gives back."""

    x: torch.Tensor
    pred_original: torch.Tensor
    history: History = field(default_factory=dict)


def ancestral(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """(level to go down to, noise to add then) so that the step ends at `sigma_next`: eta = 0 adds none.

    Song et al. 2021 (arXiv:2011.13456), appendix F; `eta` as in DDIM (arXiv:2010.02502), eq. 16.
    """
    kept = sigma_next**2 / sigma**2
    up = eta * (sigma_next * math.sqrt(1 - kept))
    down = sigma_next**2 / sigma if eta == 1 else sigma_next * math.sqrt(1 - eta**2 * (1 - kept))
    return down, up


def churned(step: Step) -> tuple[torch.Tensor, float]:
    """x and its level after the churn of Karras et al. 2022, algorithm 2, lines 4 to 6; without churn as they are."""
    options = step.options
    is_inside = options.s_tmin <= step.sigma <= (options.s_tmax or math.inf)
    gamma = min(options.s_churn / (len(step.sigmas) - 1), math.sqrt(2) - 1) if is_inside else 0.0
    if gamma <= 0:
        return step.x, step.sigma
    sigma = step.sigma * (1 + gamma)
    return step.x + step.draw() * (options.s_noise * math.sqrt(sigma**2 - step.sigma**2)), sigma
