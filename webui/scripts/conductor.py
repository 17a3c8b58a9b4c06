"""Moves one run on as far as it can go now: its next cells into the queue, its next round, its pictures at the end.

Everything is read from the store and written to it before anything follows from it, so a run that was killed anywhere
is moved on from there: a cell's job is submitted under a key of its own, and a picture that is there is not made again.
"""

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from PIL import Image

from webui import __version__
from webui.errors import InvalidRequest, NotFound, UserError
from webui.events import Image as Picture
from webui.events import JobState
from webui.inputs import Inputs
from webui.intake import Intake
from webui.jobs.outputs import Outputs
from webui.jobs.records import JobRecord, PictureRecord
from webui.jobs.saving import Saving
from webui.jobs.store import MAX_CRASHES, JobStore
from webui.metadata import encode_png, generation_parameters, infotext
from webui.requests import PictureRequest, to_values
from webui.script import Cell, Composed, Finished, Made, check_count
from webui.scripts.records import CellRecord, RunRecord, RunState
from webui.scripts.shelf import AnyScript, ScriptShelf
from webui.scripts.store import NewCell, RunStore
from webui.sentences import Sentence

log = logging.getLogger(__name__)

IN_QUEUE = 4
"""Cells of a run that stand in the queue at once: what others ask for meanwhile waits for these and no more."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What runs stand on."""

    jobs: JobStore
    outputs: Outputs
    saving: Saving
    intake: Intake
    scripts: ScriptShelf
    submit: Callable[[str, Mapping[str, Any], str], JobRecord]
    """Puts a resolved request into the queue; with the same key it is the same job."""
    read: Callable[[PictureRecord], bytes]
    """The PNG, wherever it was moved to. Raises `NotFound`."""
    is_deleted: Callable[[str], bool]
    """Whether a picture lies in the trash, by its id."""


