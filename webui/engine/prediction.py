"""A checkpoint's UNet as `denoise(x, sigma) -> pred_original`: the one place that knows prediction types.

Adds guidance and turns what the network predicts into the picture estimate. Karras et al. 2022
(arXiv:2206.00364), eq. 7, with the scalings of variance-preserving models (Table 1, column VP).
"""

import math

import torch

from webui.engine.guidance import classifier_free_guidance
from webui.engine.models import Components
from webui.engine.text import Conditioning


def to_pred_original(prediction_type: str, prediction: torch.Tensor, x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The picture estimate that a network's output at (x, sigma) stands for.

    epsilon: Ho et al. 2020 (arXiv:2006.11239), eq. 15. v: Salimans & Ho 2022 (arXiv:2202.00512), appendix D.
    """
    if prediction_type == "epsilon":
        return x - sigma * prediction
    if prediction_type == "v_prediction":
        variance = 1 + sigma**2
        return x / variance - sigma / math.sqrt(variance) * prediction
    return prediction


class GuidedDenoiser:
    """The UNet under one conditioning. `close` undoes what `to_full_precision` did to the shared weights."""

    def __init__(self, components: Components, conditioning: Conditioning, guidance_scale: float) -> None:
        self._components = components
        self._conditioning = conditioning.to(components.dtype)
        self._guidance_scale = guidance_scale
        self._dtype = components.dtype

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """(pictures, channels, height, width) fp32 in and out; `sigma` > 0."""
        table = self._components.table
        timestep = torch.tensor(table.timestep(sigma), dtype=torch.float32, device=x.device)
        prediction = self._predict((x / math.sqrt(1 + sigma**2)).to(self._dtype), timestep)
        return to_pred_original(self._components.prediction_type, prediction, x, sigma)

    def _predict(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        cond, uncond = self._conditioning.cond, self._conditioning.uncond
        if uncond is None:
            return self._unet(latents, timestep, cond)
        both = self._unet(torch.cat([latents, latents]), timestep, torch.cat([uncond, cond]))
        noise_uncond, noise_cond = both.chunk(2)
        return classifier_free_guidance(noise_uncond, noise_cond, self._guidance_scale)

    def _unet(self, latents: torch.Tensor, timestep: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        output = self._components.unet(latents, timestep, encoder_hidden_states=hidden, return_dict=False)[0]
        assert isinstance(output, torch.Tensor)
        return output.float()  # before guidance, which multiplies the rounding of a half

    @property
    def is_full_precision(self) -> bool:
        return self._dtype == torch.float32

    def to_full_precision(self) -> None:
        """Go on in fp32."""
        self._components.unet.float()
        self._conditioning = self._conditioning.to(torch.float32)
        self._dtype = torch.float32

    def close(self) -> None:
        """Back to the precision the checkpoint was loaded in; fp16 -> fp32 -> fp16 keeps every bit."""
        if self._dtype != self._components.dtype:
            self._components.unet.to(self._components.dtype)
