"""Trainings as jobs: turns what a trainer says into events, and signals into a run that is put aside.

Which pictures are learnt and how is the business of the trainers behind `session.py`. Imports no torch before a
training begins, so a worker that only makes pictures does not pay for it.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from webui.contract import STATE_FOLDER, Job, Signal, SignalSource
from webui.errors import TrainingError, UserError
from webui.events import (
    Cancelled,
    Checkpoint,
    Done,
    Event,
    Failed,
    Metrics,
    Paused,
    Progress,
    Result,
    Sample,
    Started,
    Warning,
)
from webui.sentences import Sentence
from webui.train_names import TrainFolders
from webui.train_requests import TrainRequest
from webui.training.session import Update, Workspace, train

log = logging.getLogger(__name__)

SECONDS_BETWEEN_PROGRESS = 0.25
SECONDS_BETWEEN_METRICS = 1.0
CURVE_POINTS = 20_000
"""A longer run gives the mean of several steps as one point of its curve."""

LOST = Sentence("What this training had saved is not there any more, so it begins again.")


class TrainingEngine:
    """Runs training jobs, one at a time. `free_memory` gives back what is kept for pictures only."""

    def __init__(self, folders: TrainFolders, device: str, free_memory: Callable[[], None]) -> None:
        self._folders = folders
        self._device = device
        self._free_memory = free_memory

    def run(self, job: Job, signal: SignalSource) -> Iterator[Event]:
        """Yield the job's events; the last is one of `events.FINAL`. Raises only for faults of the program."""
        request = job.request
        assert isinstance(request, TrainRequest)
        yield Started(pictures=0)
        try:
            workspace = workspace_of(request, job.id, self._folders, self._device)
            if job.state is not None and not workspace.run.exists():
                yield Warning(text=LOST)
            yield from events_of(request, workspace, signal, self._free_memory)
        except UserError as error:
            log.info("training failed: %s: %s", error.kind, error)
            yield Failed(error=error.kind, text=error.sentence)
        finally:
            _release_memory()


def events_of(
    request: TrainRequest, workspace: Workspace, signal: SignalSource, free_memory: Callable[[], None] = lambda: None
) -> Iterator[Event]:
    """One attempt, and a second one with all memory when the first did not get through a single step.

    The last event is one of `events.FINAL`, but not `Failed`: that is raised as a `UserError`.
    """
    session = Session(request, workspace, signal)
    try:
        yield from session.events()
        return
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
    free_memory()
    if session.steps:
        raise out_of_memory(request)
    log.info("out of memory before the first step: trying again without the model that makes pictures")
    try:
        yield from Session(request, workspace, signal).events()
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        raise out_of_memory(request) from error


class Session:
    """One attempt at a training, from its first update to its end. `events` may be walked through once."""

    def __init__(self, request: TrainRequest, workspace: Workspace, signal: SignalSource) -> None:
        self._request = request
        self._workspace = workspace
        self._signal = signal
        self._curve = Curve(max(1, request.steps // CURVE_POINTS))
        self._told_at = 0.0
        self._phase = ""
        self._step = 0
        self.steps = 0
        """Steps done in this attempt."""

    def events(self) -> Iterator[Event]:
        """Everything up to the final event. Closing it saves the trainer's state, as a pause does."""
        yield self._progress(Update(step=0, total=self._request.steps, phase="preparing"))
        result: str | None = None
        updates = train(self._request, self._workspace)
        with closing(updates):
            for update in updates:
                yield from self._told(update)
                if update.result is not None:
                    result = update.result.relative_to(self._workspace.models).as_posix()
                if (signal := self._signal()) in (Signal.CANCEL, Signal.PAUSE):
                    break
            else:
                signal = None
        yield from self._curve.rest()
        if result is not None:
            yield Result(path=result)
            yield Done()
        elif signal is Signal.CANCEL:
            yield Cancelled()
        elif signal is Signal.PAUSE:
            yield self._marker()
            yield Paused()
        else:
            raise RuntimeError(f"The trainer of {self._request.kind} ended without a result.")

    def _told(self, update: Update) -> Iterator[Event]:
        """What one update says, no more often than a page can use it."""
        before, self._step = self._step, update.step
        self.steps += update.loss is not None
        if update.warning is not None:
            yield Warning(text=update.warning)
        if update.loss is not None:
            yield from self._curve.add(update.step, update.loss)
        if update.sample is not None:
            yield Sample(step=update.step, jpeg=update.sample)
        if self._is_worth_telling(update):
            yield self._progress(update)
        save_every = self._request.save_every
        if 0 < before < update.step and before // save_every != update.step // save_every:
            yield from self._curve.rest()  # these steps are never made again
            yield self._marker()

    def _is_worth_telling(self, update: Update) -> bool:
        is_new = update.phase != self._phase or update.step == update.total
        return is_new or time.monotonic() - self._told_at >= SECONDS_BETWEEN_PROGRESS

    def _progress(self, update: Update) -> Progress:
        self._told_at, self._phase = time.monotonic(), update.phase
        return Progress(phase=update.phase, picture=0, pictures=1, step=update.step, total=update.total)

    def _marker(self) -> Checkpoint:
        return Checkpoint(state=f"{STATE_FOLDER} at step {self._step}".encode())


class Curve:
    """Losses on their way to the server: means of `every` steps, some of them at a time."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._open: list[float] = []
        self._points: list[tuple[int, float]] = []
        self._sent_at = time.monotonic()

    def add(self, step: int, loss: float) -> Iterator[Metrics]:
        self._open.append(loss)
        if len(self._open) >= self._every:
            self._points.append((step, sum(self._open) / len(self._open)))
            self._open.clear()
        if time.monotonic() - self._sent_at >= SECONDS_BETWEEN_METRICS:
            yield from self.rest()

    def rest(self) -> Iterator[Metrics]:
        if self._points:
            yield Metrics(losses=tuple(self._points))
        self._points, self._sent_at = [], time.monotonic()


def workspace_of(request: TrainRequest, job_id: str, folders: TrainFolders, device: str) -> Workspace:
    """The paths behind the request's names. Raises `UserError` when one of them is not there any more."""
    library = folders.library()
    checkpoint, first_stage, text_encoder = (
        str(getattr(request, name, "")) for name in ("checkpoint", "first_stage", "text_encoder")
    )
    return Workspace(
        dataset=folders.dataset(request.dataset),
        run=folders.state(job_id),
        models=folders.models,
        device=device,
        checkpoint=library.find(checkpoint, to_train=True).path if checkpoint else None,
        first_stage=folders.first_stage(first_stage, library) if first_stage else None,
        text_encoder=library.find(text_encoder, to_train=True).path if text_encoder else None,
    )


def out_of_memory(request: TrainRequest) -> TrainingError:
    return TrainingError(
        "Not enough memory to train at size {size} with batch size {batch_size}. Lower one of them, and raise "
        "accumulation instead of the batch size.",
        size=request.size,
        batch_size=request.batch_size,
    )


# torch is there by the time these are called.


def _is_out_of_memory(error: BaseException) -> bool:
    from webui.engine import memory

    return memory.is_out_of_memory(error)


def _release_memory() -> None:
    from webui.engine import memory

    memory.release()
