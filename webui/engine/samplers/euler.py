"""Samplers that follow the slope (x - pred_original) / sigma of the probability flow: Euler's and its relatives.

Karras et al. 2022 (arXiv:2206.00364), in the manner of k-diffusion. One short function each.
"""

import math
from collections.abc import Sequence

import torch

from webui.engine.samplers.step import Denoise, Step, Stepped, ancestral, churned
from webui.engine.sigmas import Sigmas, karras_between


def euler(denoise: Denoise, step: Step) -> Stepped:
    """Euler's method on the probability flow ODE: Karras et al. 2022, algorithm 2 with its first-order step."""
    x, sigma = churned(step)
    pred_original = denoise(x, sigma)
    slope = (x - pred_original) / sigma
    return Stepped(x + slope * (step.sigma_next - sigma), pred_original)


def euler_ancestral(denoise: Denoise, step: Step) -> Stepped:
    """Euler's method down to `sigma_down`, then fresh noise up again: Song et al. 2021 (arXiv:2011.13456), app. F."""
    pred_original = denoise(step.x, step.sigma)
    sigma_down, sigma_up = ancestral(step.sigma, step.sigma_next, step.options.eta)
    slope = (step.x - pred_original) / step.sigma
    x = step.x + slope * (sigma_down - step.sigma)
    return Stepped(_with_noise(step, x, sigma_up), pred_original)


def heun(denoise: Denoise, step: Step) -> Stepped:
    """Heun's method, two model calls per step: Karras et al. 2022, algorithm 1. The step to 0 is Euler's."""
    x, sigma = churned(step)
    return _heun(denoise, x, sigma, step.sigma_next)


def _heun(denoise: Denoise, x: torch.Tensor, sigma: float, sigma_next: float) -> Stepped:
    pred_original = denoise(x, sigma)
    slope = (x - pred_original) / sigma
    reached = x + slope * (sigma_next - sigma)
    if sigma_next == 0:
        return Stepped(reached, pred_original)
    slope_next = (reached - denoise(reached, sigma_next)) / sigma_next
    return Stepped(x + (slope + slope_next) / 2 * (sigma_next - sigma), pred_original)


def dpm2(denoise: Denoise, step: Step) -> Stepped:
    """The midpoint method with its middle in log sigma, after DPM-Solver-2 (Lu et al. 2022, arXiv:2206.00927,
    algorithm 1), as in Katherine Crowson's k-diffusion."""
    x, sigma = churned(step)
    pred_original = denoise(x, sigma)
    return Stepped(_by_the_middle(denoise, x, pred_original, sigma, step.sigma_next), pred_original)


def dpm2_ancestral(denoise: Denoise, step: Step) -> Stepped:
    """`dpm2` down to `sigma_down`, then fresh noise up again as in `euler_ancestral`."""
    pred_original = denoise(step.x, step.sigma)
    sigma_down, sigma_up = ancestral(step.sigma, step.sigma_next, step.options.eta)
    x = _by_the_middle(denoise, step.x, pred_original, step.sigma, sigma_down)
    return Stepped(_with_noise(step, x, sigma_up), pred_original)


def _by_the_middle(
    denoise: Denoise, x: torch.Tensor, pred_original: torch.Tensor, sigma: float, sigma_next: float
) -> torch.Tensor:
    """From `sigma` to `sigma_next` by the slope half-way in log sigma; to 0, which has no logarithm, by Euler's."""
    slope = (x - pred_original) / sigma
    if sigma_next == 0:
        return x + slope * (sigma_next - sigma)
    middle = math.sqrt(sigma * sigma_next)
    halfway = x + slope * (middle - sigma)
    slope = (halfway - denoise(halfway, middle)) / middle
    return x + slope * (sigma_next - sigma)


def _with_noise(step: Step, x: torch.Tensor, sigma_up: float) -> torch.Tensor:
    return x + step.draw() * (sigma_up * step.options.s_noise) if step.sigma_next > 0 else x


LMS_ORDER = 4


def lms(denoise: Denoise, step: Step) -> Stepped:
    """Linear multistep of order 4 (Adams-Bashforth over uneven levels), as in Katherine Crowson's k-diffusion:
    the polynomial through the last slopes is integrated from sigma to sigma_next."""
    pred_original = denoise(step.x, step.sigma)
    slopes = [(step.x - pred_original) / step.sigma]
    slopes += [step.history[name] for name in _slope_names(LMS_ORDER - 1) if name in step.history]
    nodes = [step.sigmas[step.index - back] for back in range(len(slopes))]
    x = step.x
    for which, slope in enumerate(slopes):
        x = x + slope * _integrated_basis(nodes, which, step.sigma, step.sigma_next)
    history = dict(zip(_slope_names(LMS_ORDER - 1), slopes, strict=False))
    return Stepped(x, pred_original, history)


def _slope_names(count: int) -> list[str]:
    return [f"slope_{back}" for back in range(count)]


def _integrated_basis(nodes: Sequence[float], which: int, start: float, end: float) -> float:
    """Integral of Lagrange's basis polynomial `which` over `nodes`. Gauss' two points are exact up to degree 3."""

    def basis(at: float) -> float:
        others = (node for number, node in enumerate(nodes) if number != which)
        return math.prod((at - node) / (nodes[which] - node) for node in others)

    middle, half = (start + end) / 2, (end - start) / 2
    return half * (basis(middle - half / math.sqrt(3)) + basis(middle + half / math.sqrt(3)))


RESTART_FROM, RESTART_TO = 0.1, 2.0
"""The noise levels between which Restart goes to and fro; values of the paper for latent models."""


def restart(denoise: Denoise, step: Step) -> Stepped:
    """Restart: Xu et al. 2023 (arXiv:2306.14878), section 3.1. Heun's steps; where the levels of `with_restarts`
    rise, noise is added and the way down begins again."""
    if step.sigma_next > step.sigma:
        added = step.draw() * (step.options.s_noise * math.sqrt(step.sigma_next**2 - step.sigma**2))
        return Stepped(step.x + added, step.history["pred_original"])
    stepped = _heun(denoise, step.x, step.sigma, step.sigma_next)
    return Stepped(stepped.x, stepped.pred_original, {"pred_original": stepped.pred_original})


def with_restarts(sigmas: Sigmas) -> Sigmas:
    """The levels as Restart walks them: 20 steps and more spend 9 of them (from 36 on half) on going to and fro.

    The number of model calls stays about that of Heun's method with as many steps.
    """
    steps = len(sigmas) - 1
    if steps < 20:
        return sigmas
    times = 2 if steps >= 36 else 1
    spent = steps // 4 if steps >= 36 else 9
    levels = (*karras_between(sigmas[0], sigmas[-2], steps - spent * times), sigmas[-1])
    low = min(range(len(levels)), key=lambda index: abs(levels[index] - RESTART_FROM))
    high = min(range(len(levels)), key=lambda index: abs(levels[index] - RESTART_TO))
    if high >= low:
        return levels
    again = karras_between(levels[high], levels[low], spent + 1)
    return (*levels[: low + 1], *again * times, *levels[low + 1 :])
