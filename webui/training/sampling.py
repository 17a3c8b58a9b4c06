"""Pictures from networks in training: the engine's own samplers on whatever a trainer holds.

Used for the pictures that show how a run is going and to try a finished one; the engine's jobs are not made here.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from webui.engine.denoise import Plan, denoise
from webui.engine.guidance import classifier_free_guidance, needs_uncond
from webui.engine.latents import finished_latents
from webui.engine.prediction import to_pred_original
from webui.engine.samplers import find_sampler
from webui.engine.seeds import PictureNoise, Seeds
from webui.engine.sigmas import NoiseTable, noise_table
from webui.engine.vae import decode
from webui.training.conditioning import Condition
from webui.training.networks import FirstStage
from webui.training.objective import Objective

Predict = Callable[[torch.Tensor, torch.Tensor, Condition], torch.Tensor]
"""Noisy latents (n, channels, h, w), timestep (), condition -> what the network predicts, fp32."""

STEPS = 20
GUIDANCE_SCALE = 4.0
"""Low on purpose: a network that has hardly learnt yet overshoots at more."""
JPEG_QUALITY = 90
LARGEST_SIDE = 1024


@dataclass(frozen=True, kw_only=True)
class Model:
    """A denoiser with what it takes to draw with it."""

    predict: Predict
    first_stage: FirstStage
    objective: Objective

    @property
    def table(self) -> NoiseTable:
        return noise_table(self.objective.config, self.objective.scheduler.alphas_cumprod)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is drawn: one picture per seed, each from its row of `condition`."""

    condition: Condition
    null: Condition | None
    """The condition that guidance leads away from; None draws without guidance."""
    size: tuple[int, int]
    """(width, height) in pixels, multiples of the first stage's factor."""
    seeds: Sequence[int]
    steps: int = STEPS
    guidance_scale: float = GUIDANCE_SCALE


def sample(model: Model, wish: Wish) -> list[Image.Image]:
    """Draw by DDIM (Song et al. 2021) over the model's own timesteps. Raises `CheckpointError` for no numbers."""
    latents = sample_latents(model, wish)
    return [decode(model.first_stage.vae, each).image for each in latents]


def sample_latents(model: Model, wish: Wish) -> torch.Tensor:
    """(pictures, channels, h, w): finished latents, as the first stage decodes them."""
    sampler, table = find_sampler("DDIM"), model.table
    sigmas = sampler.own_schedule(table, wish.steps)
    device = model.first_stage.vae.device
    shape = latent_shape(model.first_stage, wish.size)
    noise = PictureNoise([Seeds(seed) for seed in wish.seeds], shape, device)
    plan = Plan(sampler, sigmas, TrainedDenoiser(model, table, wish, device), noise)
    state = plan.first_state()
    for step in denoise(plan, state):
        state = step.state
    return finished_latents(state.x, sigmas[-1])


def latent_shape(first_stage: FirstStage, size: tuple[int, int]) -> tuple[int, int, int]:
    """(channels, height, width) of latents for a picture of `size` (width, height)."""
    return first_stage.channels, size[1] // first_stage.factor, size[0] // first_stage.factor


class TrainedDenoiser:
    """`denoise(x, sigma) -> pred_original` as the engine's loop calls it; Karras et al. 2022, eq. 7, for VP models."""

    is_full_precision = True

    def __init__(self, model: Model, table: NoiseTable, wish: Wish, device: torch.device) -> None:
        self._model = model
        self._table = table
        self._scale = wish.guidance_scale
        self._condition = wish.condition.to(device)
        self._null = None if wish.null is None or not needs_uncond(wish.guidance_scale) else wish.null.to(device)

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        timestep = torch.tensor(self._table.timestep(sigma), dtype=torch.float32, device=x.device)
        prediction = self._predict(x / math.sqrt(1 + sigma**2), timestep)
        return to_pred_original(self._model.objective.prediction_type, prediction, x, sigma)

    def _predict(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        if self._null is None:
            return self._model.predict(latents, timestep, self._condition)
        both = self._null.followed_by(self._condition)
        noise_uncond, noise_cond = self._model.predict(torch.cat([latents, latents]), timestep, both).chunk(2)
        return classifier_free_guidance(noise_uncond, noise_cond, self._scale)

    def to_full_precision(self) -> None:
        """Training keeps its precision: what is not a number here is not a number there."""


def to_jpeg(images: Sequence[Image.Image]) -> bytes:
    """Pictures of one size side by side in a square as near as can be, at most LARGEST_SIDE pixels long."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = images[0].size
    sheet = Image.new("RGB", (width * columns, height * rows), "white")
    for number, image in enumerate(images):
        sheet.paste(image, (number % columns * width, number // columns * height))
    sheet.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
