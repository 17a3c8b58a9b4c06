"""The scheduler: which job runs where and when, and what a person tells a job.

One dispatcher thread per worker. All decisions are made under one lock and written to the store first; what a signal
to a worker achieves is known when the worker says so. What happens during a run is the business of `run.py`.

Trainings take hours, so pictures come first: a training waits until no picture does, and one that runs steps aside
when a picture waits and no other worker is free. It goes on by itself.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from webui.contract import Signal
from webui.errors import CannotStore, Conflict
from webui.events import Event, JobState
from webui.inputs import Inputs
from webui.jobs.hub import Hub
from webui.jobs.outputs import Outputs
from webui.jobs.progress import Live
from webui.jobs.records import JobRecord
from webui.jobs.run import SECONDS_BETWEEN_ATTEMPTS, Desk, Run
from webui.jobs.saving import Saving
from webui.jobs.store import JobStore
from webui.jobs.strips import Strips
from webui.jobs.trainings import TrainingFolders
from webui.sentences import Sentence
from webui.workers.worker import Worker, WorkerState

log = logging.getLogger(__name__)

LOOK_AHEAD = 32
"""How far down the queue a job for a loaded checkpoint is looked for."""
PASSED_OVER = 4
"""How many later jobs may overtake the first one because their checkpoint is loaded."""
POSITIONS_TOLD = 100
"""So many waiting jobs are told their new position when the queue moves."""
CANCEL_PATIENCE = 60.0
"""Seconds an engine has to answer a cancel, longer than any step; then its process is ended."""
CLOSE_PATIENCE = 2.5
"""Seconds that running jobs have at the end to put their state aside."""


class Scheduler:
    """Owns the order of the queue and the running jobs."""

    def __init__(
        self,
        store: JobStore,
        inputs: Inputs,
        outputs: Outputs,
        trainings: TrainingFolders,
        strips: Strips,
        hub: Hub,
        workers: Sequence[Worker],
        *,
        announce_status: Callable[[], None] = lambda: None,
        models_changed: Callable[[], None] = lambda: None,
        witness: Callable[[JobRecord, Event], None] = lambda record, event: None,
        saving: Saving | None = None,
        cancel_patience: float = CANCEL_PATIENCE,
    ) -> None:
        self._store, self._trainings, self._hub = store, trainings, hub
        self.workers = tuple(workers)
        self._tell_status = announce_status
        self._telling = threading.Lock()
        self._cancel_patience = cancel_patience
        self._changed = threading.Condition(threading.RLock())
        self._runs: dict[str, Run] = {}
        self._put_aside: dict[str, Live] = {}
        """Last progress of paused jobs and of trainings that stepped aside."""
        self._stepped_aside: set[str] = set()
        """Queued trainings that made room for pictures."""
        self._waiting: set[Worker] = set()
        self._passed_over: dict[str, int] = {}
        """How often the first job was overtaken."""
        self._closing = threading.Event()
        self._desk = Desk(
            store=store, inputs=inputs, outputs=outputs, saving=saving or Saving(), trainings=trainings, strips=strips,
            hub=hub,
            closing=self._closing, models_changed=models_changed, witness=witness,
        )  # fmt: skip
        self._threads = [
            threading.Thread(target=self._dispatch, args=(worker,), name=f"jobs of {worker.name}", daemon=True)
            for worker in self.workers
        ]

    def start(self) -> None:
        for worker in self.workers:
            worker.start(self._worker_changed)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Put running jobs back in the queue with their state and end the workers, within 10 seconds."""
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
            for job_id, run in self._runs.items():
                run.worker.signal(job_id, Signal.PAUSE)
        deadline = time.monotonic() + CLOSE_PATIENCE
        self._join(self._threads, deadline)
        closers = [threading.Thread(target=worker.close, daemon=True) for worker in self.workers]
        for closer in closers:
            closer.start()
        self._join([*closers, *self._threads], deadline + 6.0)

    # What people do.

    def submit(self, kind: str, values: Mapping[str, Any], key: str | None = None) -> JobRecord:
        """Queue a resolved request; on disk when this returns. A known `key` gives the job it belongs to."""
        with self._changed:
            record, is_new = self._store.submit(kind, values, key)
            if is_new:
                ahead = self._store.jobs_ahead(record)
                self._hub.publish(record.id, "queued", state=record.state.value, position=ahead)
                self._make_room()
                self._changed.notify_all()
        if is_new:
            log.info("job %s queued: %s", record.id, _summary(record))
            self._announce_status()
        return record

    def signal(self, job_id: str, signal: Signal) -> JobRecord:
        """Cancel, skip or pause. Raises `NotFound`, or `Conflict` when the job is past it."""
        with self._changed:
            record = self._store.job(job_id)
            if record.state is JobState.RUNNING and (run := self._runs.get(job_id)) is not None:
                self._tell(run, signal)
                return record
            record = self._tell_waiting(record, signal)
        self._announce_status()
        return record

    def resume(self, job_id: str) -> JobRecord:
        """paused -> first in the queue. Raises `NotFound`, or `Conflict` when the job is not paused."""
        with self._changed:
            record = self._store.resume(job_id)
            if record is None:
                state = Sentence(self._store.job(job_id).state.value)
                raise Conflict("Only a paused job can be resumed; this one is {state}.", state=state)
            self._hub.publish(job_id, "queued", state=record.state.value, position=self._store.jobs_ahead(record))
            self._tell_positions()
            self._make_room()
            self._changed.notify_all()
        self._announce_status()
        return record

    def move(self, job_id: str, before: str | None) -> JobRecord:
        """Put a waiting job directly before another one, or last. Raises `NotFound` or `Conflict`."""
        with self._changed:
            record = self._store.move(job_id, before)
            if record is None:
                raise Conflict("Only jobs that wait can change places; one of these does not wait any more.")
            self._passed_over = {}
            self._tell_positions()
            self._changed.notify_all()
        return record

    def take_up_again(self, job_id: str) -> JobRecord:
        """A new training that goes on from the state that a failed one has left.

        Raises `NotFound`, or `Conflict` when the job did not fail or left nothing.
        """
        with self._changed:
            failed = self._store.job(job_id)
            if failed.state is not JobState.FAILED or not self._trainings.has_state(job_id):
                raise Conflict("Only a failed training that has saved something can be taken up again.")
            record, _ = self._store.submit(failed.kind, failed.values)
            self._trainings.hand_over(job_id, record.id)
            self._hub.publish(record.id, "queued", state=record.state.value, position=self._store.jobs_ahead(record))
            self._changed.notify_all()
        log.info("job %s goes on from what job %s left", record.id, job_id)
        self._announce_status()
        return record

    def live(self, record: JobRecord) -> Live | None:
        """Progress of a job that runs, is paused or stepped aside."""
        if record.state.is_final:
            return None
        run = self._runs.get(record.id)
        return run.meter.live if run is not None else self._put_aside.get(record.id)

    def is_aside(self, record: JobRecord) -> bool:
        """Whether a training makes room for pictures, or is about to."""
        run = self._runs.get(record.id)
        if record.state is JobState.RUNNING:
            return run is not None and run.steps_aside
        return record.state is JobState.QUEUED and record.id in self._stepped_aside

    # Under the lock.

    def _make_room(self) -> None:
        """Ask as many trainings to step aside as there are pictures that no free worker takes."""
        waiting = sum(not record.training for record in self._store.queue(LOOK_AHEAD))
        free = sum(worker.status().state is WorkerState.READY for worker in self._waiting)
        trainings = [run for run in self._runs.values() if run.record.training and run.told is None]
        wanted = waiting - free - sum(run.steps_aside for run in trainings)
        for run in [run for run in trainings if not run.steps_aside][: max(0, wanted)]:
            run.step_aside()

    def _tell(self, run: Run, signal: Signal) -> None:
        is_first_cancel = signal is Signal.CANCEL and run.told is not Signal.CANCEL
        if signal is not Signal.SKIP and run.told is not Signal.CANCEL:
            try:
                self._store.keep_told(run.record.id, signal)
            except CannotStore as error:  # a full disk must not keep anybody from stopping a job
                log.warning("%s", error)
        run.tell(signal)
        if is_first_cancel:
            patience = threading.Timer(self._cancel_patience, self._lose_patience, (run,))
            patience.daemon = True
            patience.start()

    def _lose_patience(self, run: Run) -> None:
        with self._changed:
            if self._runs.get(run.record.id) is run and not self._closing.is_set():
                log.warning("job %s does not stop: the process of %s is ended", run.record.id, run.worker.name)
                run.worker.kill()

    def _tell_waiting(self, record: JobRecord, signal: Signal) -> JobRecord:
        """A signal to a job that does not run takes effect at once."""
        match signal, record.state:
            case (Signal.CANCEL, JobState.CANCELLED) | (Signal.PAUSE, JobState.PAUSED):
                return record
            case Signal.CANCEL, JobState.QUEUED | JobState.PAUSED:
                changed = self._store.finish(record.id, JobState.CANCELLED, when=(record.state,))
                kind = "cancelled"
                self._put_aside.pop(record.id, None)
                self._trainings.end(record.id)
            case Signal.PAUSE, JobState.QUEUED:
                changed = self._store.pause(record.id, when=record.state)
                kind = "paused"
            case _:
                raise Conflict(
                    "This job is {state}: there is nothing to {signal}.",
                    state=Sentence(record.state.value),
                    signal=Sentence(signal.value),
                )
        assert changed is not None, "states change under the lock only"
        self._stepped_aside.discard(record.id)
        self._hub.publish(record.id, kind, state=changed.state.value)
        self._tell_positions()
        return changed

    def _tell_positions(self) -> None:
        for position, record in enumerate(self._store.queue(POSITIONS_TOLD)):
            told = {"position": position, "aside": self.is_aside(record)}
            self._hub.publish(record.id, "state", state=record.state.value, **told)

    def _claim(self, worker: Worker) -> tuple[Run, Iterator[Event]] | None:
        queue = self._store.queue(LOOK_AHEAD)
        chosen = choose(queue, _held_by(worker), self._held_elsewhere(worker), self._passed_over)
        record = chosen and self._store.claim(chosen.id)
        if record is None:
            return None
        first = queue[0].id
        if not record.training:
            self._passed_over = {} if first == record.id else {first: self._passed_over.get(first, 0) + 1}
        self._hub.publish(record.id, "state", state=record.state.value, position=0)
        self._tell_positions()
        try:
            run = Run(record, worker, self._desk)
            run.meter.live = self._put_aside.pop(record.id, None)
            self._stepped_aside.discard(record.id)
            events = run.hand_over()
        except Exception:
            self._store.requeue(record.id)  # nobody follows it: it must not stay "running"
            raise
        self._runs[record.id] = run
        self._make_room()
        return run, events

    def _held_elsewhere(self, worker: Worker) -> set[str]:
        """Checkpoints that other workers, with nothing to do, hold in memory."""
        idle = (other for other in self._waiting if other is not worker)
        return {held for other in idle if other.status().state is WorkerState.READY and (held := _held_by(other))}

    def _release(self, run: Run) -> None:
        with self._changed:
            try:
                record = self._store.job(run.record.id)
                if record.state in (JobState.PAUSED, JobState.QUEUED) and run.meter.live is not None:
                    self._put_aside[record.id] = run.meter.live
                if record.state is JobState.QUEUED and run.steps_aside:
                    self._stepped_aside.add(record.id)
                if self._runs.get(record.id) is run:
                    del self._runs[record.id]
                if run.told is not None and not self._closing.is_set():
                    self._tell_late(record, run.told)
            except CannotStore as error:
                log.error("%s", error)
            self._changed.notify_all()

    def _tell_late(self, record: JobRecord, signal: Signal) -> None:
        """What was told while the run was already ending still counts."""
        other = self._runs.get(record.id)
        if record.state is JobState.RUNNING and other is not None:
            self._tell(other, signal)
        elif record.state in (JobState.QUEUED, JobState.PAUSED):
            self._tell_waiting(record, signal)

    # The dispatcher threads.

    def _dispatch(self, worker: Worker) -> None:
        while (claimed := self._next(worker)) is not None:
            run, events = claimed
            self._announce_status()
            try:
                run.follow(events)
            except Exception:  # a defect of ours must cost one job, not the worker's thread
                log.exception("job %s could not be followed", run.record.id)
                self._give_up(run)
            finally:
                self._release(run)
            self._announce_status()

    def _next(self, worker: Worker) -> tuple[Run, Iterator[Event]] | None:
        """Wait until the worker is ready and there is a job for it; None when closing."""
        with self._changed:
            while not self._closing.is_set():
                try:
                    if worker.status().state is WorkerState.READY and (claimed := self._claim(worker)) is not None:
                        return claimed
                    pause = None
                except Exception:  # a full disk or a defect of ours must not end the worker's thread
                    log.exception("no job could be taken from the queue")
                    pause = SECONDS_BETWEEN_ATTEMPTS
                self._waiting.add(worker)
                self._changed.wait(pause)
                self._waiting.discard(worker)
        return None

    def _give_up(self, run: Run) -> None:
        if self._closing.is_set():
            return
        run.worker.signal(run.record.id, Signal.CANCEL)
        run.fail("InternalError", Sentence("Something went wrong inside Easel; the log says what. Other jobs go on."))

    def _announce_status(self) -> None:
        """Called from the threads that everything hangs on: a status that cannot be read must not end them.

        One at a time, reading included, or an older status could be told last and stay.
        """
        try:
            with self._telling:
                self._tell_status()
        except CannotStore as error:
            log.error("the status could not be told: %s", error)

    def _worker_changed(self) -> None:
        with self._changed:
            self._changed.notify_all()
        self._announce_status()

    @staticmethod
    def _join(threads: Sequence[threading.Thread], deadline: float) -> None:
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))


