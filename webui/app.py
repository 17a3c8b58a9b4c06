"""The composition root: builds everything once and passes it on. There is one `App` per server and no globals.

The page and the API talk to this class; it knows neither of them, and no torch.
"""

import functools
import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from webui.contract import Signal, Tuning
from webui.datasets import Datasets
from webui.drafts import Drafts
from webui.engine_room import local_workers, status_json
from webui.errors import CannotSaveGallery, CheckpointError, Conflict, InvalidRequest, NotFound, UnknownName
from webui.events import Done, Event, JobState, Warning
from webui.extensions.desk import ExtensionDesk, shelf_of
from webui.gallery import Entry, Gallery
from webui.gallery.info import picture_info, text_info
from webui.inputs import Inputs
from webui.intake import Intake
from webui.jobs.estimates import Estimates
from webui.jobs.hub import Frame, Hub
from webui.jobs.memory import memory_json
from webui.jobs.outputs import Outputs
from webui.jobs.records import JobRecord, PictureRecord
from webui.jobs.saving import Saving
from webui.jobs.scheduler import Scheduler
from webui.jobs.store import ACTIVE, JobStore
from webui.jobs.strips import Frames, Strips
from webui.jobs.trainings import TrainingFolders
from webui.jobs.view import job_json, training_json
from webui.library import SHELVES, Passport, ShelfItem
from webui.lock import FolderLock
from webui.metadata import read, read_text
from webui.model_desk import ModelDesk
from webui.model_requests import MODEL_REQUESTS
from webui.options import Options, OptionsFile
from webui.presets import Presets
from webui.prompts import PromptDesk
from webui.request_base import Request
from webui.requests import REQUESTS, to_values
from webui.scripts.conductor import Parts
from webui.scripts.context import Contexts
from webui.scripts.runs import Runs
from webui.scripts.shelf import ScriptShelf
from webui.settings import Settings
from webui.train_names import TrainFolders, settle
from webui.train_requests import TRAIN_REQUESTS, TrainRequest
from webui.upscalers import SHELF as UPSCALERS
from webui.upscalers import upscaler_names
from webui.workers.engines import make_engine
from webui.workers.worker import NumberedEngineFactory

log = logging.getLogger(__name__)

SNAPSHOT_JOBS = 50
"""So many finished jobs are told to a page that opens, beside all that are not finished."""
MAX_KEY = 200


