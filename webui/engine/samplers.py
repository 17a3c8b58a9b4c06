"""Samplers: how noise becomes latents, one step at a time, one short function each.

Every sampler sees the model as `denoise(x, sigma) -> pred_original` and x as picture plus sigma times noise
(Karras et al. 2022, arXiv:2206.00364, in the manner of k-diffusion). It keeps nothing to itself: what it needs
of earlier steps is `history`, so a run can be put aside after any step and go on elsewhere bit for bit.
Knows neither networks nor schedules' rules.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from webui.engine import sigmas as schedules
from webui.engine.sigmas import NoiseTable, Sigmas
from webui.errors import UnknownName

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""(x, sigma) -> pred_original, both (pictures, channels, height, width), fp32."""

History = Mapping[str, torch.Tensor]
"""What a sampler remembers of earlier steps; empty before the first."""


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

    @property
    def sigma(self) -> float:
        return self.sigmas[self.index]

    @property
    def sigma_next(self) -> float:
        return self.sigmas[self.index + 1]


@dataclass(frozen=True)
class Stepped:
    """What one step gives back."""

    x: torch.Tensor
    pred_original: torch.Tensor
    history: History = field(default_factory=dict)


def euler(denoise: Denoise, step: Step) -> Stepped:
    """Euler's method on the probability flow ODE: Karras et al. 2022, algorithm 2 without churn."""
    pred_original = denoise(step.x, step.sigma)
    slope = (step.x - pred_original) / step.sigma
    return Stepped(step.x + slope * (step.sigma_next - step.sigma), pred_original)


def euler_ancestral(denoise: Denoise, step: Step) -> Stepped:
    """Euler's method down to `sigma_down`, then fresh noise up again: ancestral sampling, Song et al. 2021
    (arXiv:2011.13456), appendix F, as in k-diffusion with eta = 1."""
    pred_original = denoise(step.x, step.sigma)
    sigma_up = step.sigma_next * math.sqrt(1 - step.sigma_next**2 / step.sigma**2)
    sigma_down = step.sigma_next**2 / step.sigma
    slope = (step.x - pred_original) / step.sigma
    x = step.x + slope * (sigma_down - step.sigma)
    return Stepped(x + step.draw() * sigma_up if step.sigma_next > 0 else x, pred_original)


def heun(denoise: Denoise, step: Step) -> Stepped:
    """Heun's method, two model calls per step: Karras et al. 2022, algorithm 1. The step to 0 is Euler's."""
    pred_original = denoise(step.x, step.sigma)
    slope = (step.x - pred_original) / step.sigma
    x = step.x + slope * (step.sigma_next - step.sigma)
    if step.sigma_next == 0:
        return Stepped(x, pred_original)
    slope_next = (x - denoise(x, step.sigma_next)) / step.sigma_next
    return Stepped(step.x + (slope + slope_next) / 2 * (step.sigma_next - step.sigma), pred_original)


def dpmpp_2m(denoise: Denoise, step: Step) -> Stepped:
    """DPM-Solver++(2M): Lu et al. 2022 (arXiv:2211.01095), algorithm 2. First step and step to 0 of order 1."""
    pred_original = denoise(step.x, step.sigma)
    history = {"pred_original": pred_original}
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original, history)
    h = _log_snr(step, step.index + 1) - _log_snr(step, step.index)
    estimate = pred_original
    if "pred_original" in step.history:
        r = (_log_snr(step, step.index) - _log_snr(step, step.index - 1)) / h
        estimate = (1 + 1 / (2 * r)) * pred_original - 1 / (2 * r) * step.history["pred_original"]
    return Stepped(step.sigma_next / step.sigma * step.x - math.expm1(-h) * estimate, pred_original, history)


def dpmpp_2m_sde(denoise: Denoise, step: Step) -> Stepped:
    """SDE-DPM-Solver++(2M): Lu et al. 2022 (arXiv:2211.01095), appendix on SDE solvers, midpoint, eta = 1."""
    pred_original = denoise(step.x, step.sigma)
    history = {"pred_original": pred_original}
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original, history)
    h = _log_snr(step, step.index + 1) - _log_snr(step, step.index)
    x = step.sigma_next / step.sigma * math.exp(-h) * step.x - math.expm1(-2 * h) * pred_original
    if "pred_original" in step.history:
        r = (_log_snr(step, step.index) - _log_snr(step, step.index - 1)) / h
        x = x - math.expm1(-2 * h) / (2 * r) * (pred_original - step.history["pred_original"])
    noise = step.draw() * (step.sigma_next * math.sqrt(-math.expm1(-2 * h)))
    return Stepped(x + noise, pred_original, history)


