"""A checkpoint's UNet as `denoise(x, sigma) -> pred_original`: the one place that knows prediction types.

Adds guidance and turns what the network predicts into the picture estimate. Karras et al. 2022
(arXiv:2206.00364), eq. 7, with the scalings of variance-preserving models (Table 1, column VP).
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch

from webui.engine.areas import Predicted, View, joined
from webui.engine.guidance import classifier_free_guidance
from webui.engine.models import Components
from webui.engine.text import Conditioning, Encoded, PlannedPrompts
from webui.extension import Guidance, UnetInputs

POSITIVE_SCORE, NEGATIVE_SCORE = 6.0, 2.5
"""Aesthetic scores that SDXL's refiner is told beside prompt and negative prompt."""


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


def time_ids(size: tuple[int, ...], score: float | None = None) -> tuple[float, ...]:
    """What SDXL is told of a picture: original size, crop and target size, heights first (Podell et al. 2023,
    arXiv:2307.01952, section 2.2); its refiner, the original size, crop and an aesthetic score. All from `size`
    (height, width), never cropped."""
    return (*size, 0, 0, *(size if score is None else (score,)))


def _score(is_negative: bool) -> float:
    return NEGATIVE_SCORE if is_negative else POSITIVE_SCORE


def _further(inputs: UnetInputs) -> dict[str, Any]:
    """Arguments of the UNet that only extensions give: an argument that is there at all changes what a UNet does."""
    names = (
        "down_block_additional_residuals", "mid_block_additional_residual", "down_intrablock_additional_residuals",
        "cross_attention_kwargs",
    )  # fmt: skip
    given = {name: getattr(inputs, name) for name in names}
    if given["down_intrablock_additional_residuals"] is not None:  # a UNet takes them out of a list, one by one
        given["down_intrablock_additional_residuals"] = list(given["down_intrablock_additional_residuals"])
    return {name: value for name, value in given.items() if value is not None and value != {}}


Read = Callable[[str, str | None], PlannedPrompts]
"""A prompt and a negative prompt (None: that of the request) as the pass reads its own. Raises `UserError`."""


def unread(prompt: str, negative_prompt: str | None) -> PlannedPrompts:
    raise NotImplementedError("nothing can be read here but the denoiser's own prompts")


class CallHooks(Protocol):
    """What extensions change about a call of the network."""

    def conditioning(self, conditioning: Conditioning, read: Read, /) -> Conditioning: ...

    def unet_inputs(self, inputs: UnetInputs, /) -> UnetInputs: ...

    def guidance(self, guidance: Guidance, /) -> torch.Tensor: ...