class App:
    """What the server does, without HTTP. `start` after construction, `close` at the end."""

    def __init__(self, settings: Settings, engine_factory: NumberedEngineFactory) -> None:
        self.settings = settings
        self.train_folders = train_folders(settings)
        self._lock = FolderLock(settings.data_dir)
        try:
            self.options = OptionsFile(settings.data_dir / "options.json")
            self.library = self.train_folders.library()
            self.store = JobStore(settings.database)
        except BaseException:
            self._lock.close()
            raise
        self.estimates, saving = Estimates(self.store), Saving(lambda: self.options.current)
        self.outputs = Outputs(settings.outputs_dir, settings.data_dir / "unsaved", self.store.names_of)
        self.strips = Strips(settings.data_dir / "strips", lambda: self.options.current.strip_megabytes)
        self.hub = Hub(self._snapshot)
        self.gallery = Gallery(
            settings.data_dir,
            settings.outputs_dir,
            known_id=self.store.picture_at,
            forget=self._forget_pictures,
            changed=lambda: self.hub.publish(None, "gallery"),
        )
        self.model_desk = ModelDesk(
            self.library, settings.models_dir, lambda: self.hub.publish(None, "models"), self._gallery_file
        )
        self.trainings = TrainingFolders(settings.trainings_dir)
        self.datasets = Datasets(self.train_folders)
        self.inputs = Inputs(settings.data_dir / "inputs")
        self.prompts = PromptDesk(settings.data_dir / "styles.csv", settings.wildcards_dir)
        self.presets = Presets(settings.data_dir / "presets.json")
        self.drafts = Drafts(settings.data_dir / "drafts")
        self.extensions = ExtensionDesk(
            shelf_of(settings), settings.models_dir, settings.data_dir / "extensions", changed=self._extensions_changed
        )
        self.intake = Intake(
            self.library, self.options, self.inputs, self.prompts, self.upscalers, self.extensions.checked
        )
        self._engines_may_start = threading.Event()
        self.scheduler = Scheduler(
            self.store,
            self.inputs,
            self.outputs,
            self.trainings,
            self.strips,
            self.hub,
            local_workers(settings, engine_factory, self._engines_may_start),
            announce_status=self._announce_status,
            models_changed=self.refresh_models,
            witness=self._witness,
            saving=saving,
        )
        contexts = Contexts(self.library, self.prompts, self.inputs, self.extensions, self.upscalers)
        parts = Parts(
            jobs=self.store, outputs=self.outputs, saving=saving, intake=self.intake,
            scripts=ScriptShelf(self.extensions, contexts), submit=self._submit_cell, read=self.picture_content,
            is_deleted=lambda name: name in self.gallery.trash.ids,
        )  # fmt: skip
        self.runs = Runs(parts, self.scheduler, self.hub, self.estimates)
        self.options.follow(self._options_changed)
        self._tune(self.options.current)

    def start(self, *, engines_wait: bool = False, warm_up: bool = True) -> None:
        """Go on where the last server stopped and start the engines; returns before they are ready.

        With `engines_wait` they start at the first job, or when `let_engines_start` is called; with `warm_up` they load
        the default checkpoint ahead of it.
        """
        self.outputs.sweep(self.store.has_picture_at)
        for record in self.store.recover():
            log.warning("job %s was running when Easel ended; it is now %s", record.id, record.state)
        self.trainings.sweep(self.store.is_over_for_good)
        self.datasets.sweep()
        self.inputs.sweep(self.store.named_pictures)
        self.extensions.sweep()
        self.gallery.start()
        self.scheduler.start()
        self.runs.start()
        if not engines_wait or self.store.count(JobState.QUEUED):
            self.let_engines_start()
        if warm_up:
            self._warm_up()

    def _warm_up(self) -> None:
        try:
            checkpoint = self.library.default(self.options.current.default_checkpoint).name
        except CheckpointError as error:
            log.warning("%s", error)
            return
        for worker in self.scheduler.workers:
            worker.warm_up(checkpoint)

    def let_engines_start(self) -> None:
        """Nothing that a person waits for needs the processor more than the engines' imports now."""
        self._engines_may_start.set()

    def close(self) -> None:
        """End everything; a running job goes on at the next start from its last state."""
        self.runs.close()
        self.scheduler.close()
        self.gallery.close()
        self.hub.close()
        self.store.close()
        self._lock.close()

    # Jobs.

    def submit(
        self, kind: str, values: Mapping[str, Any], *, key: str | None = None, styles: Sequence[str] = ()
    ) -> JobRecord:
        """Accept a job: what is not named comes from the checkpoint, then from the request's own defaults.

        It survives whatever happens once this returns. The same `key` again gives the same job. `styles` are put into
        its prompts now: a style that is changed later changes no job.
        Raises `InvalidRequest`, `UnknownName`, `CheckpointError`, or `Conflict` when there is a result of that name.
        """
        if kind not in REQUESTS:
            raise UnknownName("kind of job", kind, REQUESTS)
        if key is not None and not 0 < len(key) <= MAX_KEY:
            raise InvalidRequest("An idempotency key has 1 to {most} characters.", most=MAX_KEY)
        if key is not None and (known := self.store.job_of_key(key)) is not None:
            return known
        values = self.intake.styled(kind, values, styles)
        request = self._settled(kind, values)
        self.let_engines_start()
        return self.scheduler.submit(kind, to_values(request), key)

    def _submit_cell(self, kind: str, values: Mapping[str, Any], key: str) -> JobRecord:
        self.let_engines_start()
        return self.scheduler.submit(kind, values, key)

    def _settled(self, kind: str, values: Mapping[str, Any]) -> Request:
        if kind in TRAIN_REQUESTS:
            return self._training(kind, values)
        return self.model_desk.settle(kind, values) if kind in MODEL_REQUESTS else self.intake.request(kind, values)

    def _training(self, kind: str, values: Mapping[str, Any]) -> TrainRequest:
        preferred = self.options.current.default_checkpoint
        request = settle(kind, values, self.train_folders, self.library, preferred)
        for record in self.store.jobs(ACTIVE, limit=1000, training=True):
            other = record.request
            if isinstance(other, TrainRequest) and other.result == request.result:
                raise Conflict(
                    "Another training is going to make {result}. Choose another name.", result=request.result
                )
        return request

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as JSON. Raises `NotFound`."""
        return self._as_json([self.store.job(job_id)])[0]

    def jobs(
        self, states: Collection[JobState] | None = None, limit: int = 100, *, training: bool | None = None
    ) -> list[dict[str, Any]]:
        """Jobs as JSON, newest first; of every state when none is named, pictures and trainings unless one is asked."""
        return self._as_json(self.store.jobs(states or (), limit, training=training))

    def jobs_named(self, ids: Collection[str]) -> list[dict[str, Any]]:
        """Those of the named jobs that exist, as JSON, newest first."""
        return self._as_json(self.store.jobs_named(ids))

    def signal(self, job_id: str, signal: Signal) -> JobRecord:
        """Cancel, skip or pause. Raises `NotFound`, or `Conflict` when the job is past it."""
        return self.scheduler.signal(job_id, signal)

    def resume(self, job_id: str) -> JobRecord:
        """Raises `NotFound`, or `Conflict` when the job is not paused."""
        return self.scheduler.resume(job_id)

    def move(self, job_id: str, before: str | None) -> JobRecord:
        """Change a waiting job's place in the queue. Raises `NotFound` or `Conflict`."""
        return self.scheduler.move(job_id, before)

    def estimate(self, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """{"seconds", "memory"} of the job here, each null when unknown. Raises what `submit` raises."""
        asked = to_values(self.intake.request(kind, values))
        infos = [info for worker in self.scheduler.workers if (info := worker.status().info) is not None]
        memory = memory_json(asked, self.library, infos[0]) if infos else None
        return {"seconds": self.estimates.seconds(kind, asked), "memory": memory}

    def check(self, kind: str, values: Mapping[str, Any], styles: Sequence[str] = ()) -> None:
        """Raises what `submit` would raise, and makes no job."""
        if kind not in REQUESTS:
            raise UnknownName("kind of job", kind, REQUESTS)
        self._settled(kind, self.intake.styled(kind, values, styles))

    def take_up_again(self, job_id: str) -> JobRecord:
        """A new training that goes on where a failed one stopped. Raises `NotFound` or `Conflict`."""
        return self.scheduler.take_up_again(job_id)

    def training(self, job_id: str, most: int) -> dict[str, Any]:
        """Loss curve (at most `most` points) and sample pictures of a training as JSON. Raises `NotFound`."""
        return training_json(self.trainings, self.store.job(job_id).id, most)

    def sample(self, job_id: str, step: int) -> bytes:
        """A sample picture of a training, JPEG. Raises `NotFound`."""
        return self.trainings.sample(self.store.job(job_id).id, step)

    def delete_dataset(self, name: str) -> None:
        """Raises `UnknownName`, or `Conflict` while a training needs it."""
        for record in self.store.jobs(ACTIVE, limit=1000, training=True):
            if record.values.get("dataset") == name:
                raise Conflict("The training '{training}' needs this dataset. Stop it first.", training=record.summary)
        self.datasets.delete(name)

    def models(self) -> Mapping[str, Mapping[str, Passport | ShelfItem]]:
        """Every model by shelf and name."""
        others = {shelf: self.library.shelf(shelf) for shelf in SHELVES if shelf != "checkpoints"}
        return {"checkpoints": self.library.passports(), **others}

    def upscalers(self) -> tuple[str, ...]:
        """Everything that can be named as an upscaler, as it lies in the models folders now."""
        return upscaler_names(self.library.shelf(UPSCALERS, again=True))

    def _witness(self, record: JobRecord, event: Event) -> None:
        """What a running job tells of extensions."""
        match event:
            case Warning(text=text, extension=name) if name:
                self.extensions.failed(name, text)
            case Done(timings=timings) if not record.training:
                self.extensions.measure(timings, record.request.pictures)

    def _options_changed(self, options: Options) -> None:
        self._tune(options)
        self.hub.publish(None, "options", options=options.for_page())

    def _tune(self, options: Options) -> None:
        tuning = Tuning(model_memory=options.model_memory / 100, preview_every=options.preview_every)
        for worker in self.scheduler.workers:
            worker.tune(tuning)

    def _extensions_changed(self) -> None:
        self.hub.publish(None, "extensions")

    def refresh_models(self) -> None:
        """Look at the models folder again and tell every page."""
        self.library.refresh()
        self.hub.publish(None, "models")

    def picture(self, picture_id: str) -> PictureRecord:
        """Raises `NotFound`."""
        return self.store.picture(picture_id)

    def strip(self, picture_id: str) -> Frames:
        """The previews of a picture's steps; empty where none were kept, also for pictures that nobody knows."""
        try:
            return self.strips.frames(self.store.picture(picture_id).id)
        except NotFound:
            return {}

    def _forget_pictures(self, ids: list[str]) -> None:
        self.store.forget_pictures(ids)
        self.strips.forget(ids)

    def picture_content(self, picture: PictureRecord) -> bytes:
        """The PNG, wherever it is kept or was moved to. Raises `NotFound` when its file was removed."""
        try:
            return self.gallery.content(picture.id)  # first, as another picture may lie where it was saved
        except (NotFound, CannotSaveGallery):
            return self.outputs.read(picture.path)

    def picture_info(self, source: Path) -> dict[str, Any]:
        """What a picture file says about itself as JSON. Raises `InvalidRequest` when it is none that can be read."""
        return picture_info(read(source), self.library.passports())

    def gallery_info(self, entry: Entry) -> dict[str, Any]:
        """The same of a picture of the gallery; a format without metadata says nothing. Raises `NotFound`."""
        path = self.gallery.path(entry)
        try:
            return self.picture_info(path)
        except InvalidRequest:
            return picture_info(read_text(""), ())

    def _gallery_file(self, picture_id: str) -> Path:
        return self.gallery.path(self.gallery.one(picture_id))

    def text_info(self, text: str) -> dict[str, Any]:
        """What an infotext says, as JSON."""
        return text_info(text, self.library.passports())

    def status(self) -> dict[str, Any]:
        """State of engine and queue."""
        return status_json(self.scheduler.workers, self.store)

    def _as_json(self, records: Sequence[JobRecord]) -> list[dict[str, Any]]:
        pictures = self.store.pictures_of([record.id for record in records])
        deleted = self.gallery.trash.ids
        return [
            job_json(
                record,
                [picture for picture in pictures[record.id] if picture.id not in deleted],
                ahead=self.store.jobs_ahead(record),
                live=self.scheduler.live(record),
                aside=self.scheduler.is_aside(record),
                estimate=self.estimates.of(record),
            )
            for record in records
        ]

    def _announce_status(self) -> None:
        self.hub.publish(None, "status", **self.status())

    def _snapshot(self) -> Frame:
        records = [*self.store.jobs(ACTIVE, limit=1000), *self.store.jobs(_FINAL, limit=SNAPSHOT_JOBS)]
        records.sort(key=lambda record: -record.number)
        return {"jobs": self._as_json(records), "status": self.status()}


_FINAL = tuple(state for state in JobState if state.is_final)


def train_folders(settings: Settings) -> TrainFolders:
    return TrainFolders(
        models=settings.models_dir,
        datasets=settings.datasets_dir,
        trainings=settings.trainings_dir,
        extra_models=settings.extra_models,
        model_index=settings.model_index,
    )


def create_app(settings: Settings, *, engine_factory: NumberedEngineFactory | None = None) -> App:
    """Build the app. `engine_factory`, picklable, replaces the real engine. Raises `CannotStart`."""
    return App(
        settings,
        engine_factory or functools.partial(make_engine, train_folders(settings), settings.device, shelf_of(settings)),
    )