class Conductor:
    """Used by one thread at a time."""

    def __init__(self, store: RunStore, parts: Parts) -> None:
        self._store, self._parts = store, parts

    def advance(self, run: RunRecord) -> RunState:
        """The state that the run is in afterwards. Raises `CannotStore` or `CannotSave` when it must be tried again."""
        while run.state is RunState.RUNNING:
            cells = self._store.cells(run.id)
            jobs = self._jobs(cells)
            waiting = [cell for cell in cells if cell.job_id is None]
            active = sum(not job.state.is_final for job in jobs.values())
            if waiting:
                if active >= IN_QUEUE:
                    break
                self._queue(run, waiting[: IN_QUEUE - active])
            elif active:
                break
            else:
                run = self._next_round(run, cells, jobs)
        return run.state

    def checked(self, cells: Sequence[Cell]) -> list[NewCell]:
        """What a script has asked for, looked up and complete. Raises `UserError`."""
        return [self._checked(cell) for cell in cells]

    def finished(self, cells: Sequence[CellRecord]) -> list[Finished]:
        """The cells with what became of them; all are over."""
        pictures = self._parts.jobs.pictures_of([cell.job_id for cell in cells if cell.job_id])
        return [
            Finished(
                cell=Cell(request=cell.request, label=cell.label, place=cell.place),
                pictures=tuple(self._made(picture) for picture in pictures.get(cell.job_id or "", ())),
            )
            for cell in cells
        ]

    def _jobs(self, cells: Sequence[CellRecord]) -> dict[str, JobRecord]:
        ids = [cell.job_id for cell in cells if cell.job_id]
        groups = [ids[start : start + 500] for start in range(0, len(ids), 500)]
        return {job.id: job for group in groups for job in self._parts.jobs.jobs_named(group)}

    def _queue(self, run: RunRecord, cells: Sequence[CellRecord]) -> None:
        for cell in cells:
            job = self._parts.submit(cell.kind, cell.values, f"run {run.id} {cell.number}")
            self._store.set_job(cell, job.id)

    def _next_round(self, run: RunRecord, cells: Sequence[CellRecord], jobs: Mapping[str, JobRecord]) -> RunRecord:
        try:
            script = self._parts.scripts.make(run.script, run.kind, run.options, open_seed=run.open_seed)
            finished = self.finished(cells)
            following = script.following(run.request, finished)
            if following:
                check_count(len(cells) + len(following))
                self._store.add_cells(run.id, self.checked(following))
                return run
            if not any(cell.pictures for cell in finished):
                return self._failed(run, *_why(jobs))
            self._compose(run, script, finished)
        except UserError as error:
            if error.status == 507:  # a full disk: later
                raise
            return self._failed(run, error.kind, error.sentence)
        except Exception as error:  # a script is somebody else's program
            log.exception("run %s: its script failed", run.id)
            told = self._parts.scripts.guard(run.script, error)
            return self._failed(run, told.kind, told.sentence)
        return self._store.change(run.id, (RunState.RUNNING,), RunState.DONE) or self._store.run(run.id)

    def _failed(self, run: RunRecord, error: str, text: Sentence) -> RunRecord:
        log.info("run %s failed: %s", run.id, error)
        changed = self._store.change(run.id, (RunState.RUNNING,), RunState.FAILED, error=error, text=text)
        return changed or self._store.run(run.id)

    def _checked(self, cell: Cell) -> NewCell:
        kind = cell.request.kind
        values = to_values(cell.request)
        values.pop("wordings", None)  # drawn for each cell by its own seed
        request = self._parts.intake.request(kind, values)
        return NewCell(place=cell.place, label=cell.label[:1000], kind=kind, values=to_values(request))

    def _made(self, picture: PictureRecord) -> Made:
        return Made(seed=picture.seed, width=picture.width, height=picture.height, open=partial(self._open, picture))

    def _open(self, picture: PictureRecord) -> Image.Image:
        if self._parts.is_deleted(picture.id):
            raise NotFound("A picture of this run has been deleted.")
        return open_png(self._parts.read(picture))

    def _compose(self, run: RunRecord, script: AnyScript, finished: Sequence[Finished]) -> None:
        """Save what the script makes of its cells; what was saved before the server was killed is there."""
        if self._store.begin_composing(run.id) >= MAX_CRASHES:
            raise InvalidRequest(
                "Easel ended twice while it put this run's pictures together, and does not try again. The pictures of "
                "its cells are in the gallery."
            )
        there = len(self._store.pictures(run.id))
        try:
            for number, composed in enumerate(script.compose(run.request, finished)):
                if number >= there:
                    self._save(run, number, composed, self._model_hash(run))
        finally:  # whatever happens now, the server is there to see it
            self._store.end_composing(run.id)

    def _save(self, run: RunRecord, number: int, composed: Composed, model_hash: str) -> None:
        request = composed.request or run.request
        assert isinstance(request, PictureRequest), "scripts are asked for pictures"
        extra = {"Script": run.title, **composed.told}
        text = infotext(request, 0, model_hash=model_hash, version=__version__, extra=extra)
        png, size = encode_png(composed.image, request, 0, text), composed.image.size
        image = Picture(
            picture=number, seed=request.seed, width=size[0], height=size[1], png=png, parameters=text
        )  # fmt: skip
        finished = self._parts.saving.saved(to_values(request), image, started=run.created)
        if finished.warning is not None:
            log.warning("run %s: %s", run.id, finished.warning)
        record = partial(self._store.add_picture, run.id, number, seed=request.seed, size=size, parameters=text)
        self._parts.outputs.save(finished.content, finished.place, record)

    def _model_hash(self, run: RunRecord) -> str:
        """As the engine has written it into the cells' pictures."""
        ids = [cell.job_id for cell in self._store.cells(run.id) if cell.job_id]
        texts = (picture.parameters for found in self._parts.jobs.pictures_of(ids).values() for picture in found)
        known = (generation_parameters(text) for text in texts)
        return next((str(fields["Model hash"]) for fields in known if "Model hash" in fields), "")


def open_png(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGB")


def keep_picture(inputs: Inputs, image: Image.Image) -> str:
    """Keep a picture as if it were uploaded. Raises `CannotSaveInput`."""
    with inputs.upload() as path:
        image.save(path, "PNG", compress_level=1)
        return inputs.receive(path).id


def _why(jobs: Mapping[str, JobRecord]) -> tuple[str, Sentence]:
    """Of a run in which nothing was made: what the first failed job says."""
    for job in jobs.values():
        if job.state is JobState.FAILED and job.text is not None:
            return job.error or "JobFailed", Sentence("Not one picture was made. {reason}", reason=job.text)
    return "JobFailed", Sentence("Not one picture was made: all of them were cancelled.")
