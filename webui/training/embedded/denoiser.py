"""The denoiser of the embedded model: text to latents, on scenes that are composed while it learns.

v-prediction (Salimans & Ho 2022) on Stable Diffusion's schedule with min-SNR weights (Hang et al. 2023) and caption
dropout for classifier-free guidance (Ho & Salimans 2022). Networks come from diffusers, the loop is
`webui.training.loop`'s.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from webui.training.embedded.scenes import Composer
from webui.training.embedded.start import begin_as
from webui.training.embedded.words import caption, korean_caption
from webui.training.loop import Stage, Trainer
from webui.training.objective import Objective, noise_config
from webui.training.recipe import DiffusionRecipe

log = logging.getLogger(__name__)


def build_unet(
    recipe: DiffusionRecipe, sample_size: int, cross_attention_dim: int, channels: int
) -> UNet2DConditionModel:
    attending = len(recipe.block_out_channels) - 1
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=recipe.block_out_channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * attending),
        up_block_types=(*["CrossAttnUpBlock2D"] * attending, "UpBlock2D"),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=recipe.attention_heads,
        norm_num_groups=recipe.norm_groups,
    )


@dataclass(frozen=True)
class Encoders:
    """The frozen parts: first stage, text encoder, tokenizer, all on one device."""

    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, 77, hidden): padded exactly as the pipeline pads, since the denoiser sees the padding too."""
        device = self.text_encoder.device
        batches = []
        for begin in range(0, len(texts), 64):
            tokens = self.tokenizer(
                list(texts[begin : begin + 64]),
                padding="max_length",
                max_length=77,
                truncation=True,
                return_tensors="pt",
            )
            batches.append(self.text_encoder(input_ids=tokens.input_ids.to(device))[0])
        return torch.cat(batches)

    @torch.no_grad()
    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) in [-1, 1] to latents (n, channels, h/f, w/f)."""
        return torch.cat([self.vae.encode(batch).latent_dist.mean for batch in torch.split(pictures, 32)])


class Pool:
    """A moving window over an endless row of composed pictures, encoded once and shown a few times.

    The row comes in chunks; chunk number k is a function of the seed and k alone, so that a resumed run sees what an
    uninterrupted one would.
    """

    def __init__(self, composer: Composer, encoders: Encoders, recipe: DiffusionRecipe, seed: int) -> None:
        self._composer, self._encoders, self._recipe, self._seed = composer, encoders, recipe, seed
        self._window = max(1, recipe.pool // recipe.chunk)
        """Chunks that are held at a time; chunk k lies in slot k modulo the window."""
        self._held = range(0)
        self._latents = torch.empty(0)
        self._states = torch.empty(0)

    def batch(self, number: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (b, c, h, w) and text states (b, 77, d), fp32, for training batch `number`."""
        recipe = self._recipe
        self._move(number * recipe.batch_size // (recipe.chunk * recipe.reuse))
        rows = torch.randint(self._window * recipe.chunk, (recipe.batch_size,), generator=generator)
        rows = rows.to(self._latents.device)
        return self._latents[rows].float(), self._states[rows].float()

    def _move(self, first: int) -> None:
        """Make the window begin at chunk `first`."""
        wanted = range(first, first + self._window)
        for number in wanted:
            if number not in self._held:
                self._put(number % self._window, *self._make(number))
        self._held = wanted

    def _put(self, slot: int, latents: torch.Tensor, states: torch.Tensor) -> None:
        if not len(self._latents):
            rows = self._window * self._recipe.chunk
            self._latents = latents.new_empty(rows, *latents.shape[1:], dtype=torch.float16)
            self._states = states.new_empty(rows, *states.shape[1:], dtype=torch.float16)
        begin = slot * self._recipe.chunk
        self._latents[begin : begin + len(latents)] = latents
        self._states[begin : begin + len(states)] = states

    def _make(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = random.Random(f"{self._seed}/{number}")
        compositions = [self._composer.draw(rng) for _ in range(self._recipe.chunk)]
        texts = [
            korean_caption(each.scene, rng)
            if rng.random() < self._recipe.korean_share and all(thing.concept.korean for thing in each.scene.things)
            else caption(each.scene, rng)
            for each in compositions
        ]
        return self._encoders.pictures(self._composer.paint(compositions)), self._encoders.texts(texts)


def train_denoiser(
    recipe: DiffusionRecipe,
    composer: Composer,
    encoders: Encoders,
    folder: Path,
    seed: int,
    device: str = "cpu",
    begin: Path | None = None,
) -> UNet2DConditionModel:
    """Train, or go on training, the denoiser; anew, or from the weights in `begin`. Returns the averaged weights."""
    torch.manual_seed(seed)
    pool = Pool(composer, encoders, recipe, seed)
    empty = encoders.texts([""])[0]
    objective = Objective(noise_config("scaled_linear", "v_prediction"), recipe.snr_gamma)
    channels = encoders.vae.config.latent_channels
    factor = 2 ** (len(encoders.vae.config.block_out_channels) - 1)
    model = build_unet(recipe, composer.size // factor, empty.shape[-1], channels)
    begin_as(model, begin)
    stage = Stage(
        folder,
        minutes=recipe.minutes,
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        seed=seed,
        ema_decay=recipe.ema_decay,
        precision=recipe.precision if device != "cpu" else "fp32",
        device=device,
    )
    trainer = Trainer(stage, model)
    log.info("training the denoiser on %d pictures", len(composer.trained))

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        clean, conditioning = pool.batch(trainer.batch, generator)
        count = len(clean)
        dropped = torch.rand(count, generator=generator) < recipe.caption_dropout
        conditioning[dropped.to(conditioning.device)] = empty
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        timestep = objective.draw_timesteps(count, generator).to(clean.device)
        noisy = objective.add_noise(clean, noise, timestep)
        return objective.loss(model(noisy, timestep, conditioning).sample, clean, noise, timestep)

    for progress in trainer.run(loss_of):
        if progress.step % 200 == 0:
            log.info("denoiser step %d, %.0f s (%.0f %%): loss %.4f",
                     progress.step, progress.seconds, progress.share * 100, progress.loss)  # fmt: skip
    best = trainer.ema.model
    assert isinstance(best, UNet2DConditionModel)
    return best