class GuidedDenoiser:
    """The UNet under a prompt. `close` undoes what `to_full_precision` did to the shared weights."""

    def __init__(
        self,
        components: Components,
        prompts: PlannedPrompts,
        pictures: int,
        guidance_scale: float,
        channels: torch.Tensor | None = None,
        hooks: CallHooks | None = None,
        read: Read = unread,
    ) -> None:
        """`channels` (1, n, height, width): what the checkpoint sees beside the latents, `image_channels.py`. `read` is
        for the hooks."""
        self._components = components
        self._channels = channels
        self._hooks = hooks
        self._prompts, self._pictures = prompts, pictures
        self._read: Read = cache(read)
        self._guidance_scale = guidance_scale
        self._dtype = components.dtype
        self.begin_step(1)

    def begin_step(self, step: int) -> None:
        """All calls until the next one are of `step`, counted from 1: prompts may change from step to step."""
        conditioning = self._prompts.at(step, self._pictures)
        if self._hooks is not None:
            conditioning = self._hooks.conditioning(conditioning, self._read)
        self._conditioning = conditioning.to(self._dtype)

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """(pictures, channels, height, width) fp32 in and out; `sigma` > 0."""
        noise_uncond, noise_cond = self._predictions(x, sigma)
        return self._picture(noise_uncond, noise_cond, self._guidance_scale, x, sigma)

    def apart(self, x: torch.Tensor, sigma: float, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The estimate under `share` times the guidance scale and the unconditional one; without guidance the same."""
        noise_uncond, noise_cond = self._predictions(x, sigma)
        guided = self._picture(noise_uncond, noise_cond, share * self._guidance_scale, x, sigma)
        return guided, guided if noise_uncond is None else self._picture(None, noise_uncond, 1.0, x, sigma)

    def _picture(
        self,
        noise_uncond: torch.Tensor | None,
        noise_cond: torch.Tensor,
        guidance_scale: float,
        x: torch.Tensor,
        sigma: float,
    ) -> torch.Tensor:
        prediction = noise_cond
        if noise_uncond is not None:
            prediction = classifier_free_guidance(noise_uncond, noise_cond, guidance_scale)
            if self._hooks is not None:
                prediction = self._hooks.guidance(
                    Guidance(
                        guided=prediction, noise_cond=noise_cond, noise_uncond=noise_uncond,
                        guidance_scale=guidance_scale, x=x, sigma=sigma,
                    )
                )  # fmt: skip
        return to_pred_original(self._components.prediction_type, prediction, x, sigma)

    def _predictions(self, x: torch.Tensor, sigma: float) -> Predicted:
        """(unconditional, conditional) output of the network; without guidance there is no unconditional one."""
        table = self._components.table
        timestep = torch.tensor(table.timestep(sigma), dtype=torch.float32, device=x.device)
        latents = (x / math.sqrt(1 + sigma**2)).to(self._dtype)
        self._sigma = sigma
        whole = View.whole(latents, self._channels, self._conditioning)
        predicted = self._predicted(whole, timestep)
        areas = self._conditioning.areas
        return joined(predicted, [(area, self._predicted(whole.of(area), timestep)) for area in areas])

    def _predicted(self, view: View, timestep: torch.Tensor) -> Predicted:
        """What the network makes of a view.

        Prompts joined by AND are one conditional output, the sum of their differences from the unconditional one (Liu
        et al. 2022, arXiv:2206.01714, eq. 11).
        """
        conds, weights, uncond = view.conditioning.conds, view.conditioning.weights, view.conditioning.uncond
        if uncond is None:
            return None, self._unet(view, timestep, conds[0])
        noise_uncond, noise_cond = self._unet(view, timestep, uncond, conds[0]).chunk(2)
        if weights == (1.0,):
            return noise_uncond, noise_cond
        # One call for each further prompt: all at once would need their number of times the memory.
        others = (self._unet(view, timestep, cond) for cond in conds[1:])
        combined = noise_uncond
        for weight, noise in zip(weights, (noise_cond, *others), strict=True):
            combined = combined + weight * (noise - noise_uncond)
        return noise_uncond, combined

    def _unet(self, view: View, timestep: torch.Tensor, *texts: Encoded, is_blind: bool = False) -> torch.Tensor:
        """The predictions under one text after the other, in one call; `is_blind` without what is seen beside them."""
        latents, uncond = view.latents, view.conditioning.uncond
        inputs = UnetInputs(
            latents=torch.cat([latents] * len(texts)),
            timestep=timestep,
            encoder_hidden_states=torch.cat([text.hidden for text in texts]),
            unconditional_rows=len(latents) * sum(text is uncond for text in texts),
            sigma=self._sigma,
            size=view.size,
            box=view.box,
            added_cond_kwargs=self._added(view, texts),
        )
        if self._hooks is not None:
            inputs = self._hooks.unet_inputs(inputs)
        return self._call(inputs, view.channels, is_blind=is_blind)

    def _call(self, inputs: UnetInputs, channels: torch.Tensor | None, *, is_blind: bool) -> torch.Tensor:
        seen = inputs.latents
        if channels is not None:
            channels = torch.zeros_like(channels) if is_blind else channels
            seen = torch.cat([seen, channels.to(seen.dtype).expand(len(seen), -1, -1, -1)], dim=1)
        output = self._components.unet(
            seen,
            inputs.timestep,
            encoder_hidden_states=inputs.encoder_hidden_states,
            added_cond_kwargs=inputs.added_cond_kwargs,
            return_dict=False,
            **_further(inputs),
        )[0]
        assert isinstance(output, torch.Tensor)
        return output.float()  # before guidance, which multiplies the rounding of a half

    def _added(self, view: View, texts: tuple[Encoded, ...]) -> dict[str, torch.Tensor] | None:
        """SDXL's pooled text and sizes; None for what takes neither. An area is told the size of the whole picture:
        that of the area alone would mean a blurred one."""
        pooled = [text.pooled for text in texts if text.pooled is not None]
        if not pooled:
            return None
        width, height = (side * self._components.factor for side in view.size)
        scored = self._components.scores_pictures
        is_negative = [text is view.conditioning.uncond for text in texts]
        ids = [
            time_ids((height, width), score=_score(each) if scored else None)
            for each in is_negative
            for _ in view.latents
        ]
        told = torch.tensor(ids, dtype=torch.float32, device=view.latents.device)  # a half cannot hold 2049
        return {"text_embeds": torch.cat(pooled), "time_ids": told}

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
