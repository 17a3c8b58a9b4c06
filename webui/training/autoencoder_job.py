"""A first stage trained from a request: likeness, perception and a discriminator on pictures of a dataset.

The loss is that of Esser et al. 2021 (arXiv:2012.09841), section 3.1, as Rombach et al. 2022 use it for latent
diffusion: reconstruction, perceptual distance, regularisation, and from a share of the run on an adversarial part.
"""

import copy
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from diffusers import VQModel
from PIL import Image

from webui.sentences import Sentence
from webui.train_requests import TrainAutoencoder
from webui.training.autoencoder import (
    Quality,
    build_first_stage,
    fit_codebook,
    measure,
    reconstruct,
    scale_latents,
)
from webui.training.course import Course, preparing, stage_of
from webui.training.data import Example, buckets, read_dataset, to_bytes
from webui.training.features import random_features
from webui.training.loop import Trainer
from webui.training.losses import (
    PatchDiscriminator,
    adaptive_weight,
    adversarial_loss,
    discriminator_loss,
    kl_term,
    reconstruction_loss,
)
from webui.training.losslog import CsvLog
from webui.training.picture_batches import PictureBatches, in_batches
from webui.training.results import TOKEN_KEY, claim, write_folder
from webui.training.session import Update, Workspace

log = logging.getLogger(__name__)

HELD_OUT_SHARE = 20
"""Every 20th picture is only for measuring."""
MEASURED_BETWEEN, MEASURED_AT_END = 16, 96
"""Held-out pictures that figures are made of: on the way, and of the result."""
SHOWN = 4
FITTED_WITH, SCALED_WITH = 8, 32
"""Batches of training pictures that the codebook begins with, and by which the latents are scaled."""
BETAS = (0.5, 0.9)
"""Of AdamW, as is usual for the adversarial game."""
LEAST_MULTIPLE = 8
"""Sizes are multiples of this at least, so that three halvings for the loss are even."""
WIDEST_DISCRIMINATOR = 64
SMALLEST_FOR_THREE = 24
"""Pixels that a discriminator of three layers needs; smaller pictures get one of two."""


def train_autoencoder_job(request: TrainAutoencoder, workspace: Workspace) -> Iterator[Update]:
    """Train a first stage, or go on training it; the result is a folder in models/vae.

    Raises `UserError` when the dataset, the disk or the name of the result cannot be used.
    """
    result = workspace.models / request.result
    token = claim(result, workspace.run)
    dataset = read_dataset(workspace.dataset)
    seen, held_out = split(dataset.examples)
    problems = list(dataset.problems)
    if held_out is seen:
        problems.append(Sentence("There is one picture only: the figures are about a picture that was learnt."))
    multiple = max(LEAST_MULTIPLE, request.downsampling)
    with PictureBatches(seen, request.size, multiple, request.batch_size, request.seed) as pictures:
        lesson = Lesson(request, workspace, pictures, held_out[:MEASURED_AT_END])
        now = preparing(lesson.trainer.step, request.steps)
        yield now
        for problem in problems:
            yield dataclasses.replace(now, warning=problem)

        def write() -> Path:
            return lesson.write(result, token)

        yield from Course(
            request=request, trainer=lesson.trainer, loss_of=lesson.loss, opponent_loss_of=lesson.opponent_loss,
            sample=lesson.sample, write=write,
        ).updates()  # fmt: skip


def split(examples: Sequence[Example]) -> tuple[Sequence[Example], Sequence[Example]]:
    """What is learnt and what is held out; a picture that is alone is both."""
    if len(examples) < 2:
        return examples, examples
    held_out = examples[::HELD_OUT_SHARE]
    return [example for number, example in enumerate(examples) if number % HELD_OUT_SHARE], held_out


