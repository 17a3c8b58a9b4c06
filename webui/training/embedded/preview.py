"""The small decoder of live previews, taught what the first stage's own decoder makes of the same latents.

Latents of half-finished pictures are blurred ones, so half of those that it learns are.
"""

import logging
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from webui.engine.preview_decoder import PreviewDecoder
from webui.training.embedded.scenes import Composer
from webui.training.loop import Stage, Trainer
from webui.training.recipe import PreviewRecipe

log = logging.getLogger(__name__)


def train_preview(
    recipe: PreviewRecipe, composer: Composer, vae: AutoencoderKL, folder: Path, seed: int, device: str = "cpu"
) -> PreviewDecoder:
    """Train, or go on training, the preview decoder of `vae`. Returns the averaged weights."""
    torch.manual_seed(seed)
    model = PreviewDecoder(vae.config.latent_channels)
    stage = Stage(folder, recipe.minutes, recipe.learning_rate, seed, steps=recipe.steps, device=device)
    trainer = Trainer(stage, model)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rng = random.Random(f"{seed}/{trainer.batch}")
        pictures = composer.paint([composer.draw(rng) for _ in range(recipe.batch_size)])
        with torch.no_grad():
            latents = unfinished(vae.encode(pictures).latent_dist.mean, generator)
            wanted = F.interpolate(vae.decode(latents).sample, scale_factor=model.scale / factor_of(vae), mode="area")
        drawn = model(latents)
        return F.l1_loss(drawn, wanted) + F.mse_loss(drawn, wanted)

    for progress in trainer.run(loss_of):
        if progress.step % 200 == 0:
            log.info("preview step %d, %.0f s: loss %.4f", progress.step, progress.seconds, progress.loss)
    best = trainer.ema.model
    assert isinstance(best, PreviewDecoder)
    return best.eval()


def unfinished(latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each of (n, c, h, w) as it is or blurred, each with a chance of one half."""
    soft = F.avg_pool2d(F.pad(latents, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    share = torch.rand(len(latents), 1, 1, 1, generator=generator).to(latents.device)
    return torch.lerp(latents, soft, (share * 2 - 1).clamp(min=0))


def factor_of(vae: AutoencoderKL) -> int:
    """Pixels per latent along a side."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))