def choose(
    queue: Sequence[JobRecord], mine: str | None, elsewhere: Collection[str], passed_over: Mapping[str, int]
) -> JobRecord | None:
    """The job that a free worker takes: first come, first served, but a loaded checkpoint counts for a few places.

    `mine`: the checkpoint this worker holds; `elsewhere`: those that other free workers hold, whose jobs are left
    to them. The first job is overtaken `PASSED_OVER` times at most. A training is taken when no picture is.
    """
    pictures = [record for record in queue if not record.training]
    if pictures and passed_over.get(pictures[0].id, 0) < PASSED_OVER:
        for record in pictures:
            if record.checkpoint == mine:
                return record
    for record in pictures:
        if record.checkpoint == mine or record.checkpoint not in elsewhere:
            return record
    return next((record for record in queue if record.training), None)


def _held_by(worker: Worker) -> str | None:
    info = worker.status().info
    return info.checkpoint if info is not None else None


def _summary(record: JobRecord) -> str:
    """What the log says of a request: never its prompts."""
    names = (
        *("name", "dataset", "steps", "checkpoint", "width", "height"),
        *("num_inference_steps", "sampler", "seed", "batch_count", "batch_size"),
    )
    return ", ".join(f"{name} {record.values[name]}" for name in names if name in record.values)
