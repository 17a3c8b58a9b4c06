"""Finished latents to a picture, healing what can be healed: NaN in fp32, lack of memory in tiles."""

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from webui.engine import memory
from webui.errors import CheckpointError
from webui.sentences import Sentence


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
    dtype = vae.dtype
    if dtype != torch.float32:
        vae.float()
        try:
            pixels, warning = _decode_in_memory(vae, latents)
        finally:
            vae.to(dtype)
        if torch.isfinite(pixels).all():
            told = Sentence("The picture was decoded in full precision, because half gave no numbers.")
            return Decoded(to_image(pixels), told)
    raise CheckpointError(
        "The decoder's result is not a number, in full precision too, so no picture was made. "
        "The checkpoint's vae is probably damaged: copy the checkpoint again."
    )


def _decode_in_memory(vae: Any, latents: torch.Tensor) -> tuple[torch.Tensor, Sentence | None]:
    try:
        return decode_pixels(vae, latents), None
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
    memory.release()
    vae.enable_tiling()
    try:
        return decode_pixels(vae, latents), Sentence("The picture was decoded in tiles, because memory was short.")
    finally:
        vae.disable_tiling()


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
