"""One training run as its caller sees it: a workspace goes in, updates come out. Knows nothing of what is learnt.

Imports no torch by itself: a trainer is imported when its first update is asked for.
"""

import importlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from webui.sentences import Sentence
from webui.train_requests import TrainRequest

Phase: TypeAlias = Literal["preparing", "training", "sampling", "saving"]


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where a run finds what it needs and keeps what it makes. Every name is resolved to a path already."""

    dataset: Path
    """Folder of pictures and captions."""
    run: Path
    """Exact state, loss.csv; survives restarts and belongs to this run alone."""
    models: Path
    """The models folder: results go to loras/, embeddings/, controlnets/, checkpoints/ or vae/ below it."""
    device: str
    """"cpu", "cuda" or "cuda:N"."""
    checkpoint: Path | None = None
    """Folder of the checkpoint that the request names; None when it names none."""
    first_stage: Path | None = None
    """Folder whose VAE is used: a checkpoint (holds vae/), or a first stage of models/vae (holds config.json)."""
    text_encoder: Path | None = None
    """Folder of the checkpoint whose text_encoder/ and tokenizer/ are used, when it is another one."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """What a trainer says: after each step, and whenever something can be seen."""

    step: int
    """Steps done, 0 to `total`."""
    total: int
    phase: Phase = "training"
    loss: float | None = None
    """Loss of this step; None between steps."""
    sample: bytes | None = None
    """A picture made with what is learnt so far, JPEG."""
    warning: Sentence | None = None
    """Something the person should know; said once."""
    result: Path | None = None
    """File or folder of the result; only in the last update."""


Trainer: TypeAlias = Callable[[TrainRequest, Workspace], Iterator[Update]]

TRAINERS: Mapping[str, tuple[str, str]] = {
    "train-autoencoder": ("webui.training.autoencoder_job", "train_autoencoder_job"),
    "train-diffusion": ("webui.training.diffusion", "train_diffusion_job"),
    "train-lora": ("webui.training.lora", "train_lora"),
    "train-embedding": ("webui.training.embedding", "train_embedding"),
    "train-controlnet": ("webui.training.controlnet", "train_controlnet"),
}
"""Kind of training -> module and name of its trainer."""


def train(request: TrainRequest, workspace: Workspace) -> Generator[Update]:
    """Run a training, or go on where `workspace.run` stands; the last update holds the result.

    Closing the iterator saves the exact state. Raises `UserError` when the training cannot start or go on.
    """
    module, function = TRAINERS[request.kind]
    trainer: Trainer = getattr(importlib.import_module(module), function)
    yield from trainer(request, workspace)
