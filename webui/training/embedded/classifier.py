"""A small classifier of things, to score pictures with: which of the concepts is this?

It learns from art styles that the denoiser never sees (Noto, Twemoji, OpenMoji, EmojiOne, and line drawings made of
them), so what it recognises in a generated picture cannot be a copied pixel. It is for measuring alone and never ships.
"""

import logging
import math
import random
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from webui.training.embedded.scenes import Composer
from webui.training.embedded.words import Concept
from webui.training.loop import Stage, Trainer
from webui.training.recipe import ClassifierRecipe

log = logging.getLogger(__name__)

SIDE = 64
"""Pictures are looked at in this size, pixels."""


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, pre-activation)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.relu(self.norm1(x))
        result: torch.Tensor = self.conv2(F.relu(self.norm2(self.conv1(active)))) + self.shortcut(active)
        return result


class Classifier(nn.Module):
    """(n, 3, h, w) in [-1, 1] to logits over `concepts`; any size, reduced to 64×64 first."""

    def __init__(self, concepts: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        pairs = zip((widths[0], *widths[:-1]), widths, strict=True)
        self.blocks = nn.Sequential(*(Block(a, b, 2) for a, b in pairs), Block(widths[-1], widths[-1], 1))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], concepts)

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, widths[-1]): the mean of the last layer, before the classes."""
        small = F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        pooled: torch.Tensor = F.relu(self.norm(self.blocks(self.stem(small)))).mean((2, 3))
        return pooled

    def logits(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, concepts)."""
        found: torch.Tensor = self.head(self.features(pictures))
        return found

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.logits(pictures)


def train_classifier(
    recipe: ClassifierRecipe,
    composer: Composer,
    concepts: Sequence[Concept],
    folder: Path,
    seed: int,
    device: str = "cpu",
) -> Classifier:
    """Train, or go on training, on scenes of one thing each. Returns the averaged weights."""
    torch.manual_seed(seed)
    number = {concept.hexcode: index for index, concept in enumerate(concepts)}
    model = Classifier(len(concepts), recipe.widths)
    stage = Stage(folder, recipe.minutes, recipe.learning_rate, seed, steps=recipe.steps, device=device)
    trainer = Trainer(stage, model)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        rng = random.Random(f"{seed}/{trainer.batch}")
        scenes = [composer.draw(rng) for _ in range(recipe.batch_size)]
        labels = torch.tensor([number[each.scene.things[0].concept.hexcode] for each in scenes], device=composer.device)
        pictures = spoilt(bent(composer.paint(scenes), generator), generator)
        return F.cross_entropy(model(pictures), labels, label_smoothing=0.1)

    for progress in trainer.run(loss_of):
        if progress.step % 200 == 0:
            log.info("classifier step %d, %.0f s: loss %.3f", progress.step, progress.seconds, progress.loss)
    best = trainer.ema.model
    assert isinstance(best, Classifier)
    return best.eval()


def bent(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turned by up to 20 degrees, sheared and squeezed by up to a sixth, as one artist differs from the next."""
    n = len(pictures)
    draw = torch.rand(n, 4, generator=generator).to(pictures.device) * 2 - 1
    angle = draw[:, 0] * math.radians(20)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    squeeze = torch.stack([1 + draw[:, 1] / 6, draw[:, 3] / 6, torch.zeros_like(angle), 1 + draw[:, 2] / 6], 1)
    matrix = torch.cat([turn @ squeeze.view(n, 2, 2), torch.zeros(n, 2, 1, device=pictures.device)], 2)
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def spoilt(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Other hues and contrasts, blur, noise, coarse pixels: what a denoiser's pictures suffer from."""
    n = len(pictures)
    draw = torch.rand(n, 6, generator=generator).to(pictures.device).view(n, 6, 1, 1, 1).unbind(1)
    mixing = (
        torch.randn(n, 3, 3, generator=generator).to(pictures.device) * 0.15 * (draw[0].flatten()[:, None, None] < 0.6)
    )
    mixed = torch.einsum("nij,njhw->nihw", torch.eye(3, device=pictures.device) + mixing, pictures)
    mixed = mixed * (0.7 + 0.6 * draw[1]) + 0.3 * (draw[2] - 0.5)
    coarse = F.interpolate(F.avg_pool2d(mixed, 4), mixed.shape[-2:], mode="bilinear", align_corners=False)
    mixed = torch.where(draw[3] < 0.5, torch.lerp(mixed, coarse, draw[4]), mixed)
    noise = torch.randn(pictures.shape, generator=generator).to(pictures.device)
    return (mixed + 0.15 * draw[5] * noise).clamp(-1, 1)
