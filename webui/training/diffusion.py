"""Second stage: a denoiser in the latent space of a frozen first stage (Rombach et al. 2022, arXiv:2112.10752).

Owns where its networks come from and what is trained: new ones, or those of a checkpoint, under any conditioning. The
folder it ends in is `checkpoint_folder`'s, conditions are `steering`'s, the loop is `loop`'s.
"""

import dataclasses
import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from webui.engine.embedders import ClassEmbedder, NothingEmbedder
from webui.engine.vae import to_image
from webui.errors import MissingTrainingData, TrainingError
from webui.library import read_json
from webui.sentences import Sentence
from webui.train_requests import TrainDiffusion
from webui.training.adapter import precise, told
from webui.training.batches import Batches, prepare_batches
from webui.training.captions import cut_off, prepare_captions
from webui.training.checkpoint_folder import Finished, knowledge_of, read_embedder, write_checkpoint
from webui.training.conditioning import (
    Condition,
    Denoiser,
    LayoutEmbedder,
    covered,
    random_masks,
    take_noise_level,
    with_noise,
)
from webui.training.course import Course, preparing, stage_of
from webui.training.data import Example, read_dataset
from webui.training.loop import Trainer
from webui.training.networks import (
    FirstStage,
    TextEncoders,
    build_unet,
    load_first_stage,
    load_texts,
    load_unet,
    widen_input,
)
from webui.training.objective import CONFIG_KEYS, Objective, denoising_loss, noise_config
from webui.training.results import claim
from webui.training.sampling import STEPS, Model, Wish, sample
from webui.training.session import Update, Workspace
from webui.training.steering import (
    ByClass,
    ByLayout,
    ByText,
    Inpainting,
    Steering,
    Unsteered,
    Upscaling,
    enlarged,
    is_annotated,
    names_in,
)

log = logging.getLogger(__name__)

WORDLESS = ("none", "class", "layout")
"""Kinds of conditioning without a text encoder."""
MAX_BOXES = 32
SAMPLES = 4
"""Sample pictures at a time; half as many where the given picture is shown beside each."""


def train_diffusion_job(request: TrainDiffusion, workspace: Workspace) -> Iterator[Update]:
    """Train, or go on training. Raises `UserError` when checkpoint, first stage and dataset do not go together."""
    result = workspace.models / request.result
    token = claim(result, workspace.run)
    config = noise_config(request.noise_schedule, request.objective)
    yield preparing(0, request.steps)
    dataset = read_dataset(workspace.dataset)
    examples = [example for example in dataset.examples if is_annotated(example, request.conditioning)]
    for warning in (*dataset.problems, *warnings(request, workspace, len(dataset.examples) - len(examples))):
        yield Update(step=0, total=request.steps, phase="preparing", warning=warning)
    if not examples:
        raise missing(request.conditioning)
    apprentice = build_apprentice(request, workspace, names_in(examples, request.conditioning))
    trainer = Trainer(stage_of(request, workspace), apprentice.denoiser)
    with trainer.accelerator.main_process_first():
        studio = yield from prepare_studio(request, workspace, apprentice, examples, trainer.step)

    def write() -> Path:
        return write_checkpoint(
            Finished(
                denoiser=apprentice.denoiser,
                first_stage=apprentice.first_stage,
                texts=apprentice.texts,
                scheduler=config,
                steering=studio.steering,
                kind=request.conditioning,
                title=request.name,
                defaults=knowledge_of(workspace.checkpoint).get("defaults", {}) if workspace.checkpoint else {},
                made_by={"kind": request.kind, **dataclasses.asdict(request)},
                token=token,
            ),
            result,
        )

    yield from Course(
        request=request, trainer=trainer, loss_of=studio.loss, sample=studio.sample, write=write
    ).updates()


def missing(kind: str) -> MissingTrainingData:
    if kind == "class":
        return MissingTrainingData("No picture has a class. Put the pictures of each class into a folder of its own.")
    return MissingTrainingData("No picture has labelled boxes. Name them in metadata.jsonl.")


def warnings(request: TrainDiffusion, workspace: Workspace, left_out: int) -> Iterator[Sentence]:
    """What the person should know before hours are spent."""
    if left_out and request.conditioning == "class":
        yield Sentence("{count} of the pictures have no class and are left out.", count=left_out)
    elif left_out:
        yield Sentence("{count} of the pictures have no labelled boxes and are left out.", count=left_out)
    if workspace.checkpoint is not None:
        known = read_json(workspace.checkpoint / "scheduler" / "scheduler_config.json")
        wanted = noise_config(request.noise_schedule, request.objective)
        if any(known.get(key) != wanted[key] for key in CONFIG_KEYS if key in wanted and key in known):
            yield Sentence(
                "The checkpoint was trained with another objective or noise schedule. It has to learn the new one "
                "first, which takes some thousand steps."
            )


