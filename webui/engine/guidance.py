"""Classifier-free guidance: one prediction out of the conditional and the unconditional one.

Knows nothing about sigmas or prompts; `prediction` calls it once per model call.
"""

import torch


def needs_uncond(guidance_scale: float) -> bool:
    """At exactly 1 guidance is off, and half of the model's work is saved."""
    return guidance_scale != 1.0


def classifier_free_guidance(
    noise_uncond: torch.Tensor, noise_cond: torch.Tensor, guidance_scale: float
) -> torch.Tensor:
    """Push the unconditional prediction towards the conditional one.

    Both predictions: (pictures, channels, height, width), same dtype. `guidance_scale` >= 1.
    Ho & Salimans 2022 (arXiv:2207.12598), in the form of Imagen's eq. 2, where 1 means no guidance.
    """
    return noise_uncond + guidance_scale * (noise_cond - noise_uncond)
