"""What steers a denoiser: the networks that turn classes and layouts into tokens, and what is laid beside the latents.

Rombach et al. 2022 (arXiv:2112.10752), section 3.3: everything that is not a picture reaches the UNet as tokens through
cross-attention, pictures are concatenated to the latents. Knows no objective, no loop and no files.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, DDPMScheduler, ModelMixin
from diffusers.configuration_utils import register_to_config
from PIL import Image, ImageDraw
from torch import nn

from webui.training.objective import TIMESTEPS, noise_config

MAX_NOISE_LEVEL = 350
"""Timesteps of noise a low-resolution picture gets at most, as in Stable Diffusion's upscaler."""
BOX_FREQUENCIES = 8
WHOLE_SHARE = 0.25
"""Share of inpainting masks that cover everything, so that the model can also draw from nothing."""


@dataclass(frozen=True)
class Condition:
    """What a batch is drawn from, n pictures of it."""

    context: torch.Tensor
    """What the embedder takes: hidden states (n, tokens, features), class numbers (n,), boxes (n, boxes, 5)."""
    pooled: torch.Tensor | None = None
    """SDXL's pooled text, (n, features)."""
    time_ids: torch.Tensor | None = None
    """SDXL's sizes, (n, 6): original height and width, crop top and left, height and width. Podell et al. 2023
    (arXiv:2307.01952), section 2.2."""
    channels: torch.Tensor | None = None
    """Laid beside the latents, (n, channels, h, w)."""
    level: torch.Tensor | None = None
    """Noise level of the low-resolution picture, (n,)."""

    def to(self, device: torch.device) -> "Condition":
        return Condition(**{name: value.to(device) for name, value in self._values().items()})

    def unless(self, is_dropped: torch.Tensor, null: "Condition") -> "Condition":
        """This one, with the tokens of `null` where `is_dropped` (n,): what guidance needs to have been taught."""

        def pick(mine: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return torch.where(is_dropped.to(mine.device).view(-1, *[1] * (mine.dim() - 1)), other.to(mine), mine)

        pooled = self.pooled if self.pooled is None or null.pooled is None else pick(self.pooled, null.pooled)
        return dataclasses.replace(self, context=pick(self.context, null.context), pooled=pooled)

    def followed_by(self, other: "Condition") -> "Condition":
        """Both batches as one."""
        theirs = other._values()
        return Condition(**{name: torch.cat([value, theirs[name]]) for name, value in self._values().items()})

    def _values(self) -> dict[str, torch.Tensor]:
        """What is there, by name."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in named.items() if value is not None}


class Denoiser(nn.Module):
    """A UNet with what turns its conditions into tokens; the two are trained and averaged as one."""

    def __init__(self, unet: Any, embedder: nn.Module | None = None) -> None:
        super().__init__()
        self.unet = unet
        self.embedder = embedder

    def forward(
        self, latents: torch.Tensor, timestep: torch.Tensor, condition: Condition, **residuals: Any
    ) -> torch.Tensor:
        """Noisy latents (n, channels, h, w) at timesteps (n,) or () -> the prediction, fp32."""
        tokens = condition.context if self.embedder is None else self.embedder(condition.context)
        dtype = self.unet.dtype
        if condition.channels is not None:
            latents = torch.cat([latents, condition.channels.to(latents)], dim=1)
        output: torch.Tensor = self.unet(
            latents.to(dtype),
            timestep,
            encoder_hidden_states=tokens.to(dtype),
            class_labels=condition.level,
            added_cond_kwargs=added_conditions(condition, dtype),
            return_dict=False,
            **residuals,
        )[0]
        return output.float()


def added_conditions(condition: Condition, dtype: torch.dtype) -> dict[str, torch.Tensor] | None:
    """SDXL's pooled text and sizes as diffusers' networks take them."""
    if condition.pooled is None or condition.time_ids is None:
        return None
    return {"text_embeds": condition.pooled.to(dtype), "time_ids": condition.time_ids.to(dtype)}


class LayoutEmbedder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A token per box: its label's embedding and the Fourier features of its corners through two layers.

    Boxes as grounding tokens: Li et al. 2023 (arXiv:2301.07093), eq. 5. A place without a box has a learned token.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, *, labels: int, features: int) -> None:
        super().__init__()
        self.label = nn.Embedding(labels + 1, features)
        nn.init.normal_(self.label.weight, std=features**-0.5)
        self.absent = nn.Parameter(torch.randn(features) * features**-0.5)
        self.mix = nn.Sequential(
            nn.Linear(features + 4 * 2 * BOX_FREQUENCIES, features * 2), nn.SiLU(), nn.Linear(features * 2, features)
        )

    @property
    def null(self) -> int:
        return int(self.config.labels)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """(n, boxes, 5): label number (`labels`: no box), left, top, right, bottom in 0..1 -> (n, boxes, features)."""
        label, corners = context[..., 0].long(), context[..., 1:].float()
        frequencies = math.pi * 2.0 ** torch.arange(BOX_FREQUENCIES, device=corners.device)
        angles = (corners.unsqueeze(-1) * frequencies).flatten(-2)
        tokens = self.mix(torch.cat([self.label(label), angles.sin(), angles.cos()], dim=-1))
        return torch.where((label == self.null).unsqueeze(-1), self.absent.to(tokens), tokens)


@dataclass(frozen=True)
class LabelledBox:
    """A box with the number of its label, corners in 0..1 of the picture as it is trained."""

    label: int
    left: float
    top: float
    right: float
    bottom: float


def layout_rows(layouts: Sequence[Sequence[LabelledBox]], places: int, null: int) -> torch.Tensor:
    """(n, places, 5) for `LayoutEmbedder`: the largest boxes first, the rest without a box."""
    rows = torch.zeros(len(layouts), places, 5)
    rows[..., 0] = null
    for row, boxes in zip(rows, layouts, strict=True):
        largest = sorted(boxes, key=lambda box: (box.left - box.right) * (box.bottom - box.top))
        for place, box in enumerate(largest[:places]):
            row[place] = torch.tensor([box.label, box.left, box.top, box.right, box.bottom])
    return rows


# Inpainting.


def random_masks(count: int, size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """(count, 1, height, width), 1 = repaint: everything, boxes, brush strokes, or both. `size` is (width, height)."""
    seeds = torch.randint(2**31, (count,), generator=generator).tolist()
    return torch.stack([_random_mask(size, np.random.default_rng(seed)) for seed in seeds])


def _random_mask(size: tuple[int, int], random: np.random.Generator) -> torch.Tensor:
    width, height = size
    if random.random() < WHOLE_SHARE:
        return torch.ones(1, height, width)
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    has_boxes, has_strokes = ((True, False), (False, True), (True, True))[random.integers(3)]
    for _ in range(random.integers(1, 4) if has_boxes else 0):
        left, top = int(random.integers(width)), int(random.integers(height))
        across, down = (int(random.integers(side // 8, side // 2 + 2)) for side in size)
        draw.rectangle((left, top, left + across, top + down), fill=255)
    for _ in range(random.integers(1, 4) if has_strokes else 0):
        _stroke(draw, size, random)
    return torch.from_numpy(np.array(mask)).float().unsqueeze(0) / 255


def _stroke(draw: ImageDraw.ImageDraw, size: tuple[int, int], random: np.random.Generator) -> None:
    """A bent line as a hand would draw it, thick as a brush."""
    side = min(size)
    x, y = random.uniform(0, size[0]), random.uniform(0, size[1])
    direction, thickness = random.uniform(0, 2 * math.pi), random.uniform(side / 16, side / 5)
    for _ in range(random.integers(3, 10)):
        length = random.uniform(side / 16, side / 4)
        direction += random.normal(0, 0.8)
        end = x + length * math.cos(direction), y + length * math.sin(direction)
        draw.line((x, y, *end), fill=255, width=max(1, round(thickness)))
        radius = thickness / 2
        draw.ellipse((end[0] - radius, end[1] - radius, end[0] + radius, end[1] + radius), fill=255)
        x, y = end


def inpainting_channels(masks: torch.Tensor, masked_latents: torch.Tensor) -> torch.Tensor:
    """Mask and masked picture as Stable Diffusion's inpainting model takes them beside the latents.

    `masks` (n, 1, height, width) in pixels, 1 = repaint; `masked_latents` (n, channels, h, w) of the pictures with
    those places grey. Returns (n, 1 + channels, h, w).
    """
    small = F.interpolate(masks, size=masked_latents.shape[-2:]).to(masked_latents)
    return torch.cat([small, masked_latents], dim=1)


def covered(pictures: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, height, width) in [-1, 1] with grey, which is 0, where the mask is 1."""
    return pictures * (masks < 0.5)


# Super-resolution.


def low_resolution(pictures: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The pictures at the size (width, height) of their latents, each value the mean of its patch."""
    return F.interpolate(pictures, size=(size[1], size[0]), mode="area")


def low_resolution_scheduler() -> DDPMScheduler:
    """The noise that is put on low-resolution pictures, as in Stable Diffusion's upscaler."""
    return DDPMScheduler(**noise_config("linear", "epsilon"))


def with_noise(pictures: torch.Tensor, level: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Low-resolution pictures with noise of `level` (n,), 0 to MAX_NOISE_LEVEL: noise conditioning augmentation,
    Ho et al. 2021 (arXiv:2106.15282), section 3.1."""
    noise = torch.randn(pictures.shape, generator=generator).to(pictures)
    noisy: torch.Tensor = low_resolution_scheduler().add_noise(pictures, noise, level)
    return noisy


@torch.no_grad()
def take_noise_level(unet: Any) -> None:
    """Let the UNet know the noise level, as `class_labels`. The new weights are zero: at first nothing changes."""
    if unet.class_embedding is not None:
        return
    width = unet.time_embedding.linear_2.out_features
    unet.class_embedding = nn.Embedding(TIMESTEPS, width, dtype=unet.dtype).to(unet.device)
    unet.class_embedding.weight.zero_()
    unet.register_to_config(num_class_embeds=TIMESTEPS)
