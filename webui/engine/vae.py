"""Pictures to latents and back, healing what can be healed: NaN in full precision, lack of memory in tiles."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from webui.engine import memory
from webui.errors import CheckpointError
from webui.sentences import Sentence

Tell = Callable[[Sentence], None]
"""Takes what the person should know about how a picture was encoded."""


def untold(_: Sentence) -> None:
    """For what nobody waits for."""


@dataclass(frozen=True)
class Decoded:
    """A picture and what the person should know about how it was decoded."""

    image: Image.Image
    warning: Sentence | None = None


@torch.inference_mode()
def decode(vae: Any, latents: torch.Tensor) -> Decoded:  # AutoencoderKL; diffusers is not typed
    """Decode one picture, latents (channels, height, width). Raises `CheckpointError` when it is not a number."""
    pixels, warning = _decode_in_memory(vae, latents)
    if torch.isfinite(pixels).all():
        return Decoded(to_image(pixels), warning)
    if vae.dtype != torch.float32:
        with _full_precision(vae):
            pixels, warning = _decode_in_memory(vae, latents)
        if torch.isfinite(pixels).all():
            told = Sentence("The picture was decoded in full precision, because half gave no numbers.")
            return Decoded(to_image(pixels), told)
    raise CheckpointError(
        "The decoder's result is not a number, in full precision too, so no picture was made. "
        "The checkpoint's vae is probably damaged: copy the checkpoint again."
    )


def _decode_in_memory(vae: Any, latents: torch.Tensor) -> tuple[torch.Tensor, Sentence | None]:
    pixels, is_tiled = _in_memory(vae, lambda: decode_pixels(vae, latents))
    return pixels, Sentence("The picture was decoded in tiles, because memory was short.") if is_tiled else None


def _in_memory(vae: Any, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, bool]:
    """What `work` makes with the autoencoder, and whether it needed tiles, because memory was short."""
    try:
        return work(), False
    except RuntimeError as error:
        if not memory.is_out_of_memory(error) or not hasattr(vae, "use_tiling"):  # a VQModel knows no tiles
            raise
    memory.release()
    vae.enable_tiling()
    try:
        return work(), True
    finally:
        vae.disable_tiling()


def encode(vae: Any, picture: Image.Image, tell: Tell = untold) -> torch.Tensor:
    """RGB picture -> scaled latents (1, channels, height / factor, width / factor): the mean of the posterior."""
    levels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    return encode_pixels(vae, levels.to(vae.device, vae.dtype) / 127.5 - 1, tell)


def to_pixels(picture: Image.Image) -> torch.Tensor:
    """RGB picture -> (3, height, width) in [-1, 1], fp32."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1


@torch.inference_mode()
def encode_pixels(vae: Any, pixels: torch.Tensor, tell: Tell = untold) -> torch.Tensor:
    """As `encode`, of (1, 3, height, width) in [-1, 1]."""
    pixels = pixels.to(vae.device, vae.dtype)
    latents, is_tiled = _in_memory(vae, lambda: _encoded(vae, pixels))
    if not torch.isfinite(latents).all() and vae.dtype != torch.float32:
        with _full_precision(vae):
            latents, is_tiled = _in_memory(vae, lambda: _encoded(vae, pixels.float()))
    if not torch.isfinite(latents).all():
        raise CheckpointError(
            "The encoder's result is not a number, in full precision too, so the picture could not be begun with. "
            "The checkpoint's vae is probably damaged: copy the checkpoint again."
        )
    if is_tiled:
        tell(Sentence("The picture was encoded in tiles, because memory was short."))
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return (latents.float() - shift) * float(vae.config.scaling_factor)


def _encoded(vae: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The posterior's mean; of a VQModel, what is not quantised yet."""
    output = vae.encode(pixels)
    latents: torch.Tensor = output.latents if hasattr(output, "latents") else output.latent_dist.mode()
    return latents


def latent_channels(vae: Any) -> int:
    """Of an AutoencoderKL, or of a VQModel, whose codes may be narrower than its own latents."""
    return int(getattr(vae.config, "vq_embed_dim", None) or vae.config.latent_channels)


@contextmanager
def _full_precision(vae: Any) -> Iterator[None]:
    """fp16 -> fp32 -> fp16 keeps every bit of the weights."""
    dtype = vae.dtype
    vae.float()
    try:
        yield
    finally:
        vae.to(dtype)


@torch.inference_mode()
def decode_pixels(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """(channels, height, width) scaled latents -> (3, height * factor, width * factor) in about [-1, 1], fp32."""
    unscaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
    pixels = vae.decode(unscaled.unsqueeze(0).to(vae.dtype), return_dict=False)[0][0]
    assert isinstance(pixels, torch.Tensor)
    return pixels.float()


def to_image(pixels: torch.Tensor) -> Image.Image:
    """(3, height, width) in [-1, 1] to 8 bit RGB, rounded as diffusers does."""
    levels = (pixels / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())
