"""Guidance of instruct-pix2pix checkpoints: by the words and, apart from them, by the picture that they see.

Everything else is as in `prediction`.
"""

import torch

from webui.engine.areas import Predicted, View
from webui.engine.image_channels import is_instructed
from webui.engine.models import Components
from webui.engine.prediction import CallHooks, GuidedDenoiser, Read, unread
from webui.engine.text import PlannedPrompts
from webui.requests import ImageToImage, PictureRequest


def needs_blind(request: PictureRequest, components: Components) -> bool:
    """The network is asked without the picture too, under the negative prompt: at exactly 1 image guidance is off."""
    return is_instructed(components) and isinstance(request, ImageToImage) and request.image_guidance_scale != 1


class InstructedDenoiser(GuidedDenoiser):
    """Brooks et al. 2023 (arXiv:2211.09800), eq. 3; `image_guidance_scale` is its s_I."""

    def __init__(
        self,
        components: Components,
        prompts: PlannedPrompts,
        pictures: int,
        guidance_scale: float,
        channels: torch.Tensor,
        image_guidance_scale: float,
        hooks: CallHooks | None = None,
        read: Read = unread,
    ) -> None:
        self._image_guidance_scale = image_guidance_scale
        super().__init__(components, prompts, pictures, guidance_scale, channels, hooks, read)

    def _predicted(self, view: View, timestep: torch.Tensor) -> Predicted:
        """Both moved by what the picture adds, so that guidance by words gives the equation."""
        seen, guided = super()._predicted(view, timestep)
        uncond = view.conditioning.uncond
        if seen is None or uncond is None or self._image_guidance_scale == 1:
            return seen, guided
        blind = self._unet(view, timestep, uncond, is_blind=True)
        more = (self._image_guidance_scale - 1) * (seen - blind)
        return seen + more, guided + more
