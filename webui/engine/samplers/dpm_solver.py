"""The DPM-Solver++ family: exponential integrators over lambda = -log sigma on the picture that the model predicts.

Lu et al. 2022 (arXiv:2211.01095), with alpha = 1. The SDE samplers take their noise from `Step.noise`; `eta` scales
it as in k-diffusion: 1 is the paper's SDE, 0 the ODE.
"""

import math

import torch

from webui.engine.samplers.step import Denoise, Step, Stepped, ancestral


def dpmpp_2m(denoise: Denoise, step: Step) -> Stepped:
    """DPM-Solver++(2M): Lu et al. 2022 (arXiv:2211.01095), algorithm 2. First step and step to 0 of order 1."""
    pred_original = denoise(step.x, step.sigma)
    history = {"pred_original": pred_original}
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original, history)
    h = step.log_snr(step.index + 1) - step.log_snr(step.index)
    estimate = pred_original
    if "pred_original" in step.history:
        r = (step.log_snr(step.index) - step.log_snr(step.index - 1)) / h
        estimate = (1 + 1 / (2 * r)) * pred_original - 1 / (2 * r) * step.history["pred_original"]
    return Stepped(step.sigma_next / step.sigma * step.x - math.expm1(-h) * estimate, pred_original, history)


def dpmpp_2m_sde(denoise: Denoise, step: Step) -> Stepped:
    """SDE-DPM-Solver++(2M): Lu et al. 2022 (arXiv:2211.01095), appendix on SDE solvers, midpoint."""
    pred_original = denoise(step.x, step.sigma)
    history = {"pred_original": pred_original}
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original, history)
    h, whole = _spans(step)
    x = _exponential_euler(step, pred_original)
    if "pred_original" in step.history:
        r = (step.log_snr(step.index) - step.log_snr(step.index - 1)) / h
        x = x - math.expm1(-whole) / (2 * r) * (pred_original - step.history["pred_original"])
    return Stepped(_with_sde_noise(step, x), pred_original, history)


def dpmpp_2m_sde_heun(denoise: Denoise, step: Step) -> Stepped:
    """`dpmpp_2m_sde` with the other second-order weight of the paper, which integrates the slope exactly."""
    pred_original = denoise(step.x, step.sigma)
    history = {"pred_original": pred_original}
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original, history)
    h, whole = _spans(step)
    x = _exponential_euler(step, pred_original)
    if "pred_original" in step.history:
        r = (step.log_snr(step.index) - step.log_snr(step.index - 1)) / h
        x = x + (math.expm1(-whole) / whole + 1) / r * (pred_original - step.history["pred_original"])
    return Stepped(_with_sde_noise(step, x), pred_original, history)


def dpmpp_3m_sde(denoise: Denoise, step: Step) -> Stepped:
    """SDE-DPM-Solver++ of order 3, multistep: the third-order expansion of Lu et al. 2022, appendix B, applied to
    the SDE, as in Katherine Crowson's k-diffusion. Orders 1 and 2 in the first two steps."""
    pred_original = denoise(step.x, step.sigma)
    history = {"pred_original": pred_original}
    if "pred_original" in step.history:
        history["pred_original_before"] = step.history["pred_original"]
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original, history)
    h, whole = _spans(step)
    x = _exponential_euler(step, pred_original)
    phi_2 = math.expm1(-whole) / whole + 1
    if "pred_original" in step.history:
        r = (step.log_snr(step.index) - step.log_snr(step.index - 1)) / h
        slope = (pred_original - step.history["pred_original"]) / r
        if "pred_original_before" in step.history:
            r_before = (step.log_snr(step.index - 1) - step.log_snr(step.index - 2)) / h
            slope_before = (step.history["pred_original"] - step.history["pred_original_before"]) / r_before
            curve = (slope - slope_before) / (r + r_before)
            slope = slope + r * curve
            x = x - (phi_2 / whole - 0.5) * curve
        x = x + phi_2 * slope
    return Stepped(_with_sde_noise(step, x), pred_original, history)


def dpmpp_sde(denoise: Denoise, step: Step) -> Stepped:
    """DPM-Solver++ with noise, single step, two model calls: algorithm 1 of Lu et al. 2022 (r = 1/2) between ancestral
    levels, noise added at the middle and at the end, as in Katherine Crowson's k-diffusion."""
    pred_original = denoise(step.x, step.sigma)
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original)
    middle = math.sqrt(step.sigma * step.sigma_next)
    halfway = _down_and_up(step, middle, pred_original)
    return Stepped(_down_and_up(step, step.sigma_next, denoise(halfway, middle)), pred_original)


def _down_and_up(step: Step, sigma_next: float, pred_original: torch.Tensor) -> torch.Tensor:
    """From x at step.sigma to `sigma_next`, the way down by an exponential Euler step, up by noise."""
    sigma_down, sigma_up = ancestral(step.sigma, sigma_next, step.options.eta)
    x = _to_level(step.x, pred_original, step.sigma, sigma_down)
    return x + step.noise(step.sigma, sigma_next) * sigma_up


def dpmpp_2s_ancestral(denoise: Denoise, step: Step) -> Stepped:
    """DPM-Solver++(2S): Lu et al. 2022, algorithm 1 with r = 1/2, down to `sigma_down`, then fresh noise up again."""
    pred_original = denoise(step.x, step.sigma)
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original)
    sigma_down, sigma_up = ancestral(step.sigma, step.sigma_next, step.options.eta)
    middle = math.sqrt(step.sigma * sigma_down)
    halfway = _to_level(step.x, pred_original, step.sigma, middle)
    x = _to_level(step.x, denoise(halfway, middle), step.sigma, sigma_down)
    return Stepped(x + step.draw() * (sigma_up * step.options.s_noise), pred_original)


def _to_level(x: torch.Tensor, pred_original: torch.Tensor, sigma: float, sigma_next: float) -> torch.Tensor:
    """The first-order step of DPM-Solver++ (eq. 12 there with k = 1): what of x is not picture shrinks with sigma."""
    return sigma_next / sigma * x + (1 - sigma_next / sigma) * pred_original


def _spans(step: Step) -> tuple[float, float]:
    """Length of the step in lambda, without and with the share of it that fresh noise adds (`eta`)."""
    h = step.log_snr(step.index + 1) - step.log_snr(step.index)
    return h, h + step.options.eta * h


def _exponential_euler(step: Step, pred_original: torch.Tensor) -> torch.Tensor:
    h, whole = _spans(step)
    return step.sigma_next / step.sigma * math.exp(h - whole) * step.x - math.expm1(-whole) * pred_original


def _with_sde_noise(step: Step, x: torch.Tensor) -> torch.Tensor:
    h, _ = _spans(step)
    if step.options.eta == 0:
        return x
    size = step.sigma_next * math.sqrt(-math.expm1(-2 * h * step.options.eta))
    return x + step.noise(step.sigma, step.sigma_next) * size
