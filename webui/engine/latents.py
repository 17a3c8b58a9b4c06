"""Latents: their shape, and the way between the sampler's scale and the autoencoder's.

While sampling, x is picture plus sigma times noise. Finished latents have unit variance as the autoencoder's
scaling factor gives them; `vae` takes that factor off.
"""

import math
from typing import TypeAlias

import torch

from webui.errors import InvalidRequest

LatentShape: TypeAlias = tuple[int, int, int]
"""(channels, height, width) of one picture's latents."""


def latent_shape(size: tuple[int, int], channels: int, factor: int) -> LatentShape:
    """Of a picture of `size`, (width, height) in pixels. Raises `InvalidRequest`."""
    width, height = size
    if width % factor or height % factor:
        raise InvalidRequest(
            "This checkpoint draws in blocks of {factor} pixels: make width and height multiples.", factor=factor
        )
    return channels, height // factor, width // factor


def finished_latents(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Latents at the end of a schedule. Where it stops above sigma 0, back to unit variance:
    x / sqrt(1 + sigma²) = sqrt(alphas_cumprod) * x."""
    return x / math.sqrt(1 + sigma**2) if sigma else x
