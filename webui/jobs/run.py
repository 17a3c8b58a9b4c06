"""One job on one worker, from its first event to its state in the store.

Which job runs where and when is the business of `scheduler.py`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from webui.contract import Job, Signal
from webui.errors import CannotSave, CannotStore, EngineDied, UserError
from webui.events import (
    Checkpoint,
    Done,
    Event,
    Failed,
    Image,
    JobState,
    Metrics,
    Paused,
    Progress,
    Result,
    Sample,
    Started,
    Warning,
)
from webui.inputs import Inputs
from webui.jobs.hub import Hub
from webui.jobs.outputs import Outputs
from webui.jobs.progress import ProgressMeter
from webui.jobs.records import JobRecord, PictureRecord
from webui.jobs.saving import Saving
from webui.jobs.store import JobStore
from webui.jobs.strips import Strips
from webui.jobs.trainings import TrainingFolders
from webui.jobs.view import picture_json, sample_json
from webui.sentences import Sentence
from webui.workers.worker import Worker

log = logging.getLogger(__name__)

SECONDS_BETWEEN_STATES = 1.0
"""The engine's state is stored at most this often: each write waits for the disk."""
OF_STRIPS = ("sampling", "hires")
"""Phases whose previews are steps of a picture."""
SECONDS_BETWEEN_ATTEMPTS = 1.0
"""When the database does not take a change."""

