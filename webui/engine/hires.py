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
from webui.errors import InvalidRequest, UnknownName
from webui.registry import LATENT_UPSCALERS
from webui.requests import TextToImage
from webui.sentences import Sentence

_MODES = ("bilinear", "bilinear", "bicubic", "bicubic", "nearest", "nearest-exact")


def check_upscaler(request: TextToImage, upscalers: Upscalers) -> None:
    """Raise `UnknownName` for an upscaler that is none of the latent ones and none of `upscalers`."""
    known = *LATENT_UPSCALERS, *upscalers.names()
    if request.hires_upscaler not in known:
        raise UnknownName("upscaler", request.hires_upscaler, known)


def check_latents(request: TextToImage, first: Components, second: Components) -> None:
    """Raise `InvalidRequest` where latents of the first checkpoint would be enlarged for another kind of checkpoint."""
    if request.hires_upscaler in LATENT_UPSCALERS and not are_alike(first, second):
        raise InvalidRequest(
            "The upscaler '{upscaler}' keeps the latents, and '{second}' works on others than '{first}'. Choose an "
            "upscaler that is not a latent one, such as Lanczos.",
            upscaler=request.hires_upscaler, first=first.name, second=second.name,
        )  # fmt: skip


def are_alike(first: Components, second: Components) -> bool:
    """Whether both checkpoints mean the same by latents, as far as their shapes tell."""
    kinds = [(each.latent_channels, each.factor, each.is_xl) for each in (first, second)]
    return kinds[0] == kinds[1]


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


def enlarged(
    latents: torch.Tensor, request: TextToImage, first: Components, second: Components, upscalers: Upscalers
) -> Enlarged:
    """`latents` of the first checkpoint (pictures, channels, height, width), finished, at the size of the second pass.

    A latent upscaler interpolates them; any other enlarges the decoded picture, which the second checkpoint encodes
    again. What stands over on the longer side is cut off latent by latent, half before and half behind.
    """
    factor = second.factor
    width, height = (side // factor for side in request.hires_sizes[0])
    if request.hires_upscaler in LATENT_UPSCALERS:
        return Enlarged(_cut(_interpolated(latents, (height, width), request.hires_upscaler), request, second))
    told: list[Sentence] = []
    decoded = [decode(first.vae, each) for each in latents]
    pictures = (
        upscalers.upscale(request.hires_upscaler, each.image, (width * factor, height * factor)) for each in decoded
    )
    larger = torch.cat([encode(second.vae, picture, told.append).float() for picture in pictures])
    warnings = (*(each.warning for each in decoded if each.warning), *told)
    return Enlarged(_cut(larger, request, second), warnings)


@torch.inference_mode()
def _interpolated(latents: torch.Tensor, size: tuple[int, int], upscaler: str) -> torch.Tensor:
    mode = _MODES[LATENT_UPSCALERS.index(upscaler)]
    return F.interpolate(latents, size, mode=mode, antialias="antialiased" in upscaler)


def _cut(latents: torch.Tensor, request: TextToImage, components: Components) -> torch.Tensor:
    _, height, width = hires_shape(request, components)
    top, left = (latents.shape[-2] - height) // 2, (latents.shape[-1] - width) // 2
    return latents[:, :, top : top + height, left : left + width]
