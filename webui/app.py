"""The composition root: builds everything once and passes it on. There is one `App` per server and no globals.

The page and the API talk to this class; it knows neither of them, and no torch.
"""

import dataclasses
import functools
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from webui import __version__
from webui.contract import Engine, Signal
from webui.errors import CheckpointError, InvalidRequest, UnknownName
from webui.events import JobState
from webui.jobs.hub import Frame, Hub
from webui.jobs.outputs import Outputs
from webui.jobs.records import JobRecord, PictureRecord
from webui.jobs.scheduler import Scheduler
from webui.jobs.store import ACTIVE, JobStore
from webui.jobs.view import job_json
from webui.library import Library
from webui.lock import FolderLock
from webui.options import OptionsFile
from webui.requests import REQUESTS, build, resolve, to_values
from webui.settings import Settings
from webui.workers.local import LocalWorker
from webui.workers.worker import EngineFactory, WorkerState, WorkerStatus

log = logging.getLogger(__name__)

SNAPSHOT_JOBS = 50
"""So many finished jobs are told to a page that opens, beside all that are not finished."""
MAX_KEY = 200

TELLING = (WorkerState.BUSY, WorkerState.LOADING, WorkerState.READY, WorkerState.STARTING, WorkerState.DEAD)
"""Which of several workers the one line about the engine is about: the first of these states that one is in."""


def make_engine(models_dir: Path, device: str) -> Engine:
    """The real engine; runs in the process of a worker, the only place where torch is imported."""
    from webui.engine.engine import create_engine

    return create_engine(models_dir, device)


class App:
    """What the server does, without HTTP. `start` after construction, `close` at the end."""

    def __init__(self, settings: Settings, engine_factory: EngineFactory) -> None:
        self.settings = settings
        self._lock = FolderLock(settings.data_dir)
        try:
            self.options = OptionsFile(settings.data_dir / "options.json")
            self.library = Library(settings.checkpoints_dir)
            self.store = JobStore(settings.database)
        except BaseException:
            self._lock.close()
            raise
        self.outputs = Outputs(settings.outputs_dir, settings.data_dir / "unsaved")
        self.hub = Hub(self._snapshot)
        self.scheduler = Scheduler(
            self.store,
            self.outputs,
            self.hub,
            _workers(settings, engine_factory),
            announce_status=self._announce_status,
        )

    def start(self) -> None:
        """Go on where the last server stopped and start the engines; returns before they are ready."""
        self.outputs.sweep(self.store.has_picture_at)
        for record in self.store.recover():
            log.warning("job %s was running when Easel ended; it is now %s", record.id, record.state)
        self.scheduler.start()
        try:
            checkpoint = self.library.default(self.options.current.default_checkpoint).name
        except CheckpointError as error:
            log.warning("%s", error)
            return
        for worker in self.scheduler.workers:
            worker.warm_up(checkpoint)

    def close(self) -> None:
        """End everything; a running job goes on at the next start from its last state."""
        self.scheduler.close()
        self.hub.close()
        self.store.close()
        self._lock.close()

    # Jobs.

    def submit(self, kind: str, values: Mapping[str, Any], *, key: str | None = None) -> JobRecord:
        """Accept a job: what is not named comes from the checkpoint, then from the request's own defaults.

        It survives whatever happens once this returns. The same `key` again gives the same job.
        Raises `InvalidRequest`, `UnknownName` or `CheckpointError`.
        """
        if kind not in REQUESTS:
            raise UnknownName("kind of job", kind, REQUESTS)
        if key is not None and not 0 < len(key) <= MAX_KEY:
            raise InvalidRequest(f"An idempotency key has 1 to {MAX_KEY} characters.")
        name = values.get("checkpoint", "")
        if not isinstance(name, str):
            raise InvalidRequest("The checkpoint must be a name.")
        passport = self.library.find(name, self.options.current.default_checkpoint)
        request = resolve(build(kind, {**passport.defaults, **values, "checkpoint": passport.name}))
        return self.scheduler.submit(kind, to_values(request), key)

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as JSON. Raises `NotFound`."""
        return self._as_json([self.store.job(job_id)])[0]

    def jobs(self, states: Collection[JobState] | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Jobs as JSON, newest first; of every state when none is named."""
        return self._as_json(self.store.jobs(states or (), limit))

    def jobs_named(self, ids: Collection[str]) -> list[dict[str, Any]]:
        """Those of the named jobs that exist, as JSON, newest first."""
        return self._as_json(self.store.jobs_named(ids))

    def signal(self, job_id: str, signal: Signal) -> JobRecord:
        """Cancel, skip or pause. Raises `NotFound`, or `Conflict` when the job is past it."""
        return self.scheduler.signal(job_id, signal)

    def resume(self, job_id: str) -> JobRecord:
        """Raises `NotFound`, or `Conflict` when the job is not paused."""
        return self.scheduler.resume(job_id)

    def picture(self, picture_id: str) -> PictureRecord:
        """Raises `NotFound`."""
        return self.store.picture(picture_id)

    def picture_content(self, picture: PictureRecord) -> bytes:
        """The PNG, wherever it is kept. Raises `NotFound` when its file was removed."""
        return self.outputs.read(picture.path)

    def status(self) -> dict[str, Any]:
        """State of engine and queue."""
        statuses = {worker.name: worker.status() for worker in self.scheduler.workers}
        told = min(statuses.values(), key=lambda status: TELLING.index(status.state))
        return {
            "engine": _engine_json(told),
            "workers": [{"name": name, **_engine_json(status)} for name, status in statuses.items()],
            "queue": {
                "waiting": self.store.count(JobState.QUEUED),
                "running": self.store.count(JobState.RUNNING),
                "paused": self.store.count(JobState.PAUSED),
            },
            "version": __version__,
        }

    def _as_json(self, records: Sequence[JobRecord]) -> list[dict[str, Any]]:
        pictures = self.store.pictures_of([record.id for record in records])
        return [
            job_json(record, pictures[record.id], ahead=self.store.jobs_ahead(record), live=self.scheduler.live(record))
            for record in records
        ]

    def _announce_status(self) -> None:
        self.hub.publish(None, "status", **self.status())

    def _snapshot(self) -> Frame:
        records = [*self.store.jobs(ACTIVE, limit=1000), *self.store.jobs(_FINAL, limit=SNAPSHOT_JOBS)]
        records.sort(key=lambda record: -record.number)
        return {"jobs": self._as_json(records), "status": self.status()}


_FINAL = tuple(state for state in JobState if state.is_final)


def _workers(settings: Settings, engine_factory: EngineFactory) -> list[LocalWorker]:
    log_file = settings.data_dir / "logs" / "easel.log"
    names = ["engine"] if settings.workers == 1 else [f"engine {number + 1}" for number in range(settings.workers)]
    return [LocalWorker(name, engine_factory, log_file=log_file) for name in names]


def _engine_json(status: WorkerStatus) -> dict[str, Any]:
    info = dataclasses.asdict(status.info) if status.info is not None else {}
    return {
        "state": status.state.value,
        "text": status.text,
        **{name: info.get(name) for name in ("device", "device_name", "attention", "checkpoint")},
    }


def create_app(settings: Settings, *, engine_factory: EngineFactory | None = None) -> App:
    """Build the app. `engine_factory`, picklable, replaces the real engine. Raises `CannotStart`."""
    return App(settings, engine_factory or functools.partial(make_engine, settings.models_dir, settings.device))
