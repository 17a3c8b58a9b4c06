"""Samplers that come from the discrete timesteps of DDPM: DDIM and its relatives, DDPM itself, PLMS, LCM.

In terms of sigma, dividing by sqrt(alpha_cumprod) on both sides, they are one line each.
"""

import torch

from webui.engine.samplers.step import Denoise, GuidedDenoise, Step, Stepped, ancestral

CFG_PP_SHARE = 1 / 12.5
"""CFG++ wants a scale of 0 to 1; people give the guidance scale they know, and 12.5 becomes 1 (AUTOMATIC1111)."""


def ddim(denoise: Denoise, step: Step) -> Stepped:
    """Denoising diffusion implicit model: Song et al. 2021 (arXiv:2010.02502), eq. 12, divided by
    sqrt(alpha_cumprod) of each side: in terms of sigma it is x0 + sigma_next * noise; eta as in eq. 16."""
    pred_original = denoise(step.x, step.sigma)
    noise = (step.x - pred_original) / step.sigma
    return Stepped(_renoised(step, pred_original, noise, step.options.ddim_eta), pred_original)


def ddpm(denoise: Denoise, step: Step) -> Stepped:
    """Denoising diffusion probabilistic model: Ho et al. 2020 (arXiv:2006.11239), algorithm 2 with the posterior
    variance (eq. 7) over a part of the timesteps: DDIM with eta = 1 (Song et al. 2021, section 4.1)."""
    pred_original = denoise(step.x, step.sigma)
    noise = (step.x - pred_original) / step.sigma
    return Stepped(_renoised(step, pred_original, noise, 1.0), pred_original)


def ddim_cfg_pp(denoise: Denoise, step: Step) -> Stepped:
    """DDIM with CFG++: Chung et al. 2024 (arXiv:2406.08070), algorithm 2: noise again comes from the unconditional
    prediction, so that a small guidance scale is enough. Without guidance it is DDIM."""
    if not isinstance(denoise, GuidedDenoise):
        return ddim(denoise, step)
    pred_original, uncond = denoise.apart(step.x, step.sigma, CFG_PP_SHARE)
    noise = (step.x - uncond) / step.sigma
    return Stepped(_renoised(step, pred_original, noise, step.options.ddim_eta), pred_original)


def _renoised(step: Step, pred_original: torch.Tensor, noise: torch.Tensor, eta: float) -> torch.Tensor:
    if eta == 0 or step.sigma_next == 0:
        return pred_original + step.sigma_next * noise
    sigma_down, sigma_up = ancestral(step.sigma, step.sigma_next, eta)
    return pred_original + sigma_down * noise + step.draw() * (sigma_up * step.options.s_noise)


ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""Weights of the newest and older slopes, by how many there are."""


def plms(denoise: Denoise, step: Step) -> Stepped:
    """Pseudo linear multistep: Liu et al. 2022 (arXiv:2202.09778), eq. 12, begun with one step of the improved
    Euler method in place of Runge-Kutta's, as in AUTOMATIC1111. The weights are those of even timesteps."""
    pred_original = denoise(step.x, step.sigma)
    noises = [(step.x - pred_original) / step.sigma]
    noises += [step.history[name] for name in ("noise_0", "noise_1", "noise_2") if name in step.history]
    weights = ADAMS_BASHFORTH[len(noises) - 1]
    mean = noises[0] * weights[0]
    for weight, noise in zip(weights[1:], noises[1:], strict=True):
        mean = mean + noise * weight
    if step.index == 0 and step.sigma_next > 0:
        reached = step.x + (step.sigma_next - step.sigma) * noises[0]
        noise_next = (reached - denoise(reached, step.sigma_next)) / step.sigma_next
        mean = (noises[0] + noise_next) / 2
    history = dict(zip(("noise_0", "noise_1", "noise_2"), noises, strict=False))
    return Stepped(step.x + (step.sigma_next - step.sigma) * mean, pred_original, history)


def lcm(denoise: Denoise, step: Step) -> Stepped:
    """Multistep sampling of latent consistency models: Luo et al. 2023 (arXiv:2310.04378), algorithm 3: straight to
    the picture, then noise of the next level over it."""
    pred_original = denoise(step.x, step.sigma)
    if step.sigma_next == 0:
        return Stepped(pred_original, pred_original)
    return Stepped(pred_original + step.draw() * (step.sigma_next * step.options.s_noise), pred_original)
