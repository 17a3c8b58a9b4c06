"""The time-boxed, resumable training loop that every stage shares.

Owns pacing, learning-rate schedule, gradient clipping, EMA, the log and the checkpoint; knows nothing
about what is being trained. A run stopped at any instant goes on from its last checkpoint, because the
checkpoint is written beside the old one and renamed over it.
"""

import copy
import csv
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from webui.errors import TrainingDiverged

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 120.0


@dataclass(frozen=True)
class Stage:
    """Settings of one stage: where it lives, how long it runs, how fast it learns."""

    folder: Path
    minutes: float
    learning_rate: float
    seed: int = 0
    warmup_steps: int = 60
    constant_share: float = 0.6
    """Share of the run at full learning rate; afterwards it falls linearly to 2 %."""
    ema_decay: float = 0.998


@dataclass
class Progress:
    """State of a running stage, yielded after every optimiser step."""

    step: int
    seconds: float
    """Training time so far, over all sessions."""
    share: float
    """`seconds` over the stage's whole time, 0 to 1."""
    loss: float
    """Exponential moving average of the loss."""


class Ema:
    """Exponential moving average of weights with a ramp, so that early steps do not linger.

    decay at step k is min(decay, (1 + k) / (10 + k)), as in Song & Ermon's and TensorFlow's practice.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        keep = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - keep)
            else:
                mine.copy_(theirs)


def learning_rate(stage: Stage, step: int, share: float) -> float:
    """Linear warm-up, constant, then linear decay to 2 % of the peak."""
    warm = min(1.0, (step + 1) / stage.warmup_steps)
    remaining = max(0.0, (1 - share) / (1 - stage.constant_share))
    return stage.learning_rate * warm * min(1.0, 0.02 + 0.98 * remaining)


def save_atomically(state: object, path: Path) -> None:
    """Write with torch.save beside `path`, flush to disk, rename over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Trainer:
    """One stage: a model, its EMA, its optimiser, and the checkpoint they live in."""

    def __init__(self, stage: Stage, model: nn.Module) -> None:
        self.stage = stage
        self.model = model
        self.ema = Ema(model, stage.ema_decay)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), stage.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.generator = torch.Generator().manual_seed(stage.seed)
        self.step, self.seconds, self.loss = 0, 0.0, math.nan
        self.path = stage.folder / "state.pt"
        if self.path.exists():
            self._restore()

    @property
    def finished(self) -> bool:
        return self.seconds >= self.stage.minutes * 60

    def run(self, loss_of: Callable[[torch.Generator], torch.Tensor]) -> Iterator[Progress]:
        """Train until the stage's time is used up; `loss_of` draws its own batch from the generator.

        Raises `TrainingDiverged` when the loss is not a number; the last checkpoint stays as it was.
        """
        saved_at = time.monotonic()
        self.model.train()
        while not self.finished:
            began = time.monotonic()
            self._advance(loss_of)
            self.seconds += time.monotonic() - began
            yield Progress(self.step, self.seconds, self._share(), self.loss)
            if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                self.save()
                saved_at = time.monotonic()
        self.save()

    def _advance(self, loss_of: Callable[[torch.Generator], torch.Tensor]) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.stage, self.step, self._share())
        loss = loss_of(self.generator)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(self.stage.folder.name, self.step)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no annotation for it
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.ema.update(self.model, self.step)
        self.loss = value if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * value
        if self.step % 50 == 0:
            self._write_log()

    def _share(self) -> float:
        return min(1.0, self.seconds / (self.stage.minutes * 60))

    def save(self) -> None:
        save_atomically(
            {
                "model": self.model.state_dict(),
                "ema": self.ema.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "progress": {"step": self.step, "seconds": self.seconds, "loss": self.loss},
            },
            self.path,
        )

    def _restore(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.step, self.seconds, self.loss = (state["progress"][key] for key in ("step", "seconds", "loss"))
        log.info("resumed %s at step %d (%.0f s)", self.stage.folder.name, self.step, self.seconds)

    def _write_log(self) -> None:
        path = self.stage.folder / "loss.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "seconds", "loss"])
            writer.writerow([self.step, round(self.seconds, 1), round(self.loss, 5)])


def write_json(value: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")
