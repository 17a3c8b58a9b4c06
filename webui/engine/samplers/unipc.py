"""UniPC: a predictor whose next model call corrects it. The one sampler that looks back at its own x."""

import math
from collections.abc import Sequence

import torch

from webui.engine.samplers.step import Denoise, Step, Stepped

REMEMBERED = ("pred_original", "pred_original_before", "pred_original_long_before")
"""Earlier answers of the model in the history, the newest first: as many as the highest order needs."""


def unipc(denoise: Denoise, step: Step) -> Stepped:
    """UniPC with data prediction: Zhao et al. 2023 (arXiv:2302.04867), algorithms 5 and 6.

    The model's answer at the predicted x first corrects that x (UniC), then predicts the next one (UniP).
    """
    pred_original = denoise(step.x, step.sigma)
    x = _corrected(step, pred_original)
    known = (pred_original, *(step.history[name] for name in REMEMBERED if name in step.history))
    history = {"x": x, **dict(zip(REMEMBERED, known, strict=False))}
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original, history)
    order = _order(step, step.index, len(known))
    h = step.log_snr(step.index + 1) - step.log_snr(step.index)
    ratios, differences = _differences(step, step.index, h, known[:order])
    weights = [0.5] if order == 2 else _weights(ratios, h, step.options.unipc_variant)
    change = _sum(weights, differences) * _scale(h, step.options.unipc_variant)
    return Stepped(step.sigma_next / step.sigma * x - math.expm1(-h) * pred_original - change, pred_original, history)


def _corrected(step: Step, pred_original: torch.Tensor) -> torch.Tensor:
    """x as UniC sees it now that the model has been asked there: eq. 3 of the paper."""
    if "x" not in step.history:
        return step.x
    before = step.index - 1
    known = tuple(step.history[name] for name in REMEMBERED if name in step.history)
    known = known[: _order(step, before, len(known))]
    h = step.log_snr(step.index) - step.log_snr(before)
    ratios, differences = _differences(step, before, h, known)
    differences = [*differences, pred_original - known[0]]
    weights = [0.5] if len(known) == 1 else _weights([*ratios, 1.0], h, step.options.unipc_variant)
    change = _sum(weights, differences) * _scale(h, step.options.unipc_variant)
    ratio = step.sigma / step.sigmas[before]
    return ratio * step.history["x"] - math.expm1(-h) * known[0] - change


def _order(step: Step, index: int, known: int) -> int:
    """Of the step `index`: as many answers as are known there, and lower towards the end, which is steadier."""
    return min(step.options.unipc_order, known, len(step.sigmas) - 1 - index)


def _differences(
    step: Step, index: int, h: float, known: Sequence[torch.Tensor]
) -> tuple[list[float], list[torch.Tensor]]:
    """r_m = (lambda of an earlier step - lambda of `index`) / h, and (its answer - that of `index`) / r_m."""
    newest, *older = known
    here = step.log_snr(index)
    ratios = [(step.log_snr(index - number) - here) / h for number in range(1, len(known))]
    return ratios, [(answer - newest) / ratio for answer, ratio in zip(older, ratios, strict=True)]


def _weights(ratios: Sequence[float], h: float, variant: str) -> list[float]:
    """a of R a = b, eq. 3: R's rows are the ratios to the power 0, 1, …; b_n = phi_(n+1)(h) n! / B(h)."""
    phi, factorial = math.expm1(-h) / -h - 1, 1
    right: list[float] = []
    for number in range(1, len(ratios) + 1):
        right.append(phi * factorial / _scale(h, variant))
        factorial *= number + 1
        phi = phi / -h - 1 / factorial
    rows = torch.tensor([[ratio**power for ratio in ratios] for power in range(len(ratios))], dtype=torch.float64)
    solved: list[float] = torch.linalg.solve(rows, torch.tensor(right, dtype=torch.float64)).tolist() if ratios else []
    return solved


def _scale(h: float, variant: str) -> float:
    """-B(h): B1 is h itself, B2 is exp(h) - 1, for h as data prediction has it."""
    return -h if variant == "bh1" else math.expm1(-h)


def _sum(weights: Sequence[float], differences: Sequence[torch.Tensor]) -> torch.Tensor | float:
    return sum((weight * each for weight, each in zip(weights, differences, strict=True)), 0.0)
