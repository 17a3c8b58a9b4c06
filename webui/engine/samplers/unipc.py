"""UniPC: a predictor whose next model call corrects it. The one sampler that looks back at its own x."""

import math

import torch

from webui.engine.samplers.step import Denoise, Step, Stepped


def unipc(denoise: Denoise, step: Step) -> Stepped:
    """UniPC of order 2 with B2(h), data prediction: Zhao et al. 2023 (arXiv:2302.04867), algorithms 5 and 6.

    The model's answer at the predicted x first corrects that x (UniC), then predicts the next one (UniP).
    """
    pred_original = denoise(step.x, step.sigma)
    x = _unipc_corrected(step, pred_original)
    history = {"x": x, "pred_original": pred_original}
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original, history)
    h = step.log_snr(step.index + 1) - step.log_snr(step.index)
    estimate = pred_original
    is_last = step.index + 2 == len(step.sigmas)
    if "pred_original" in step.history and not is_last:  # order 1 in the last step is steadier with few steps
        history["pred_original_before"] = step.history["pred_original"]
        r = (step.log_snr(step.index - 1) - step.log_snr(step.index)) / h
        estimate = pred_original + (step.history["pred_original"] - pred_original) / (2 * r)
    return Stepped(step.sigma_next / step.sigma * x - math.expm1(-h) * estimate, pred_original, history)


def _unipc_corrected(step: Step, pred_original: torch.Tensor) -> torch.Tensor:
    """x as UniC sees it now that the model has been asked there: eq. 3 of the paper, weights a solve R a = b."""
    if "x" not in step.history:
        return step.x
    before = step.history["pred_original"]
    h = step.log_snr(step.index) - step.log_snr(step.index - 1)
    phi_1 = math.expm1(-h)
    phi_2 = phi_1 / -h - 1
    if "pred_original_before" in step.history:
        r = (step.log_snr(step.index - 2) - step.log_snr(step.index - 1)) / h
        b_1, b_2 = phi_2 / phi_1, 2 * (phi_2 / -h - 0.5) / phi_1
        weight = (b_2 - r * b_1) / (1 - r)  # of the newest difference; the older one gets what is left of b_1
        older = (step.history["pred_original_before"] - before) / r
        change = (b_1 - weight) * older + weight * (pred_original - before)
    else:
        change = (pred_original - before) / 2
    ratio = step.sigma / step.sigmas[step.index - 1]
    return ratio * step.history["x"] - phi_1 * (before + change)
