"""What some checkpoints see beside the latents: a mask and the picture around it, or a whole picture.

Of an inpainting checkpoint five channels (the mask, then the latents of the masked picture), of instruct-pix2pix four
(the picture's latents, unscaled). Which pixels these are is decided in `beginning`.
"""

import torch
import torch.nn.functional as F

from webui.engine.latents import LatentShape
from webui.engine.models import Components
from webui.engine.vae import Tell, encode_pixels, untold


def is_inpainting(components: Components) -> bool:
    return components.image_channels == components.latent_channels + 1


def is_instructed(components: Components) -> bool:
    """An instruct-pix2pix checkpoint: Brooks et al. 2023 (arXiv:2211.09800)."""
    return components.image_channels == components.latent_channels


def blank_channels(components: Components, shape: LatentShape, tell: Tell = untold) -> torch.Tensor | None:
    """(1, channels, height, width) for a picture out of nothing, None where the checkpoint sees latents alone.

    Everything is masked and the picture is grey, as AUTOMATIC1111 does; an instructed one sees no picture.
    """
    _, height, width = shape
    if is_inpainting(components):
        grey = torch.zeros(3, height * components.factor, width * components.factor)
        return masked_channels(components, grey, torch.ones(grey.shape[1:]), tell)
    if is_instructed(components):
        return torch.zeros(1, *shape, device=components.device)
    return None


def masked_channels(
    components: Components, pixels: torch.Tensor, mask: torch.Tensor, tell: Tell = untold
) -> torch.Tensor:
    """(1, 1 + channels, height, width): the mask, and the latents of the picture with grey under it.

    `pixels` (3, height, width) in [-1, 1], `mask` (height, width) in [0, 1]. Both in pixels.
    """
    kept = 1 - mask
    latents = encode_pixels(components.vae, (pixels * kept)[None], tell).float()
    small = F.interpolate(1 - kept[None, None], latents.shape[-2:], mode="nearest").to(latents.device)
    return torch.cat([small, latents], dim=1)


def seen_channels(components: Components, pixels: torch.Tensor, tell: Tell = untold) -> torch.Tensor:
    """(1, channels, height, width): the picture's latents, not scaled, for an instructed checkpoint."""
    latents = encode_pixels(components.vae, pixels[None], tell).float()
    return latents / float(components.vae.config.scaling_factor)
