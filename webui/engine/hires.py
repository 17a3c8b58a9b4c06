"""What lies between the two passes of a hires job: the latents of the first become the larger beginning of the second.

Knows sizes and ways to enlarge; the passes themselves are in `passes`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from webui.engine.latents import LatentShape
from webui.engine.models import Components
from webui.engine.upscaling import Upscalers
from webui.engine.vae import decode, encode
from webui.errors import UnknownName
from webui.registry import LATENT_UPSCALERS
from webui.requests import TextToImage
from webui.sentences import Sentence

_MODES = ("bilinear", "bilinear", "bicubic", "bicubic", "nearest", "nearest-exact")


def check_upscaler(request: TextToImage, upscalers: Upscalers) -> None:
    """Raise `UnknownName` for an upscaler that is none of the latent ones and none of `upscalers`."""
    known = *LATENT_UPSCALERS, *upscalers.names()
    if request.hires_upscaler not in known:
        raise UnknownName("upscaler", request.hires_upscaler, known)


def hires_shape(request: TextToImage, components: Components) -> LatentShape:
    """Of the second pass: whole latents of the request's own size."""
    width, height = request.hires_sizes[1]
    return components.latent_channels, height // components.factor, width // components.factor


@dataclass(frozen=True)
class Enlarged:
    """The pictures of the first pass, ready for the second, and what the person should know about it."""

    latents: torch.Tensor
    """(pictures, *hires_shape), scaled, fp32."""
    warnings: tuple[Sentence, ...] = ()


def enlarged(latents: torch.Tensor, request: TextToImage, components: Components, upscalers: Upscalers) -> Enlarged:
    """`latents` (pictures, channels, height, width), finished, at the size of the second pass.

    A latent upscaler interpolates them; any other enlarges the decoded picture, which is encoded again. What stands
    over on the longer side is cut off latent by latent, half before and half behind.
    """
    factor = components.factor
    width, height = (side // factor for side in request.hires_sizes[0])
    if request.hires_upscaler in LATENT_UPSCALERS:
        return Enlarged(_cut(_interpolated(latents, (height, width), request.hires_upscaler), request, components))
    told: list[Sentence] = []
    decoded = [decode(components.vae, each) for each in latents]
    pictures = (
        upscalers.upscale(request.hires_upscaler, each.image, (width * factor, height * factor)) for each in decoded
    )
    larger = torch.cat([encode(components.vae, picture, told.append).float() for picture in pictures])
    warnings = (*(each.warning for each in decoded if each.warning), *told)
    return Enlarged(_cut(larger, request, components), warnings)


@torch.inference_mode()
def _interpolated(latents: torch.Tensor, size: tuple[int, int], upscaler: str) -> torch.Tensor:
    mode = _MODES[LATENT_UPSCALERS.index(upscaler)]
    return F.interpolate(latents, size, mode=mode, antialias="antialiased" in upscaler)


def _cut(latents: torch.Tensor, request: TextToImage, components: Components) -> torch.Tensor:
    _, height, width = hires_shape(request, components)
    top, left = (latents.shape[-2] - height) // 2, (latents.shape[-1] - width) // 2
    return latents[:, :, top : top + height, left : left + width]
