"""The first stage of the embedded model: a small autoencoder with KL regularisation, learnt on crops of scenes.

Losses, networks and measures are those of `webui.training.autoencoder`; here is only what it looks at.
"""

import logging
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from webui.training.autoencoder import build_autoencoder, psnr
from webui.training.embedded.emoji import Emoji
from webui.training.embedded.scenes import Composer, Composition, Placement
from webui.training.embedded.start import begin_as
from webui.training.embedded.words import Scene, Thing, is_held_out_concept
from webui.training.loop import Stage, Trainer
from webui.training.losses import reconstruction_loss
from webui.training.recipe import AutoencoderRecipe, Mix

log = logging.getLogger(__name__)

MIX = Mix(plain=0.6, place=0.2, coloured=0.1, pair=0.1, several=0, faced=0)
MEASURED = 96
"""Held-out pictures that PSNR is measured on."""


def held_out_pictures(pictures: Sequence[Emoji]) -> torch.Tensor:
    """(n, 3, size, size) in [-1, 1]: pictures of concepts that the first stage never sees, on white."""
    unseen = [each for each in pictures if is_held_out_concept(each.concept)]
    chosen = random.Random(0).sample(unseen, min(MEASURED, len(unseen)))
    return plain_pictures(chosen)


def plain_pictures(pictures: Sequence[Emoji]) -> torch.Tensor:
    """(n, 3, size, size) in [-1, 1]: each picture alone, full size, on white."""
    composer = Composer(pictures, MIX, 0)
    alone = [
        Composition(Scene(each.style, (Thing(each.concept),)), (Placement(index, (0.5, 0.5), 1.0),))
        for index, each in enumerate(pictures)
    ]
    return torch.cat([composer.paint(alone[begin : begin + 64]) for begin in range(0, len(alone), 64)])


def train_first_stage(
    recipe: AutoencoderRecipe,
    pictures: Sequence[Emoji],
    folder: Path,
    seed: int,
    device: str = "cpu",
    begin: Path | None = None,
) -> tuple[AutoencoderKL, float]:
    """Train, or go on training; anew, or from the weights in `begin`.

    Returns the averaged weights and their held-out PSNR in dB.
    """
    torch.manual_seed(seed)
    seen = [each for each in pictures if not is_held_out_concept(each.concept)]
    composer = Composer(seen, MIX, seed, device)
    measured = held_out_pictures(pictures).to(device)
    model = build_autoencoder(recipe, composer.size)
    begin_as(model, begin)
    stage = Stage(
        folder, recipe.minutes, recipe.learning_rate, seed, steps=recipe.steps, ema_decay=0.999, device=device
    )
    trainer = Trainer(stage, model)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rng = random.Random(f"{seed}/{trainer.batch}")
        pictures = composer.paint([composer.draw(rng) for _ in range(recipe.batch_size)])
        room = composer.size - recipe.crop
        top, left = rng.randint(0, room), rng.randint(0, room)
        picture = pictures[:, :, top : top + recipe.crop, left : left + recipe.crop]
        posterior = model.encode(picture).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(picture.device)
        decoded = model.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss: torch.Tensor = reconstruction_loss(picture, decoded) + recipe.kl_weight * kl
        return loss

    for progress in trainer.run(loss_of):
        if progress.step % 500 == 0:
            log.info("first stage step %d, %.0f s: loss %.4f, held-out PSNR %.2f dB",
                     progress.step, progress.seconds, progress.loss, psnr(trainer.ema.model, measured))  # fmt: skip
    best = trainer.ema.model
    assert isinstance(best, AutoencoderKL)
    return best, psnr(best, measured)
