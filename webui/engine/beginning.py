"""What img2img and inpainting begin with: the picture's latents, the mask's, and what the result is laid over.

Between request and loop: `inpainting` knows the pixels, `denoise` the steps. A job of words alone begins with nothing.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from webui.engine.denoise import Denoiser
from webui.engine.image_channels import blank_channels
from webui.engine.inpainting import (
    Box,
    Size,
    filled,
    gaussian,
    masked_box,
    overlaid,
    overlay_mask,
    resized,
    untouched,
    widened,
)
from webui.engine.latents import latent_shape
from webui.engine.models import Components
from webui.engine.samplers.step import GuidedDenoise
from webui.engine.vae import encode
from webui.errors import InvalidRequest
from webui.requests import MAX_PIXELS, ImageToImage, Inpaint, PictureRequest

LATENT_UPSCALE = "Just resize (latent upscale)"


@dataclass(frozen=True)
class Beginning:
    """Of one job, the same for all its pictures."""

    latents: torch.Tensor | None = None
    """(1, channels, height, width), scaled; None: pure noise."""
    mask: torch.Tensor | None = None
    """(1, 1, height, width), 1 where latents are made anew; None: everywhere."""
    is_masked_noise: bool = False
    """The masked part begins as noise alone ("latent noise")."""
    size: Size | None = None
    """(width, height) of what is drawn where that is not the request's."""
    channels: torch.Tensor | None = None
    """(1, n, height, width): what the checkpoint sees beside the latents, see `image_channels.py`."""
    finish: Callable[[Image.Image], Image.Image] = lambda picture: picture
    """From the decoded picture to the one that is saved."""

    def first(self, noise: torch.Tensor, sigma: float) -> torch.Tensor:
        """(pictures, channels, height, width): the picture with `noise` (standard normal) at level `sigma`."""
        assert self.latents is not None
        latents = self.latents
        if self.mask is not None and self.is_masked_noise:
            latents = torch.lerp(latents, noise, self.mask)
        return latents + noise * sigma

    def guard(self, denoiser: Denoiser) -> Denoiser:
        """`denoiser`, held to the picture outside the mask."""
        return denoiser if self.mask is None else _Guarded(denoiser, self)


class _Guarded:
    """Outside the mask the estimate is the picture itself, so that what is painted fits to it at every step."""

    def __init__(self, denoiser: Denoiser, beginning: Beginning) -> None:
        assert beginning.latents is not None
        assert beginning.mask is not None
        self._denoiser, self._latents, self._mask = denoiser, beginning.latents, beginning.mask

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.lerp(self._latents, self._denoiser(x, sigma), self._mask)

    def apart(self, x: torch.Tensor, sigma: float, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        assert isinstance(self._denoiser, GuidedDenoise)
        guided, uncond = self._denoiser.apart(x, sigma, share)
        return torch.lerp(self._latents, guided, self._mask), torch.lerp(self._latents, uncond, self._mask)

    @property
    def is_full_precision(self) -> bool:
        return self._denoiser.is_full_precision

    def to_full_precision(self) -> None:
        self._denoiser.to_full_precision()


def beginning_of(request: PictureRequest, inputs: Mapping[str, bytes], components: Components) -> Beginning:
    """Read, resize and encode what the request begins with. Raises `InvalidRequest` when the mask does not fit."""
    if not isinstance(request, ImageToImage):
        shape = latent_shape((request.width, request.height), components.latent_channels, components.factor)
        return Beginning(channels=blank_channels(components, shape))
    picture = _read(inputs[request.image]).convert("RGB")
    if isinstance(request, Inpaint):
        return _inpainting(request, picture, _read(inputs[request.mask]).convert("L"), components)
    return Beginning(_encoded(picture, (request.width, request.height), request.resize_mode, components))


def _inpainting(request: Inpaint, picture: Image.Image, painted: Image.Image, components: Components) -> Beginning:
    if painted.size != picture.size:
        raise InvalidRequest(
            "The mask is {mask} pixels large and the picture {picture}: they must be of the same size.",
            mask="{}×{}".format(*painted.size),
            picture="{}×{}".format(*picture.size),
        )
    if request.mask_mode == "Inpaint not masked":
        painted = ImageOps.invert(painted)
    soft = gaussian(painted, request.mask_blur)
    size = request.width, request.height
    box = masked_box(soft, request.padding) if request.inpaint_area == "Only masked" else None
    if box is None:
        picture, painted, soft = (resized(each, size, request.resize_mode) for each in (picture, painted, soft))
        return _masked(request, picture, soft, components, _finish(request, picture, painted, soft))
    box = widened(box, size, picture.size)
    part, part_mask = (resized(each.crop(box), size, "Just resize") for each in (picture, soft))
    return _masked(request, part, part_mask, components, _finish(request, picture, painted, soft, box))


def _masked(
    request: Inpaint,
    part: Image.Image,
    mask: Image.Image,
    components: Components,
    finish: Callable[[Image.Image], Image.Image],
) -> Beginning:
    """`part` is what is drawn, at the result's size, and `mask` its mask."""
    content = request.masked_content
    latents = _encoded(filled(part, mask) if content == "fill" else part, part.size, request.resize_mode, components)
    latent_mask = _to_latents(mask, latents)
    if content == "latent nothing":
        latents = latents * (1 - latent_mask)
    return Beginning(latents, latent_mask, content == "latent noise", finish=finish)


def _finish(
    request: Inpaint, original: Image.Image, painted: Image.Image, soft: Image.Image, box: Box | None = None
) -> Callable[[Image.Image], Image.Image]:
    def finish(repainted: Image.Image) -> Image.Image:
        result = overlaid(original, repainted, soft if box else overlay_mask(soft), box)
        return untouched(original, result, painted) if request.keep_untouched else result

    return finish


def _to_latents(mask: Image.Image, latents: torch.Tensor) -> torch.Tensor:
    """(1, 1, height, width) of 0 and 1: a latent is made anew when at least half of its pixels are."""
    height, width = latents.shape[-2:]
    small = np.asarray(mask.resize((width, height), Image.Resampling.BOX), dtype=np.float32) / 255
    return torch.from_numpy(small.round()).to(latents.device)[None, None]


def _encoded(picture: Image.Image, size: Size, resize_mode: str, components: Components) -> torch.Tensor:
    """(1, channels, height, width) at `size` pixels, fp32."""
    if resize_mode != LATENT_UPSCALE or picture.size == size:
        return encode(components.vae, resized(picture, size, resize_mode)).float()
    factor = components.factor
    shrunk = max(1.0, (picture.width * picture.height / MAX_PIXELS) ** 0.5)  # an upload may be larger than any result
    whole = (max(1, int(side / shrunk) // factor) * factor for side in picture.size)
    latents = encode(components.vae, resized(picture, (next(whole), next(whole)), "Just resize")).float()
    return F.interpolate(latents, (size[1] // factor, size[0] // factor), mode="bilinear", antialias=False)


def _read(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        picture.load()
        return picture