class Lesson:
    """The networks of a run and what they play: the first stage, and the discriminator against it."""

    def __init__(
        self, request: TrainAutoencoder, workspace: Workspace, pictures: PictureBatches, held_out: Sequence[Example]
    ) -> None:
        self.request = request
        self.pictures = pictures
        self.model = build_first_stage(request)
        if isinstance(self.model, VQModel):
            fit_codebook(self.model, self._first_batches(FITTED_WITH), request.seed)
        self.discriminator = _discriminator(request, pictures.smallest) if request.adversarial_weight else None
        stage = dataclasses.replace(stage_of(request, workspace), betas=BETAS)
        self.trainer = Trainer(stage, self.model, opponent=self.discriminator)
        self.features = random_features().to(self.trainer.device)
        multiple = max(LEAST_MULTIPLE, request.downsampling)
        sizes = buckets([example.size for example in held_out], request.size, multiple)
        self.held_out = [to_bytes(batch) for batch in in_batches(held_out, sizes, SHOWN)]
        self.report = CsvLog(workspace.run / "quality.csv", ("psnr", "ssim", "perceptual"))
        self.report.forget_after(self.trainer.step)
        self._played: tuple[torch.Tensor, torch.Tensor] | None = None

    def _first_batches(self, count: int) -> Iterator[torch.Tensor]:
        return (self.pictures[number] for number in range(min(count, self.pictures.epoch)))

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        """Of the batch whose turn it is."""
        picture = self.pictures[self.trainer.batch].to(self.trainer.device)
        decoded, regularisation = self._decode(picture, generator)
        likeness = reconstruction_loss(picture, decoded)
        if self.request.perceptual_weight:
            likeness = likeness + self.request.perceptual_weight * self.features.distance(picture, decoded).mean()
        self._played = None
        if self.discriminator is None or self.trainer.share < self.request.adversarial_start:
            return likeness + regularisation
        self._played = picture, decoded.detach()
        adversarial = adversarial_loss(self.discriminator(decoded).float())
        weight = adaptive_weight(likeness, adversarial, self.model.decoder.conv_out.weight)
        return likeness + regularisation + self.request.adversarial_weight * weight * adversarial

    def _decode(self, picture: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Reconstruction and weighted regularisation."""
        if isinstance(self.model, VQModel):
            # The commitment and codebook terms of van den Oord et al. 2017, eq. 3, with diffusers' weights.
            out = self.model.decode(self.model.encode(picture).latents)
            return out.sample.float(), out.commit_loss.mean()
        posterior = self.model.encode(picture).latent_dist
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        latents = mean + (0.5 * log_variance).exp() * noise
        decoded: torch.Tensor = self.model.decode(latents).sample
        return decoded.float(), self.request.kl_weight * kl_term(mean, log_variance)

    def opponent_loss(self) -> torch.Tensor | None:
        """The discriminator's, of the same batch; None before the game begins."""
        if self.discriminator is None or self._played is None:
            return None
        real, decoded = self._played
        return discriminator_loss(self.discriminator(real).float(), self.discriminator(decoded).float())

    def sample(self) -> list[Image.Image]:
        """Held-out pictures beside their reconstructions; their figures go to the log and to quality.csv."""
        quality = measure(self.model, self._held_out(MEASURED_BETWEEN), self.features)
        self.report.add(self.trainer.step, *(round(value, 5) for value in dataclasses.astuple(quality)))
        log.info("first stage step %d, held out: PSNR %.2f dB, SSIM %.3f, perceptual distance %.4f",
                 self.trainer.step, quality.psnr, quality.ssim, quality.perceptual)  # fmt: skip
        originals = next(self._held_out(SHOWN))
        pairs = torch.cat([originals, reconstruct(self.model, originals).cpu()], dim=3)
        return [Image.fromarray(pair.permute(1, 2, 0).numpy()) for pair in to_bytes(pairs)]

    def _held_out(self, count: int) -> Iterator[torch.Tensor]:
        """About so many pictures in [-1, 1]; in memory they are bytes."""
        return (batch.float() / 127.5 - 1 for batch in self.held_out[: max(1, count // SHOWN)])

    def write(self, result: Path, token: str) -> Path:
        """The first stage as a diffusers folder, its latents scaled, with its figures in easel.json."""
        model = copy.deepcopy(self.model)  # scaling changes weights that a later session would go on with
        quality = measure(model, self._held_out(MEASURED_AT_END), self.features)
        scaling = scale_latents(model, self._first_batches(SCALED_WITH))
        log.info("first stage %s: held-out PSNR %.2f dB, scaling factor %.4f", result.name, quality.psnr, scaling)
        return write_folder(model.save_pretrained, self._card(quality, token), result)

    def _card(self, quality: Quality, token: str) -> dict[str, object]:
        return {
            "title": self.request.name,
            "kind": self.request.kind,
            "regularisation": self.request.regularisation,
            "downsampling": self.request.downsampling,
            "steps": self.request.steps,
            "held_out": {name: round(value, 4) for name, value in dataclasses.asdict(quality).items()},
            TOKEN_KEY: token,
        }


def _discriminator(request: TrainAutoencoder, smallest: int) -> PatchDiscriminator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed + 1)
        channels = min(WIDEST_DISCRIMINATOR, request.base_channels)
        return PatchDiscriminator(channels, 3 if smallest >= SMALLEST_FOR_THREE else 2)
