"""The resumable training loop that everything shares, limited by time or by steps, on one device or several.

Owns pacing, learning-rate schedule, accumulation and the checkpoint; knows nothing about what is being trained.
Whatever is random in a step is a function of the seed and the number of the batch, so a run that was stopped goes on
as if it had not been, bit for bit on the CPU.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from webui.errors import TrainingDiverged, TrainingError
from webui.training.ema import Ema
from webui.training.learner import Learner, start_accelerator
from webui.training.losslog import CsvLog
from webui.training.state import read_state, write_state

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 120.0
FINAL_RATE = 0.02
"""Share of the learning rate that is left at the end."""
SMALLEST_LOSS_SCALE = 2.0**-14
"""fp16 gradients that overflow even when they are scaled down so far will never fit."""

LossOf = Callable[[torch.Generator], torch.Tensor]
OpponentLossOf = Callable[[], torch.Tensor | None]


@dataclass(frozen=True)
class Stage:
    """Settings of one run: where it lives, how long it goes, how fast it learns. Either `minutes` or `steps`."""

    folder: Path
    minutes: float | None = None
    learning_rate: float = 1e-4
    seed: int = 0
    warmup_steps: int = 60
    """Steps of linear rise; at most a tenth of a run that is limited by steps."""
    constant_share: float = 0.6
    """Share of the run at full learning rate; afterwards it falls linearly to 2 %. 1: it never falls."""
    ema_decay: float = 0.998
    """0: no average is kept."""
    steps: int | None = None
    accumulation: int = 1
    """Batches per step, each a call of the loss."""
    precision: str = "fp32"
    """fp32, bf16 or fp16. The trained weights themselves are always fp32."""
    device: str = "cpu"
    """cpu, cuda or cuda:N. A process started by `accelerate launch` takes the card of its rank."""
    save_every: int = 0
    """Steps between two checkpoints. 0: every two minutes."""
    log_every: int = 50
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    gradient_norm: float = 1.0
    """Longer gradients are shortened to this."""

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("A stage is limited either by minutes or by steps.")


@dataclass
class Progress:
    """State of a running stage, yielded after every optimiser step."""

    step: int
    seconds: float
    """Training time so far, over all sessions."""
    share: float
    """Part of the whole run that is done, 0 to 1."""
    loss: float
    """Exponential moving average of the loss."""
    last_loss: float
    """The loss of this step alone, mean over its batches."""
    learning_rate: float
    """What this step was made with."""


def learning_rate(stage: Stage, step: int, share: float) -> float:
    """Linear warm-up, constant, then linear decay to 2 % of the peak. `share` of the run is done, 0 to 1."""
    warmup = stage.warmup_steps if stage.steps is None else min(stage.warmup_steps, stage.steps // 10)
    warm = min(1.0, (step + 1) / max(1, warmup))
    decaying = 1 - stage.constant_share
    remaining = max(0.0, (1 - share) / decaying) if decaying > 0 else 1.0
    return stage.learning_rate * warm * min(1.0, FINAL_RATE + (1 - FINAL_RATE) * remaining)


def random_seeds(seed: int, batch: int) -> tuple[int, int]:
    """Two numbers below 2**32 for batch `batch` of a run; neighbouring batches and seeds have nothing in common.

    More would be lost: torch's CPU generator looks at 32 bits of a seed.
    """
    digest = hashlib.blake2b(f"{seed}/{batch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")


class Trainer:
    """One run: a model, its average, its optimiser, and the checkpoint they live in.

    `parameters` are those of `model` that are trained, all by default. `opponent` is a second network with an
    optimiser of its own that learns after each batch of the first, as a discriminator does.
    """

    def __init__(
        self,
        stage: Stage,
        model: nn.Module,
        parameters: Iterable[nn.Parameter] | None = None,
        opponent: nn.Module | None = None,
    ) -> None:
        self.stage = stage
        self.accelerator = start_accelerator(stage.device, stage.precision)
        self.device = self.accelerator.device
        self.model = model.to(self.device)
        self.opponent = None if opponent is None else opponent.to(self.device)
        trained = list(model.parameters() if parameters is None else parameters)
        self._learner = self._learner_of(trained)
        self._opponent_learner = None if opponent is None else self._learner_of(opponent.parameters())
        self._tensors = changing_tensors(model, trained)
        self.ema = Ema(model, self._tensors, stage.ema_decay)
        self.generator = torch.Generator()
        self.step, self.seconds, self.loss, self.last_loss = 0, 0.0, math.nan, math.nan
        self.lost_newest = False
        """Whether the newest checkpoint could not be read, and the run goes on from the one before."""
        self._part = 0
        self.path = stage.folder / "state.pt"
        self._saved_step = -1
        self._log = CsvLog(stage.folder / "loss.csv", ("seconds", "loss", "learning_rate"))
        self._restore()

    def _learner_of(self, weights: Iterable[nn.Parameter]) -> Learner:
        stage = self.stage
        return Learner(
            weights, self.accelerator, betas=stage.betas, weight_decay=stage.weight_decay,
            gradient_norm=stage.gradient_norm,
        )  # fmt: skip

    @property
    def finished(self) -> bool:
        return self.share >= 1

    @property
    def share(self) -> float:
        """Part of the run that is done, 0 to 1."""
        if self.stage.steps is not None:
            return min(1.0, self.step / self.stage.steps)
        assert self.stage.minutes is not None
        return min(1.0, self.seconds / (self.stage.minutes * 60))

    @property
    def batch(self) -> int:
        """Number of the batch that the loss is asked for, over all steps, accumulated parts and processes."""
        part = self.step * self.stage.accumulation + self._part
        return part * int(self.accelerator.num_processes) + int(self.accelerator.process_index)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files; the only one does, and the first of several."""
        return bool(self.accelerator.is_main_process)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the block `model` is what the run would give: averaged weights (if any), evaluation mode."""
        return self.ema.applied()

    def run(self, loss_of: LossOf, opponent_loss_of: OpponentLossOf | None = None) -> Generator[Progress, None, None]:
        """Train until the limit is reached; closing the iterator saves the exact state.

        `loss_of` makes its batch from the generator it is given or from `batch`, and calls the networks as it likes.
        `opponent_loss_of` gives the opponent's loss for the same batch, or None while the opponent does not play.

        Raises `TrainingDiverged` when loss or gradients are not numbers and `CannotSaveRun` when the disk is full;
        the last checkpoint stays as it was.
        """
        saved_at = time.monotonic()
        self.model.train()
        try:
            while not self.finished:
                began = time.monotonic()
                rate = self._advance(loss_of, opponent_loss_of)
                self.seconds += self._agreed(time.monotonic() - began)
                if self.step % self.stage.log_every == 0 and self.is_main:
                    self._log.add(self.step, round(self.seconds, 1), round(self.loss, 5), f"{rate:.3g}")
                if self._is_due(saved_at):
                    self.save()
                    saved_at = time.monotonic()
                yield Progress(self.step, self.seconds, self.share, self.loss, self.last_loss, rate)
        except GeneratorExit:
            self.save()
            raise
        self.save()

    def _is_due(self, saved_at: float) -> bool:
        if self.stage.save_every:
            return self.step % self.stage.save_every == 0
        return time.monotonic() - saved_at > CHECKPOINT_SECONDS

    def _advance(self, loss_of: LossOf, opponent_loss_of: OpponentLossOf | None) -> float:
        """One optimiser step; returns its learning rate."""
        rate = learning_rate(self.stage, self.step, self.share)
        value = self._agreed(self._gather_gradients(loss_of, opponent_loss_of))
        learners = [learner for learner in (self._learner, self._opponent_learner) if learner is not None]
        if not math.isfinite(value) or not all(learner.change(rate) for learner in learners):
            raise TrainingDiverged(self.stage.folder.name, self.step)
        self._update_loss_scale()
        self.step += 1
        self.ema.update(self.step)
        self.last_loss = value
        self.loss = value if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * value
        return rate

    def _gather_gradients(self, loss_of: LossOf, opponent_loss_of: OpponentLossOf | None) -> float:
        """Gradients of all batches of a step; returns their mean loss."""
        total = 0.0
        for part in range(self.stage.accumulation):
            self._part = part
            total += self._learn_from_batch(loss_of, opponent_loss_of)
        self._part = 0
        return total / self.stage.accumulation

    def _learn_from_batch(self, loss_of: LossOf, opponent_loss_of: OpponentLossOf | None) -> float:
        """Add one batch's gradients; returns its loss."""
        own, networks = random_seeds(self.stage.seed, self.batch)
        cards = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(cards):
            torch.manual_seed(networks)  # for what networks draw by themselves, as dropout does
            if self.opponent is not None:
                self.opponent.requires_grad_(False)
            with self.accelerator.autocast():
                loss = loss_of(self.generator.manual_seed(own))
            self._backward(loss)
            if self.opponent is not None and opponent_loss_of is not None:
                self.opponent.requires_grad_(True)
                with self.accelerator.autocast():
                    opponent_loss = opponent_loss_of()
                if opponent_loss is not None:
                    self._backward(opponent_loss)
        return float(loss.detach())

    def _backward(self, loss: torch.Tensor) -> None:
        self.accelerator.backward(loss / self.stage.accumulation)

    def _update_loss_scale(self) -> None:
        scaler = self.accelerator.scaler
        if scaler is not None:
            scaler.update()
            if scaler.get_scale() < SMALLEST_LOSS_SCALE:
                raise TrainingDiverged(self.stage.folder.name, self.step)

    def _agreed(self, value: float) -> float:
        """The mean over all processes, so that they take the same decisions."""
        if self.accelerator.num_processes == 1:
            return value
        return float(self.accelerator.reduce(torch.tensor(value, device=self.device), "mean"))

    def save(self) -> None:
        """Write the exact state, unless it is on disk already. Raises `CannotSaveRun`."""
        if self._saved_step == self.step or not self.is_main:
            return
        write_state(self._state(), self.path)
        self._saved_step = self.step

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "model": {name: tensor.detach() for name, tensor in self._tensors.items()},
            "ema": self.ema.averages,
            "optimizer": self._learner.optimizer.state_dict(),
            "progress": {"step": self.step, "seconds": self.seconds, "loss": self.loss},
        }
        if self.opponent is not None and self._opponent_learner is not None:
            optimizer = self._opponent_learner.optimizer.state_dict()
            state["opponent"] = {"model": self.opponent.state_dict(), "optimizer": optimizer}
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        return state

    def _restore(self) -> None:
        state, self.lost_newest = read_state(self.path)
        if state is None:
            return
        try:
            self._take_over(state)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                "The saved state in {folder} belongs to other networks. Train under another name, or delete that "
                "folder to begin again.",
                folder=str(self.stage.folder),
            ) from error
        self._saved_step = self.step
        if self.is_main:
            self._log.forget_after(self.step)
        log.info("resumed %s at step %d (%.0f s)", self.stage.folder.name, self.step, self.seconds)

    def _take_over(self, state: Mapping[str, Any]) -> None:
        copy_into(self._tensors, state["model"])
        copy_into(self.ema.averages, state.get("ema") or state["model"])
        self._learner.optimizer.load_state_dict(state["optimizer"])
        if self.opponent is not None and self._opponent_learner is not None:
            self.opponent.load_state_dict(state["opponent"]["model"])
            self._opponent_learner.optimizer.load_state_dict(state["opponent"]["optimizer"])
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds, self.loss = (state["progress"][key] for key in ("step", "seconds", "loss"))


def changing_tensors(model: nn.Module, trained: Iterable[nn.Parameter]) -> dict[str, torch.Tensor]:
    """What training changes in `model`, by its name in the state: the trained weights and the buffers, each once."""
    ours = {id(weight) for weight in trained}
    found: dict[int, tuple[str, torch.Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in ours or not isinstance(tensor, nn.Parameter):
            found.setdefault(id(tensor), (name, tensor))
    if missing := ours - found.keys():
        raise ValueError(f"{len(missing)} of the trained parameters are not in the model.")
    return dict(found.values())


@torch.no_grad()
def copy_into(tensors: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor]) -> None:
    """Overwrite `tensors` with the saved ones of the same names. Raises KeyError or ValueError when they do not fit."""
    for name, tensor in tensors.items():
        if saved[name].shape != tensor.shape:
            raise ValueError(f"{name} is {tuple(saved[name].shape)}, not {tuple(tensor.shape)}")
        tensor.copy_(saved[name])


def write_json(value: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")
