"""Second stage: a denoiser in the latent space of a frozen first stage, conditioned on text.

v-prediction (Salimans & Ho 2022) on the scaled-linear schedule of Stable Diffusion, with min-SNR weighting
(Hang et al. 2023) and caption dropout for classifier-free guidance (Ho & Salimans 2022).
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from webui.training.autoencoder import jitter, over, to_rgba
from webui.training.emoji import Emoji, captions
from webui.training.loop import Stage, Trainer
from webui.training.recipe import DiffusionRecipe

log = logging.getLogger(__name__)

NOISE_SCHEDULE = {
    "beta_start": 0.00085,  # Stable Diffusion's schedule, so that every sampler's sigma range fits
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
}


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


@torch.no_grad()
def encode_texts(texts: Sequence[str], encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> torch.Tensor:
    """(n, 77, hidden): padded exactly as the pipeline pads, since the denoiser sees the padding too."""
    batches = []
    for begin in range(0, len(texts), 64):
        tokens = tokenizer(
            list(texts[begin : begin + 64]), padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        )
        batches.append(encoder(input_ids=tokens.input_ids)[0])
    return torch.cat(batches)


@torch.no_grad()
def encode_pictures(pictures: Sequence[Emoji], vae: AutoencoderKL, count: int, seed: int) -> torch.Tensor:
    """(count, n, channels, h, w): the plain pictures on white, then mirrored, shifted and scaled ones."""
    generator = torch.Generator().manual_seed(seed)
    rgba, white = to_rgba(pictures), torch.ones(1)
    versions = [rgba, *(jitter(rgba, generator, scale=0.08, shift=0.08) for _ in range(count - 1))]
    return torch.stack(
        [
            torch.cat([vae.encode(batch).latent_dist.mean for batch in torch.split(over(version, white), 32)])
            for version in versions
        ]
    )


def train_unet(
    recipe: DiffusionRecipe,
    pictures: Sequence[Emoji],
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    folder: Path,
    seed: int,
) -> UNet2DConditionModel:
    """Train, or go on training, the denoiser. Returns the EMA weights."""
    torch.manual_seed(seed)
    latents = encode_pictures(pictures, vae, recipe.augmentations, seed)
    words = [captions(picture) for picture in pictures]
    encoded = [encode_texts(each, text_encoder, tokenizer) for each in words]
    empty = encode_texts([""], text_encoder, tokenizer)[0]
    scheduler = DDPMScheduler(**NOISE_SCHEDULE)
    snr = scheduler.alphas_cumprod / (1 - scheduler.alphas_cumprod)
    weight = snr.clamp(max=recipe.snr_gamma) / (snr + 1)
    model = build_unet(recipe, latents.shape[-1], empty.shape[-1], latents.shape[2])
    trainer = Trainer(Stage(folder, recipe.minutes, recipe.learning_rate, seed, ema_decay=recipe.ema_decay), model)
    log.info("training the denoiser on %d pictures, %d captions", len(pictures), sum(map(len, words)))

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        draw = torch.rand(recipe.batch_size, 2, generator=generator)
        which = torch.randint(len(pictures), (recipe.batch_size,), generator=generator)
        version = torch.randint(len(latents), (recipe.batch_size,), generator=generator)
        clean = latents[version, which]
        conditioning = torch.stack(
            [
                empty if drop < recipe.caption_dropout else encoded[index][int(pick * len(encoded[index]))]
                for index, (drop, pick) in zip(which.tolist(), draw.tolist(), strict=True)
            ]
        )
        noise = torch.randn(clean.shape, generator=generator)
        timestep = torch.randint(1000, (recipe.batch_size,), generator=generator)
        target = scheduler.get_velocity(clean, noise, timestep)
        predicted = model(scheduler.add_noise(clean, noise, timestep), timestep, conditioning).sample
        loss: torch.Tensor = ((predicted - target).pow(2).mean((1, 2, 3)) * weight[timestep]).mean()
        return loss

    for progress in trainer.run(loss_of):
        if progress.step % 200 == 0:
            log.info("denoiser step %d, %.0f s (%.0f %%): loss %.4f",
                     progress.step, progress.seconds, progress.share * 100, progress.loss)  # fmt: skip
    best = trainer.ema.model
    assert isinstance(best, UNet2DConditionModel)
    return best
