"""What all adapters need: a frozen checkpoint, the dataset in its latents and words, its objective, a sample picture.

LoRAs, embeddings and ControlNets differ in what is trained; that is theirs.
"""

import dataclasses
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image

from webui.errors import MissingTrainingData, TrainingError
from webui.sentences import Sentence
from webui.train_requests import TrainRequest
from webui.training.batches import Batches, prepare_batches
from webui.training.captions import Captions, cut_off, null_is_zero, prepare_captions
from webui.training.conditioning import Condition, Denoiser
from webui.training.course import preparing
from webui.training.data import Example, read_dataset
from webui.training.networks import DTYPES, Networks
from webui.training.objective import Objective, denoising_loss
from webui.training.sampling import Model, Predict, Wish, sample
from webui.training.session import Update, Workspace

T = TypeVar("T")


def required_checkpoint(workspace: Workspace) -> Path:
    if workspace.checkpoint is None:
        raise TrainingError("There is no checkpoint to train on. Choose one.")
    return workspace.checkpoint


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is to be learnt, from where, on which networks."""

    request: TrainRequest
    workspace: Workspace
    networks: Networks
    done: int
    """Steps of earlier sessions."""
    caption_of: Callable[[Example], str]
    texts_learn: bool = False
    """Whether words are encoded anew in every step."""
    is_wanted: Callable[[Example], bool] | None = None
    """Which examples can be used; None: all."""

    @property
    def cache(self) -> Path:
        return self.workspace.run / "cache"


@dataclass(frozen=True, kw_only=True)
class Material:
    """A lesson with everything made ready."""

    lesson: Lesson
    batches: Batches
    captions: Captions
    objective: Objective

    @property
    def device(self) -> torch.device:
        device: torch.device = self.lesson.networks.first_stage.vae.device
        return device

    @property
    def denoiser(self) -> Denoiser:
        return Denoiser(self.lesson.networks.unet)

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        """Of a batch of the dataset under its captions."""
        batch = self.batches.draw(self.lesson.request.batch_size, generator)
        condition = self.captions.condition(batch).to(self.device)

        def predict(noisy: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            return self.denoiser(noisy, timestep, condition)  # type: ignore[no-any-return]  # nn.Module is untyped

        return denoising_loss(self.objective, batch.latents.to(self.device), predict, generator)

    def sample(self, prompt: str | None = None, predict: Predict | None = None) -> list[Image.Image]:
        """One picture of `prompt`, of the request's own prompt, or of the first example's caption."""
        example = self.batches.shown(1)
        prompt = prompt or self.lesson.request.sample_prompt or self.captions.texts[example.members[0]]
        model = Model(
            predict=precise(predict or self.denoiser, self.device, self.lesson.request.precision),
            first_stage=self.lesson.networks.first_stage,
            objective=self.objective,
        )
        with torch.no_grad():
            condition, null = self.captions.of([prompt], example.size), self.captions.null(1, example.size)
        wish = Wish(condition=condition, null=null, size=example.size, seeds=[self.lesson.request.seed])
        return sample(model, wish)


def precise(predict: Predict, device: torch.device, precision: str) -> Predict:
    """The same in the precision of the run, which outside the training loop nobody else sees to."""

    def cast(latents: torch.Tensor, timestep: torch.Tensor, condition: Condition) -> torch.Tensor:
        with autocast(device, precision):
            return predict(latents, timestep, condition)

    return cast


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def prepare_examples(lesson: Lesson) -> Generator[Update, None, Batches]:
    """Read the dataset and encode its pictures, telling what is wrong with it. Raises `MissingTrainingData`."""
    request = lesson.request
    now = preparing(lesson.done, request.steps)
    yield now
    dataset = read_dataset(lesson.workspace.dataset)
    for problem in dataset.problems:
        yield dataclasses.replace(now, warning=problem)
    examples = [example for example in dataset.examples if lesson.is_wanted is None or lesson.is_wanted(example)]
    if not examples:
        raise MissingTrainingData("No picture has a control picture beside it. Put NAME.control.png beside NAME.png.")
    if len(examples) < len(dataset.examples):
        left_out = Sentence(
            "{count} of the pictures have no control picture beside them and are left out.",
            count=len(dataset.examples) - len(examples),
        )
        yield dataclasses.replace(now, warning=left_out)
    encoding = prepare_batches(
        examples, request.size, lesson.networks.multiple, lesson.networks.first_stage, lesson.cache,
        request.precision,
    )  # fmt: skip
    return (yield from told(encoding, now))


def prepare_material(lesson: Lesson, others: Sequence[str] = ()) -> Generator[Update, None, Material]:
    """Everything a lesson needs; what is ready already is not made again. `others` are texts beside the captions."""
    request, networks = lesson.request, lesson.networks
    now = preparing(lesson.done, request.steps)
    batches = yield from prepare_examples(lesson)
    texts = [lesson.caption_of(example) for example in batches.examples]
    if warning := cut_off(texts, networks.texts):
        yield dataclasses.replace(now, warning=warning)
    objective = Objective(networks.scheduler)
    if lesson.texts_learn:
        captions = Captions(
            encoders=networks.texts,
            encodings=None,
            batches=batches,
            texts=texts,
            null_is_zero=null_is_zero(networks.path),
        )
    else:
        known = [*others, request.sample_prompt]
        encoding = prepare_captions(texts, known, networks.texts, batches, lesson.cache, request.precision)
        captions = yield from told(encoding, now)
    return Material(lesson=lesson, batches=batches, captions=captions, objective=objective)


def told(steps: Generator[None, None, T], update: Update) -> Generator[Update, None, T]:
    """`update` for every step of a preparation; its result in the end."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield update