Changed = TypeVar("Changed")


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What every run writes to and reads from."""

    store: JobStore
    inputs: Inputs
    outputs: Outputs
    saving: Saving
    trainings: TrainingFolders
    strips: Strips
    hub: Hub
    closing: threading.Event
    """Set when the server ends."""
    models_changed: Callable[[], None]
    """Called when a training has put something into the models folder."""
    witness: Callable[[JobRecord, Event], None]
    """Told of every `Warning` and `Done`."""


class Run:
    """Takes a claimed job through its worker. Made by the scheduler, used by the one thread of that worker."""

    def __init__(self, record: JobRecord, worker: Worker, desk: Desk) -> None:
        self.record = record
        self.worker = worker
        self.told: Signal | None = None
        """The last CANCEL or PAUSE; it also decides when the engine dies before answering."""
        self.steps_aside = False
        """A training that was asked to make room for pictures; unless told something else it goes on by itself."""
        info = worker.status().info
        on_gpu = info is not None and info.device != "cpu"
        self.meter = ProgressMeter(int(record.values.get("batch_size", 1)) if on_gpu else 1)
        self._desk = desk
        self._store, self._closing = desk.store, desk.closing
        self._engine_state: bytes | None = None
        self._state_stored = 0.0
        self._saved = {picture.number for picture in desk.store.pictures_of([record.id])[record.id]}
        self._refusal: Sentence | None = None
        """Why a picture could not be saved; the rest of the job is then given up."""

    def hand_over(self) -> Iterator[Event]:
        """Give the job to the worker and return its events for `follow`, which also handles what goes wrong here."""
        self._engine_state = self._store.engine_state(self.record.id)
        try:
            request = self.record.request
            inputs = {name: self._desk.inputs.read(name) for name in request.inputs}
            return self.worker.run(Job(id=self.record.id, request=request, state=self._engine_state, inputs=inputs))
        except UserError as error:  # the engine is dead, or this version does not know the request any more
            return _raising(error)

    def tell(self, signal: Signal) -> None:
        if signal is not Signal.SKIP and self.told is not Signal.CANCEL:
            self.told = signal
        self.worker.signal(self.record.id, signal)

    def step_aside(self) -> None:
        self.steps_aside = True
        self.worker.signal(self.record.id, Signal.PAUSE)
        self._publish("state", aside=True)

    def follow(self, events: Iterator[Event]) -> None:
        """Take in everything the engine says; the job is in its next state afterwards."""
        try:
            for event in events:
                self._take(event)
        except EngineDied as error:
            self._engine_died(error)
        except UserError as error:
            self.fail(error.kind, error.sentence)

    def fail(self, error: str, text: Sentence) -> None:
        log.info("job %s failed: %s", self.record.id, error)
        self._finish(JobState.FAILED, "failed", error=error, text=text)

    def _take(self, event: Event) -> None:
        match event:
            case Progress():
                live = self.meter.follow(event)
                self._add_to_strips(event)
                self._publish("progress", **live.progress, preview=event.to_json()["preview"])
            case Checkpoint(state=state):
                self._keep_state(state)
            case Image():
                self._save(event)
            case Warning(text=text):
                self._desk.witness(self.record, event)
                self._insist(lambda: self._store.warn(self.record.id, text))
                self._publish("warning", **text.to_json())
            case Started(pictures=pictures):
                self._publish("started", pictures=pictures)
            case Metrics() | Sample() | Result():
                self._take_from_training(event)
            case _:
                self._end(event)

    def _take_from_training(self, event: Metrics | Sample | Result) -> None:
        job_id = self.record.id
        match event:
            case Metrics(losses=losses):
                self._desk.trainings.add_losses(job_id, losses)
                if losses:
                    step, loss = losses[-1]
                    self._publish("metrics", step=step, loss=loss)
            case Sample(step=step, jpeg=jpeg):
                if self._desk.trainings.add_sample(job_id, step, jpeg):
                    self._publish("sample", sample=sample_json(job_id, step))
            case Result(path=path):
                self._insist(lambda: self._store.keep_result(job_id, path))
                self._publish("result", result=path)
                self._desk.models_changed()

    def _add_to_strips(self, event: Progress) -> None:
        if event.phase not in OF_STRIPS or self.record.training:
            return
        for picture, jpeg in enumerate((event.preview, *event.others), start=event.picture):
            if jpeg is not None:
                self._desk.strips.add(self.record.id, picture, event.step, jpeg)

    def _end(self, event: Event) -> None:
        """React to one of `FINAL`."""
        if self._refusal is not None:
            self.fail("CannotSave", self._refusal)
            return
        match event:
            case Done(timings=timings, receipt=receipt):
                self._desk.witness(self.record, event)
                self._finish(JobState.DONE, "done", timings=timings, receipt=receipt)
            case Failed(error=error, text=text):
                self.fail(error, text)
            case Paused() if self.told is None and (self._closing.is_set() or self.steps_aside):
                self._give_back()
            case Paused() if self.told is not Signal.CANCEL:
                self._pause()
            case _:
                self._finish(JobState.CANCELLED, "cancelled")

    def _engine_died(self, error: EngineDied) -> None:
        if self._refusal is not None:
            self.fail("CannotSave", self._refusal)
        elif self.told is Signal.CANCEL:
            self._finish(JobState.CANCELLED, "cancelled")
        elif self.told is Signal.PAUSE:
            self._pause()
        elif self._closing.is_set():
            self._give_back()
        else:
            record = self._insist(lambda: self._store.crashed(self.record.id, error, self._engine_state))
            log.warning("job %s: %s It is now %s.", record.id, error, record.state)
            if record.state is JobState.FAILED and record.text is not None:
                self._publish("failed", state=record.state, error=record.error, **record.text.to_json())
            else:
                self._publish("queued", state=record.state, position=self._store.jobs_ahead(record))

    def _pause(self) -> None:
        self._insist(lambda: self._store.pause(self.record.id, self._engine_state, when=JobState.RUNNING))
        self._publish("paused", state=JobState.PAUSED)
        log.info("job %s paused", self.record.id)

    def _give_back(self) -> None:
        """The server is closing, or pictures come first: the job goes on from here by itself."""
        record = self._insist(lambda: self._store.requeue(self.record.id, self._engine_state))
        if self._closing.is_set() or record is None:
            log.info("job %s will go on at the next start", self.record.id)
            return
        log.info("job %s makes room for pictures", self.record.id)
        self._publish("queued", state=record.state, position=self._store.jobs_ahead(record), aside=True)

    def _finish(
        self,
        state: JobState,
        kind: str,
        *,
        error: str | None = None,
        text: Sentence | None = None,
        timings: dict[str, float] | None = None,
        receipt: tuple[Sentence, ...] = (),
    ) -> None:
        record = self._insist(
            lambda: self._store.finish(self.record.id, state, error=error, text=text, timings=timings, receipt=receipt)
        )
        if record is None:  # something else ended it first, and the store is right
            return
        self._desk.strips.drop(self.record.id)
        if state is not JobState.FAILED:
            self._desk.trainings.end(self.record.id)
        told = {} if text is None else {"error": error, **text.to_json()}
        measured = {} if timings is None else {"timings": timings, "receipt": [each.to_json() for each in receipt]}
        self._publish(kind, state=state, started=record.started, finished=record.finished, **told, **measured)
        seconds = (record.finished or 0) - (record.started or 0)
        log.info("job %s %s: %d pictures in %.1f s", record.id, state, len(self._saved), seconds)

    def _keep_state(self, state: bytes) -> None:
        self._engine_state = state
        if time.monotonic() - self._state_stored < SECONDS_BETWEEN_STATES:
            return
        try:
            self._store.keep_engine_state(self.record.id, state)
            if self.record.training:
                self._store.got_further(self.record.id)
        except CannotStore as error:  # the job does not need it unless the server dies
            log.warning("%s", error)
        self._state_stored = time.monotonic()

    def _save(self, image: Image) -> None:
        if image.picture in self._saved or self._refusal is not None:  # made again after a crash
            return
        finished = self._desk.saving.finished(self.record, image)
        content, wanted = finished.content, finished.place
        if finished.warning is not None:
            self._take(Warning(text=finished.warning))
        try:
            picture = self._insist(
                lambda: self._desk.outputs.save(content, wanted, lambda path: self._add(image, path))
            )
        except CannotSave as error:
            path, place = self._insist(lambda: self._desk.outputs.keep_unsaved(content, wanted))
            picture = self._insist(lambda: self._add(image, path))
            self._refusal = Sentence("{refusal} {place}", refusal=error.sentence, place=place)
            log.error("job %s: %s", self.record.id, self._refusal)
            self.worker.signal(self.record.id, Signal.CANCEL)
        self._saved.add(image.picture)
        self._desk.strips.keep(self.record.id, image.picture, picture.id)  # before a page hears of the picture
        self._publish("image", image=picture_json(picture, self.record.values))

    def _add(self, image: Image, path: str) -> PictureRecord:
        return self._store.add_picture(self.record.id, image, path)

    def _insist(self, change: Callable[[], Changed]) -> Changed:
        """Make a change of the store that must not be lost: while the disk is full, wait for space."""
        while True:
            try:
                return change()
            except CannotStore as error:
                if self._closing.is_set():
                    raise
                log.error("%s", error)
                self._publish("warning", **error.sentence.to_json())
                self._closing.wait(SECONDS_BETWEEN_ATTEMPTS)

    def _publish(self, kind: str, *, state: JobState = JobState.RUNNING, **fields: object) -> None:
        self._desk.hub.publish(self.record.id, kind, state=state.value, **fields)


def _raising(error: UserError) -> Iterator[Event]:
    raise error
    yield  # type: ignore[unreachable]  # makes this a generator, which raises when it is iterated
