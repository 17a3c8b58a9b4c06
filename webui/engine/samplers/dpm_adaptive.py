"""DPM-Solver that chooses its own steps: as many as the error asks for, whatever number the request says.

Lu et al. 2022 (arXiv:2206.00927), section 3.4 on adaptive steps, with alpha = 1 and the step size controller of
k-diffusion. A step of ours is all of its steps up to the next of `MARKS` even marks in log sigma.
"""

import math

import torch

from webui.engine.samplers.step import Denoise, Step, Stepped, ancestral
from webui.engine.sigmas import Sigmas

MARKS = 20
RELATIVE, ABSOLUTE = 0.05, 0.0078
"""Tolerances of the paper for pictures: 1 / 128 is a step of eight bits over -1 to 1."""
FIRST_STEP = 0.05
SAFETY = 0.81
"""A step stands when the next one may be at least this share of it."""
SHORTEST = 1e-3
"""No step is shorter, and one this short stands whatever its error, so that every run ends."""


def marks(sigmas: Sigmas) -> Sigmas:
    """`MARKS` + 1 levels between the schedule's ends, above 0, whatever lies between them."""
    lowest = sigmas[-1] or min(sigmas[-2], sigmas[0] * 0.002)
    return (*(sigmas[0] * (lowest / sigmas[0]) ** (mark / MARKS) for mark in range(MARKS)), lowest)


def dpm_adaptive(denoise: Denoise, step: Step) -> Stepped:
    """DPM-Solver-3 for lambda = -log sigma, with DPM-Solver-2 to judge it, until the mark is reached or passed."""
    end, goal = -math.log(step.sigmas[-1]), -math.log(step.sigma_next)
    x, history = step.x, dict(step.history)
    at = float(history["at"]) if history else -math.log(step.sigma)
    h = float(history["h"]) if history else FIRST_STEP
    before = history["before"] if history else x
    while at < goal - 1e-5 or "pred_original" not in history:
        sigma, sigma_next = math.exp(-at), math.exp(-min(end, at + h))
        down = max(ancestral(sigma, sigma_next, step.options.eta)[0], step.sigmas[-1])
        low, high, history["pred_original"] = _orders_2_and_3(denoise, x, sigma, down)
        error = _error(low, high, before)
        if not math.isfinite(error):
            return Stepped(high, history["pred_original"])  # the loop sees what is no number, and repeats in fp32
        factor = 1 + math.atan((error + 1e-8) ** (-1 / (1.5 if step.options.eta else 3)) - 1)
        if factor >= SAFETY or h <= SHORTEST:
            before, x, at = low, high, -math.log(sigma_next)
            if sigma_next > down:
                x = x + step.draw() * (step.options.s_noise * math.sqrt(sigma_next**2 - down**2))
        h = max(h * factor, SHORTEST)
    numbers = {"at": torch.tensor(at, dtype=torch.float64), "h": torch.tensor(h, dtype=torch.float64)}
    return Stepped(x, history["pred_original"], {**history, **numbers, "before": before})


def _orders_2_and_3(
    denoise: Denoise, x: torch.Tensor, sigma: float, sigma_next: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x at `sigma_next` by DPM-Solver-2 and -3 over the same three model calls, and the picture seen at `sigma`."""
    h = math.log(sigma / sigma_next)
    third, two_thirds = sigma * math.exp(-h / 3), sigma * math.exp(-2 * h / 3)
    pred_original = denoise(x, sigma)
    noise = (x - pred_original) / sigma
    reached = x - third * math.expm1(h / 3) * noise
    change = (reached - denoise(reached, third)) / third - noise
    low = x - sigma_next * math.expm1(h) * (noise + 1.5 * change)
    reached = x - two_thirds * (math.expm1(2 * h / 3) * noise + 2 * (math.expm1(2 * h / 3) / (2 * h / 3) - 1) * change)
    change = (reached - denoise(reached, two_thirds)) / two_thirds - noise
    high = x - sigma_next * (math.expm1(h) * noise + 1.5 * (math.expm1(h) / h - 1) * change)
    return low, high, pred_original


def _error(low: torch.Tensor, high: torch.Tensor, before: torch.Tensor) -> float:
    """Root mean square of the difference in units of what is tolerated; 1 is just good enough."""
    tolerated = (RELATIVE * torch.maximum(low.abs(), before.abs())).clamp(min=ABSOLUTE)
    return float(((low - high) / tolerated).square().mean().sqrt())