def ddim(denoise: Denoise, step: Step) -> Stepped:
    """Denoising diffusion implicit model, eta = 0: Song et al. 2021 (arXiv:2010.02502), eq. 12, divided by
    sqrt(alpha_cumprod) of each side: in terms of sigma it is x0 + sigma_next * noise."""
    pred_original = denoise(step.x, step.sigma)
    noise = (step.x - pred_original) / step.sigma
    return Stepped(pred_original + step.sigma_next * noise, pred_original)


def unipc(denoise: Denoise, step: Step) -> Stepped:
    """UniPC of order 2 with B2(h), data prediction: Zhao et al. 2023 (arXiv:2302.04867), algorithms 5 and 6.

    The model's answer at the predicted x first corrects that x (UniC), then predicts the next one (UniP).
    """
    pred_original = denoise(step.x, step.sigma)
    x = _unipc_corrected(step, pred_original)
    history = {"x": x, "pred_original": pred_original}
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original, history)
    h = _log_snr(step, step.index + 1) - _log_snr(step, step.index)
    estimate = pred_original
    is_last = step.index + 2 == len(step.sigmas)
    if "pred_original" in step.history and not is_last:  # order 1 in the last step is steadier with few steps
        history["pred_original_before"] = step.history["pred_original"]
        r = (_log_snr(step, step.index - 1) - _log_snr(step, step.index)) / h
        estimate = pred_original + (step.history["pred_original"] - pred_original) / (2 * r)
    return Stepped(step.sigma_next / step.sigma * x - math.expm1(-h) * estimate, pred_original, history)


def _unipc_corrected(step: Step, pred_original: torch.Tensor) -> torch.Tensor:
    """x as UniC sees it now that the model has been asked there: eq. 3 of the paper, weights a solve R a = b."""
    if "x" not in step.history:
        return step.x
    before = step.history["pred_original"]
    h = _log_snr(step, step.index) - _log_snr(step, step.index - 1)
    phi_1 = math.expm1(-h)
    phi_2 = phi_1 / -h - 1
    if "pred_original_before" in step.history:
        r = (_log_snr(step, step.index - 2) - _log_snr(step, step.index - 1)) / h
        b_1, b_2 = phi_2 / phi_1, 2 * (phi_2 / -h - 0.5) / phi_1
        weight = (b_2 - r * b_1) / (1 - r)  # of the newest difference; the older one gets what is left of b_1
        older = (step.history["pred_original_before"] - before) / r
        change = (b_1 - weight) * older + weight * (pred_original - before)
    else:
        change = (pred_original - before) / 2
    ratio = step.sigma / step.sigmas[step.index - 1]
    return ratio * step.history["x"] - phi_1 * (before + change)


def _log_snr(step: Step, index: int) -> float:
    """lambda of the DPM-Solver papers, log(alpha / sigma); with alpha = 1 that is -log sigma."""
    return -math.log(step.sigmas[index])


@dataclass(frozen=True)
class Sampler:
    """A sampler with what the loop must know about it."""

    name: str
    step: Callable[[Denoise, Step], Stepped]
    own_schedule: Callable[[NoiseTable, int], Sigmas]
    """What "Automatic" means for it."""
    keeps_variance: bool = False
    """Starts from noise times sqrt(1 + sigma²) as in diffusers' variance-preserving schedulers, not times sigma."""

    def initial_scale(self, sigma: float) -> float:
        return math.sqrt(1 + sigma**2) if self.keeps_variance else sigma


_ALL = (
    Sampler("Euler", euler, schedules.uniform),
    Sampler("Euler a", euler_ancestral, schedules.uniform),
    Sampler("Heun", heun, schedules.uniform),
    Sampler("DPM++ 2M", dpmpp_2m, schedules.karras),
    Sampler("DPM++ 2M SDE", dpmpp_2m_sde, schedules.exponential),
    Sampler("DDIM", ddim, schedules.own_spacing, keeps_variance=True),
    Sampler("UniPC", unipc, schedules.uniform, keeps_variance=True),
)

SAMPLERS: Mapping[str, Sampler] = {sampler.name: sampler for sampler in _ALL}
"""The implementations of `registry.SAMPLERS`."""


def find_sampler(name: str) -> Sampler:
    if name not in SAMPLERS:
        raise UnknownName("sampler", name, SAMPLERS)
    return SAMPLERS[name]