# The networks.


@dataclass(frozen=True, kw_only=True)
class Apprentice:
    """What learns, and the frozen parts around it."""

    denoiser: Denoiser
    first_stage: FirstStage
    texts: TextEncoders | None
    """None: no words are known."""
    names: tuple[str, ...]
    """Classes, or labels of boxes."""


def build_apprentice(request: TrainDiffusion, workspace: Workspace, names: tuple[str, ...]) -> Apprentice:
    """New networks, or the checkpoint's with what the conditioning needs beside."""
    start = workspace.checkpoint
    latents_from = workspace.first_stage or start
    if latents_from is None:
        raise TrainingError("There is no first stage to make latents with. Choose one, or a checkpoint to start from.")
    first_stage = load_first_stage(latents_from, workspace.device)
    texts = find_texts(request, workspace)
    extra = {"super-resolution": 3, "inpainting": 1 + first_stage.channels}.get(request.conditioning, 0)
    check_possible(request, first_stage, texts, start)
    with torch.random.fork_rng():
        torch.manual_seed(request.seed)
        if start is None:
            unet = build_unet(
                base_channels=request.base_channels,
                latent_size=request.size // first_stage.factor,
                channels=first_stage.channels + extra,
                out_channels=first_stage.channels,
                features=texts.features if texts else 4 * request.base_channels,
            )
        else:
            unet = load_unet(start, "cpu", "fp32").requires_grad_(True)
            check_fit(unet, first_stage, texts)
            widen_input(unet, first_stage.channels + extra)
        embedder = None if texts else build_embedder(request.conditioning, names, int(unet.config.cross_attention_dim))
    if request.conditioning == "super-resolution":
        take_noise_level(unet)
    if embedder is not None and start is not None:
        read_embedder(embedder, names, start)
    unet.register_to_config(sample_size=request.size // first_stage.factor)
    return Apprentice(denoiser=Denoiser(unet, embedder), first_stage=first_stage, texts=texts, names=names)


def find_texts(request: TrainDiffusion, workspace: Workspace) -> TextEncoders | None:
    """The text encoder that was named, else that of the checkpoint or the first stage; None where there is none."""
    if request.conditioning in WORDLESS:
        return None
    sources = [path for path in (workspace.text_encoder, workspace.checkpoint, workspace.first_stage) if path]
    source = next((path for path in sources if (path / "text_encoder").is_dir()), None)
    return load_texts(source, workspace.device, request.precision) if source else None


def check_possible(
    request: TrainDiffusion, first_stage: FirstStage, texts: TextEncoders | None, start: Path | None
) -> None:
    """Raise `TrainingError` for what cannot be learnt with these parts."""
    if request.conditioning == "text" and texts is None:
        raise TrainingError("Conditioning on text needs a text encoder. Choose a checkpoint that has one.")
    if request.conditioning == "super-resolution" and first_stage.factor == 1:
        raise TrainingError("A first stage that works on pixels enlarges nothing. Choose one with downsampling.")
    if texts is not None and texts.is_xl and start is None:
        raise TrainingError("The text encoders of Stable Diffusion XL belong to its own denoiser. Choose another one.")
    if start is not None and (start / "text_encoder_2").is_dir() and request.conditioning not in ("text", "inpainting"):
        raise TrainingError("Stable Diffusion XL is trained on text and inpainting only. Choose another checkpoint.")


def check_fit(unet: Any, first_stage: FirstStage, texts: TextEncoders | None) -> None:
    """Raise `TrainingError` unless the checkpoint's denoiser works with the other parts."""
    if unet.config.out_channels != first_stage.channels:
        raise TrainingError(
            "The checkpoint draws latents of {drawn} channels, the first stage has {known}. Take another first stage.",
            drawn=unet.config.out_channels,
            known=first_stage.channels,
        )
    if texts is not None and texts.features != unet.config.cross_attention_dim:
        raise TrainingError(
            "The checkpoint takes words of {taken} features, the text encoder gives {given}. "
            "Choose another text encoder.",
            taken=unet.config.cross_attention_dim,
            given=texts.features,
        )


def build_embedder(kind: str, names: tuple[str, ...], features: int) -> nn.Module:
    embedder: nn.Module = {
        "class": lambda: ClassEmbedder(classes=len(names), features=features),
        "layout": lambda: LayoutEmbedder(labels=len(names), features=features),
    }.get(kind, lambda: NothingEmbedder(features=features))()
    return embedder


# Its lessons.


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Examples and conditions, ready to be learnt from."""

    request: TrainDiffusion
    apprentice: Apprentice
    batches: Batches
    steering: Steering
    objective: Objective
    prompt: Condition | None
    """The request's own prompt for sample pictures."""

    @property
    def device(self) -> torch.device:
        device: torch.device = self.apprentice.first_stage.vae.device
        return device

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        """Of a batch, some of it without its condition (Ho & Salimans 2022, arXiv:2207.12598, algorithm 1)."""
        batch = self.batches.draw(self.request.batch_size, generator)
        condition = self.steering.condition(batch, generator)
        null = self.steering.null(len(batch.members), batch.size)
        if null is not None:
            is_dropped = torch.rand(len(batch.members), generator=generator) < self.request.caption_dropout
            condition = condition.unless(is_dropped, null)
        condition = condition.to(self.device)

        def predict(noisy: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            return self.apprentice.denoiser(noisy, timestep, condition)  # type: ignore[no-any-return]

        return denoising_loss(self.objective, batch.latents.to(self.device), predict, generator)

    def sample(self, steps: int = STEPS) -> list[Image.Image]:
        """Pictures under the conditions of the first examples; given pictures are shown beside what is made of them."""
        given, condition = self._given()
        example = self.batches.shown(1)
        count = len(condition.context)
        null = self.steering.null(count, example.size)
        everything = torch.ones(count, dtype=torch.bool)
        model = Model(
            predict=precise(self.apprentice.denoiser, self.device, self.request.precision),
            first_stage=self.apprentice.first_stage,
            objective=self.objective,
        )
        wish = Wish(
            condition=condition,
            null=None if null is None or not self.request.caption_dropout else condition.unless(everything, null),
            size=example.size,
            seeds=[self.request.seed + number for number in range(count)],
            steps=steps,
        )
        made = sample(model, wish)
        return [picture for pair in zip(given, made, strict=True) for picture in pair] if given else made

    def _given(self) -> tuple[list[Image.Image], Condition]:
        """Pictures to be shown beside the samples, if any, and the conditions of the samples."""
        generator = torch.Generator().manual_seed(self.request.seed)
        if not isinstance(self.steering, Upscaling | Inpainting):
            if self.prompt is not None:
                return [], self.prompt
            batch = self.batches.shown(SAMPLES)
            return [], self.steering.condition(batch, generator)
        batch = self.batches.shown(SAMPLES // 2)
        words = self.steering.words.condition(batch, generator)
        if isinstance(self.steering, Upscaling):
            small, level = self.steering.small(batch), torch.zeros(len(batch.members), dtype=torch.long)
            shown = enlarged(small, batch.size)
            condition = dataclasses.replace(words, channels=with_noise(small, level, generator), level=level)
        else:
            masks = random_masks(len(batch.members), batch.size, generator)
            shown = covered(self.batches.pictures(batch), masks)
            condition = self.steering.masked(batch, masks, words)
        return [to_image(picture) for picture in shown], condition


def prepare_studio(
    request: TrainDiffusion, workspace: Workspace, apprentice: Apprentice, examples: list[Example], done: int
) -> Generator[Update, None, Studio]:
    """Encode what has to be encoded once."""
    now, cache = preparing(done, request.steps), workspace.run / "cache"
    widths = apprentice.denoiser.unet.config.block_out_channels
    multiple = apprentice.first_stage.factor * 2 ** (len(widths) - 1)
    batches = yield from told(
        prepare_batches(examples, request.size, multiple, apprentice.first_stage, cache, request.precision), now
    )
    words: Steering = Unsteered()
    prompt = None
    if apprentice.texts is not None:
        texts = [example.caption for example in batches.examples]
        if warning := cut_off(texts, apprentice.texts):
            yield dataclasses.replace(now, warning=warning)
        captions = yield from told(
            prepare_captions(texts, [request.sample_prompt], apprentice.texts, batches, cache, request.precision), now
        )
        words = ByText(captions)
        if request.sample_prompt:
            prompt = captions.of([request.sample_prompt] * SAMPLES, batches.shown(1).size)
    return Studio(
        request=request,
        apprentice=apprentice,
        batches=batches,
        steering=steering_of(request.conditioning, words, batches, apprentice),
        objective=Objective(noise_config(request.noise_schedule, request.objective), request.snr_gamma),
        prompt=prompt,
    )


def steering_of(kind: str, words: Steering, batches: Batches, apprentice: Apprentice) -> Steering:
    if kind == "class":
        return ByClass(apprentice.names, batches.examples)
    if kind == "layout":
        most = max(len(example.boxes) for example in batches.examples)
        return ByLayout(apprentice.names, min(most, MAX_BOXES), batches)
    if kind == "super-resolution":
        return Upscaling(words, batches)
    return Inpainting(words, batches, apprentice.first_stage) if kind == "inpainting" else words
