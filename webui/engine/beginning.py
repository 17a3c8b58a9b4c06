"""What img2img and inpainting begin with: the picture's latents, the mask's, and what the result is laid over.

Between request and loop: `inpainting` knows the pixels, `denoise` the steps. A job of words alone begins with nothing.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageChops, ImageOps

from webui.engine.colours import coloured_as
from webui.engine.denoise import Denoiser
from webui.engine.image_channels import blank_channels, is_inpainting, is_instructed, masked_channels, seen_channels
from webui.engine.inpainting import (
    Box,
    Size,
    filled,
    gaussian,
    grown,
    masked_box,
    masked_margins,
    overlaid,
    overlay_mask,
    resized,
    untouched,
    widened,
)
from webui.engine.latents import latent_shape
from webui.engine.models import Components
from webui.engine.samplers.step import GuidedDenoise
from webui.engine.soft_inpainting import SoftMask
from webui.engine.vae import Tell, encode, to_pixels, untold
from webui.errors import InvalidRequest
from webui.requests import MAX_PIXELS, ImageToImage, Inpaint, PictureRequest

LATENT_UPSCALE = "Just resize (latent upscale)"


Finish = Callable[[Image.Image, torch.Tensor], Image.Image]


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
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """What that is of the whole picture: left, top, right and bottom as shares of its sides."""
    channels: torch.Tensor | None = None
    """(1, n, height, width): what the checkpoint sees beside the latents, see `image_channels.py`."""
    soft: SoftMask | None = None
    """The mask as a strength, with soft inpainting; `mask` is the same."""
    finish: Finish = lambda picture, _: picture
    """From the decoded picture and its latents (channels, height, width) to the one that is saved."""

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
        self._soft = beginning.soft

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        return self._held(self._denoiser(x, sigma), sigma)

    def apart(self, x: torch.Tensor, sigma: float, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        assert isinstance(self._denoiser, GuidedDenoise)
        guided, uncond = self._denoiser.apart(x, sigma, share)
        return self._held(guided, sigma), self._held(uncond, sigma)

    def _held(self, made: torch.Tensor, sigma: float) -> torch.Tensor:
        if self._soft is not None:
            return self._soft.blended(self._latents, made, sigma)
        return torch.lerp(self._latents, made, self._mask)

    @property
    def is_full_precision(self) -> bool:
        return self._denoiser.is_full_precision

    def to_full_precision(self) -> None:
        self._denoiser.to_full_precision()


def beginning_of(
    request: PictureRequest, inputs: Mapping[str, bytes], components: Components, tell: Tell = untold
) -> Beginning:
    """Read, resize and encode what the request begins with. Raises `InvalidRequest` when the mask does not fit."""
    size = request.width, request.height
    shape = latent_shape(size, components.latent_channels, components.factor)
    if not isinstance(request, ImageToImage):
        return Beginning(channels=blank_channels(components, shape, tell))
    picture = _read(inputs[request.image]).convert("RGB")
    if isinstance(request, Inpaint):
        painted = _read(inputs[request.mask]).convert("L") if request.mask else Image.new("L", picture.size)
        return _inpainting(request, picture, painted, components, tell)
    channels = blank_channels(components, shape, tell)
    model = resized(picture, size, request.resize_mode)
    if is_instructed(components):
        channels = seen_channels(components, to_pixels(model), tell)

    def finish(made: Image.Image, _: torch.Tensor) -> Image.Image:
        return coloured_as(made, model) if request.color_correction else made

    latents = _encoded(picture, size, request.resize_mode, components, tell)
    return Beginning(latents, channels=channels, finish=finish)


@dataclass(frozen=True)
class _Canvas:
    """What is painted on, at the size at which it is painted, and where in the result it lies."""

    request: Inpaint
    original: Image.Image
    """What the result is laid over."""
    painted: Image.Image
    """The mask as it was painted, of the original."""
    soft: Image.Image
    """The mask with its edge blurred, of the original."""
    part: Image.Image
    part_mask: Image.Image
    """What the model sees of both."""
    box: Box | None
    """Where the part lies in the original; None: it is all of it."""

    @property
    def window(self) -> tuple[float, float, float, float]:
        """The box as shares of the original's sides."""
        width, height = self.original.size
        left, top, right, bottom = self.box or (0, 0, width, height)
        return left / width, top / height, right / width, bottom / height


def _inpainting(
    request: Inpaint, picture: Image.Image, painted: Image.Image, components: Components, tell: Tell
) -> Beginning:
    if painted.size != picture.size:
        raise InvalidRequest(
            "The mask is {mask} pixels large and the picture {picture}: they must be of the same size.",
            mask="{}×{}".format(*painted.size),
            picture="{}×{}".format(*picture.size),
        )
    if request.mask_mode == "Inpaint not masked":
        painted = ImageOps.invert(painted)
    return _masked(_canvas(request, picture, painted), components, tell)


