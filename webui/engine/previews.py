"""Live previews: a step's pred_original as a small JPEG, by a linear map, a small decoder or the decoder itself.

A preview never changes the picture and never harms it: one that fails is left out.
"""

import io
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from webui.engine.preview_decoder import PreviewDecoder
from webui.engine.vae import decode_pixels, encode_pixels, to_image
from webui.errors import UnknownName
from webui.registry import PREVIEWS

log = logging.getLogger(__name__)

LARGEST_SIDE = 256
"""Pixels; the page scales it up."""
JPEG_QUALITY = 80
FULL_SHARE = 1 / 3
"""Decoding previews never takes more of a job's time than this."""


@dataclass(frozen=True)
class LatentRgb:
    """A linear map from scaled latents to colours in [-1, 1]."""

    weight: torch.Tensor
    """(channels, 3)."""
    bias: torch.Tensor
    """(3,)."""

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """(channels, height, width) -> (3, height, width), on the CPU."""
        return torch.einsum("chw,cr->rhw", latents.float().cpu(), self.weight) + self.bias[:, None, None]


def read_latent_rgb(path: Path, channels: int) -> LatentRgb | None:
    """The map that came with the checkpoint; None when there is none that fits."""
    try:
        values = json.loads(path.read_text("utf-8"))
        fit = LatentRgb(torch.tensor(values["weight"]).float(), torch.tensor(values["bias"]).float())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s); the preview's colours are measured instead", path, error)
        return None
    return fit if fit.weight.shape == (channels, 3) and fit.bias.shape == (3,) else None


@torch.inference_mode()
def fit_latent_rgb(vae: Any, channels: int) -> LatentRgb:  # AutoencoderKL; diffusers is not typed
    """Least-squares fit to the loaded autoencoder: patchworks of strong colours, encoded, and decoded again.

    Encoded patchworks rather than plain noise, because a decoder is far from linear where no picture lies.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    inputs, targets = [], []
    for patches in (1, 2, 4, 8):
        colours = (3 * torch.randn(1, 3, patches, patches, generator=generator)).clamp(-1, 1)
        pixels = F.interpolate(colours, size=(64, 64)).to(vae.device, vae.dtype)
        latents = encode_pixels(vae, pixels)[0]
        decoded = F.adaptive_avg_pool2d(decode_pixels(vae, latents), (latents.shape[1], latents.shape[2]))
        inputs.append(latents.cpu().flatten(1).T)
        targets.append(decoded.cpu().flatten(1).T)
    latents_and_one = F.pad(torch.cat(inputs), (0, 1), value=1.0)
    solution = torch.linalg.lstsq(latents_and_one, torch.cat(targets)).solution
    if not torch.isfinite(solution).all():  # a damaged autoencoder; decoding the picture will say so
        return LatentRgb(torch.zeros(channels, 3), torch.zeros(3))
    return LatentRgb(solution[:-1].clone(), solution[-1].clone())


class MeasuredRgb:
    """The map of an autoencoder that brought none: measured once, when the first preview is asked for.

    Not while loading: on a CPU a full-size autoencoder takes seconds for it.
    """

    def __init__(self, vae: Any, channels: int) -> None:  # AutoencoderKL
        self._vae, self._channels = vae, channels
        self._fit: LatentRgb | None = None

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        if self._fit is None:
            self._fit = fit_latent_rgb(self._vae, self._channels)
        return self._fit(latents)


LatentToRgb = Callable[[torch.Tensor], torch.Tensor]
"""(channels, height, width), scaled latents -> (3, height, width) in about [-1, 1], on the CPU."""

Previewer = Callable[[torch.Tensor], bytes | None]
"""pred_original of one picture (channels, height, width) -> JPEG, or None when this step has none."""


def previewer(kind: str, vae: Any, latent_rgb: LatentToRgb, small: PreviewDecoder | None = None) -> Previewer:
    """The previewer of a name in `registry.PREVIEWS`; one per job. Raises `UnknownName`.

    "Small" is linear where there is no small decoder.
    """
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    if kind == "Off":
        return lambda _: None
    if kind == "Small" and small is not None:
        return _harmless(lambda latents: _jpeg(to_image(_decode_small(small, latents)), factor // small.scale))
    if kind in ("Linear", "Small"):
        return _harmless(lambda latents: _jpeg(to_image(latent_rgb(latents)), factor))
    if kind == "Full":
        return _rationed(_harmless(lambda latents: _jpeg(to_image(decode_pixels(vae, latents)), 1)))
    raise UnknownName("preview", kind, PREVIEWS)


@torch.inference_mode()
def _decode_small(decoder: PreviewDecoder, latents: torch.Tensor) -> torch.Tensor:
    return decoder(latents[None].float())[0]  # type: ignore[no-any-return]


def _harmless(preview: Previewer) -> Previewer:
    def attempt(latents: torch.Tensor) -> bytes | None:
        try:
            return preview(latents)
        except Exception:  # whatever it is, the picture itself goes on; what concerns it will show there
            log.warning("a live preview failed", exc_info=True)
            return None

    return attempt


def _rationed(preview: Previewer) -> Previewer:
    """Leave out steps so that slow previews keep to their share of the time."""
    next_at = 0.0

    def attempt(latents: torch.Tensor) -> bytes | None:
        nonlocal next_at
        begin = time.monotonic()
        if begin < next_at:
            return None
        result = preview(latents)
        end = time.monotonic()
        next_at = end + (end - begin) * (1 / FULL_SHARE - 1)
        return result

    return attempt


def _jpeg(image: Image.Image, factor: int) -> bytes:
    """JPEG of the image enlarged by `factor`, at most LARGEST_SIDE long."""
    scale = min(factor, LARGEST_SIDE / max(image.size))
    if scale != 1:
        size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
        image = image.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
