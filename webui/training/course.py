"""The course of a job: prepare, train with sample pictures between steps, save, write the result, all told in updates.

Shared by all trainers; knows nothing of what is learnt.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from webui.errors import UserError
from webui.sentences import Sentence
from webui.train_requests import TrainRequest
from webui.training.loop import LossOf, OpponentLossOf, Stage, Trainer
from webui.training.sampling import to_jpeg
from webui.training.session import Update, Workspace

log = logging.getLogger(__name__)

LOST_NEWEST = Sentence("The newest saved state could not be read, so the training goes on from the one before.")


def stage_of(request: TrainRequest, workspace: Workspace, *, weight_decay: float = 0.01) -> Stage:
    """The loop's settings as the request has them."""
    return Stage(
        folder=workspace.run,
        steps=request.steps,
        learning_rate=request.learning_rate,
        seed=request.seed,
        ema_decay=request.ema_decay,
        accumulation=request.accumulation,
        precision=request.precision,
        device=workspace.device,
        save_every=request.save_every,
        log_every=10,
        weight_decay=weight_decay,
    )


@dataclass(frozen=True, kw_only=True)
class Course:
    """A job whose networks and data are ready."""

    request: TrainRequest
    trainer: Trainer
    loss_of: LossOf
    sample: Callable[[], list[Image.Image]]
    """Pictures with what is learnt so far."""
    write: Callable[[], Path]
    """Puts the result where it belongs."""
    opponent_loss_of: OpponentLossOf | None = None
    """Of a discriminator, after each batch."""

    def updates(self) -> Iterator[Update]:
        """Every step, sample pictures between them, and the result in the last update; closing it saves the state."""
        total = self.request.steps
        if self.trainer.lost_newest:
            yield Update(step=self.trainer.step, total=total, warning=LOST_NEWEST)
        with closing(self.trainer.run(self.loss_of, self.opponent_loss_of)) as steps:
            for progress in steps:
                yield Update(step=progress.step, total=total, loss=progress.last_loss)
                if self._is_main and self.request.sample_every and progress.step % self.request.sample_every == 0:
                    yield self._sampled(progress.step)
        yield Update(step=total, total=total, phase="saving")
        if self._is_main:
            with self.trainer.averaged():
                result = self.write()
            yield Update(step=total, total=total, phase="saving", result=result)

    @property
    def _is_main(self) -> bool:
        """Of several processes that train together one shows and writes."""
        return bool(self.trainer.accelerator.is_main_process)

    def _sampled(self, step: int) -> Update:
        """A picture that cannot be made harms nothing: the run goes on."""
        try:
            with self.trainer.averaged():
                picture = to_jpeg(self.sample())
        except UserError as error:
            log.warning("no sample picture at step %d: %s", step, error)
            return Update(step=step, total=self.request.steps, phase="sampling", warning=error.sentence)
        return Update(step=step, total=self.request.steps, phase="sampling", sample=picture)


def preparing(step: int, total: int) -> Update:
    """Told while examples and captions are made ready."""
    return Update(step=step, total=total, phase="preparing")