def _canvas(request: Inpaint, picture: Image.Image, painted: Image.Image) -> _Canvas:
    size = request.width, request.height
    if request.inpaint_area == "Only masked":
        picture, painted = grown(picture, request.margins), masked_margins(painted, request.margins)
        soft = gaussian(painted, request.mask_blur)
        box = masked_box(soft, request.padding)
        if box is not None:
            box = widened(box, size, picture.size)
            part, part_mask = (resized(each.crop(box), size, "Just resize") for each in (picture, soft))
            return _Canvas(request, picture, painted, soft, part, part_mask, box)
        picture, painted, soft = (resized(each, size, request.resize_mode) for each in (picture, painted, soft))
        return _Canvas(request, picture, painted, soft, picture, soft, None)
    soft = gaussian(painted, request.mask_blur)
    picture, painted, soft = (resized(each, size, request.resize_mode) for each in (picture, painted, soft))
    if any(request.margins):
        picture, painted = grown(picture, request.margins), masked_margins(painted, request.margins)
        soft = ImageChops.lighter(grown(soft, request.margins), gaussian(painted, request.mask_blur))
    return _Canvas(request, picture, painted, soft, picture, soft, None)


def _masked(canvas: _Canvas, components: Components, tell: Tell) -> Beginning:
    request, part, mask = canvas.request, canvas.part, canvas.part_mask
    content = request.masked_content
    begun_with = filled(part, mask) if content == "fill" else part
    latents = _encoded(begun_with, part.size, request.resize_mode, components, tell)
    latent_mask = _to_latents(mask, latents, is_soft=request.soft_inpainting)
    soft = SoftMask(latent_mask, request) if request.soft_inpainting else None
    original = latents
    if content == "latent nothing":
        latents = latents * (1 - latent_mask)
    return Beginning(
        latents,
        latent_mask,
        content == "latent noise",
        size=part.size,
        window=canvas.window,
        channels=_channels(canvas, components, tell),
        soft=soft,
        finish=_finish(canvas, original, begun_with, soft),
    )


def _channels(canvas: _Canvas, components: Components, tell: Tell) -> torch.Tensor | None:
    pixels = to_pixels(canvas.part)
    if is_instructed(components):
        return seen_channels(components, pixels, tell)
    if not is_inpainting(components):
        return None
    mask = torch.from_numpy(np.asarray(canvas.part_mask, dtype=np.float32) / 255)
    return masked_channels(components, pixels, mask if canvas.request.soft_inpainting else mask.round(), tell)


def _finish(canvas: _Canvas, kept: torch.Tensor, model: Image.Image, soft: SoftMask | None) -> Finish:
    request, box = canvas.request, canvas.box

    def finish(made: Image.Image, latents: torch.Tensor) -> Image.Image:
        mask = canvas.soft if box else overlay_mask(canvas.soft)
        if soft is not None:
            part = soft.overlay(kept[0], latents, made.size)
            mask = Image.new("L", canvas.original.size)
            place = box or (0, 0, *mask.size)
            mask.paste(resized(part, (place[2] - place[0], place[3] - place[1]), "Just resize"), place[:2])
        if request.color_correction:
            made = coloured_as(made, model)
        result = overlaid(canvas.original, made, mask, box)
        return untouched(canvas.original, result, canvas.painted) if request.keep_untouched else result

    return finish


def _to_latents(mask: Image.Image, latents: torch.Tensor, *, is_soft: bool) -> torch.Tensor:
    """(1, 1, height, width) of 0 to 1; if not `is_soft` 0 or 1, and a latent is made anew when at least half of its
    pixels are."""
    height, width = latents.shape[-2:]
    small = np.asarray(mask.resize((width, height), Image.Resampling.BOX), dtype=np.float32) / 255
    return torch.from_numpy(small if is_soft else small.round()).to(latents.device)[None, None]


def _encoded(picture: Image.Image, size: Size, resize_mode: str, components: Components, tell: Tell) -> torch.Tensor:
    """(1, channels, height, width) at `size` pixels, fp32."""
    if resize_mode != LATENT_UPSCALE or picture.size == size:
        return encode(components.vae, resized(picture, size, resize_mode), tell).float()
    factor = components.factor
    shrunk = max(1.0, (picture.width * picture.height / MAX_PIXELS) ** 0.5)  # an upload may be larger than any result
    whole = (max(1, int(side / shrunk) // factor) * factor for side in picture.size)
    latents = encode(components.vae, resized(picture, (next(whole), next(whole)), "Just resize"), tell).float()
    return F.interpolate(latents, (size[1] // factor, size[0] // factor), mode="bilinear", antialias=False)


def _read(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        picture.load()
        return picture
