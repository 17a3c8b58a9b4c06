"""DPM-Solver-fast: steps of order 3 as far as they go, the rest of lower order. Every model call is a step of ours.

Lu et al. 2022 (arXiv:2206.00927), appendix on DPM-Solver-fast, with alpha = 1; eta as in k-diffusion.
"""

import math

from webui.engine.samplers.step import Denoise, Step, Stepped, ancestral
from webui.engine.sigmas import Sigmas


def orders(calls: int) -> list[int]:
    """Orders of the solver's steps that make `calls` model calls together."""
    thirds, rest = divmod(calls, 3)
    return [3] * thirds + [rest] if rest else [3] * (thirds - 1) + [2, 1]


def one_level_per_call(sigmas: Sigmas) -> Sigmas:
    """The levels of the model calls: the solver's steps are even in log sigma between the schedule's ends, the calls
    even within each. It stops at the lowest level, not at 0: the rest is less than can be seen."""
    lowest = sigmas[-1] or sigmas[-2]
    if lowest == sigmas[0]:  # a single step has but one level above 0
        return sigmas
    counts = orders(len(sigmas) - 1)
    shares = [(number + call / order) / len(counts) for number, order in enumerate(counts) for call in range(order)]
    return (*(sigmas[0] * (lowest / sigmas[0]) ** share for share in shares), lowest)


def dpm_fast(denoise: Denoise, step: Step) -> Stepped:
    """One model call of DPM-Solver-1, -2 or -3: eq. 3.7, algorithms 1 and 2 of the paper for lambda = -log sigma.

    The calls of one solver step look at x where it began; only the last one leaves it, with fresh noise.
    """
    first, order = _solver_step(step)
    call = step.index - first
    sigma, target, lowest = step.sigmas[first], step.sigmas[first + order], step.sigmas[-1]
    if target == 0:
        pred_original = denoise(step.x, sigma)
        return Stepped(pred_original, pred_original)
    sigma_down = max(ancestral(sigma, target, step.options.eta)[0], lowest)
    h = math.log(sigma / sigma_down)
    level = sigma * math.exp(-h * call / order)
    pred_original = denoise(step.x, level)
    noise = (step.x - pred_original) / level
    x, noise_first = (step.history["x"], step.history["noise"]) if call else (step.x, noise)
    share = (call + 1) / order
    level_next = sigma * math.exp(-h * share)
    reached = x - level_next * math.expm1(share * h) * noise_first
    if call and order == 2:
        reached = reached - level_next * math.expm1(h) * (noise - noise_first)
    elif call:
        curve = math.expm1(share * h) / (share * h) - 1
        reached = reached - level_next * (curve * (call + 1) / call) * (noise - noise_first)
    if call + 1 < order:
        return Stepped(reached, pred_original, {"x": x, "noise": noise_first})
    if target > sigma_down:
        up = math.sqrt(target**2 - sigma_down**2)
        reached = reached + step.draw() * (up * step.options.s_noise)
    return Stepped(reached, pred_original)


def _solver_step(step: Step) -> tuple[int, int]:
    """(index of its first call, order) of the solver's step that the call belongs to."""
    first = 0
    for order in orders(len(step.sigmas) - 1):
        if step.index < first + order:
            return first, order
        first += order
    raise AssertionError("a step beyond the last")
