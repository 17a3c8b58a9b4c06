"""What people do with runs: plan, submit, look at, pause, resume, cancel; and the thread that moves them on.

A run is moved on when one of its jobs is over, which the hub tells. How far it is, and what follows, is known to the
store and the conductor.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError

from webui.contract import Signal
from webui.errors import Conflict, InvalidRequest, NotFound, UnknownName, UserError
from webui.events import JobState
from webui.jobs.estimates import Estimates
from webui.jobs.hub import ENDING, Frame, Hub, Subscription
from webui.jobs.records import JobRecord
from webui.jobs.scheduler import Scheduler
from webui.request_base import Request
from webui.requests import REQUESTS, PictureRequest, to_values
from webui.script import Cell, check_count
from webui.scripts.conductor import Conductor, Parts
from webui.scripts.context import NOT_YET
from webui.scripts.records import CellRecord, RunRecord, RunState
from webui.scripts.shelf import AnyScript
from webui.scripts.store import ACTIVE, NewCell, NewRun, RunStore
from webui.scripts.view import plan_json, run_json
from webui.sentences import Sentence

log = logging.getLogger(__name__)

SECONDS_BETWEEN_ATTEMPTS = 2.0
"""While a full disk keeps a run from going on."""
PAUSE_AFTER_DEFECT = 0.2
FULL = 507
"""Status of the errors that say that a disk is full: what met one is tried again."""
NEWEST = 50
"""Runs that are looked at for what an earlier server did not get round to."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person asks for."""

    script: str
    kind: str
    values: Mapping[str, Any]
    options: Mapping[str, Any]
    styles: Sequence[str] = ()


class Runs:
    """`start` after construction, `close` at the end. Safe to use from any thread."""

    def __init__(self, parts: Parts, scheduler: Scheduler, hub: Hub, estimates: Estimates) -> None:
        self._store, self._parts = RunStore(parts.jobs), parts
        self._scheduler, self._hub, self._estimates = scheduler, hub, estimates
        self._conductor = Conductor(self._store, parts)
        self._lock = threading.RLock()
        """Over everything that changes a run."""
        self._closing = threading.Event()
        self._has_trouble = False
        """Whether a full disk has kept a run from going on."""
        self._pausing: set[str] = set()
        """Jobs of resumed runs that were still about to pause: they are resumed as soon as they have paused."""
        self._subscription: Subscription | None = None
        self._thread = threading.Thread(target=self._follow, name="runs of scripts", daemon=True)

    @property
    def scripts(self) -> list[dict[str, Any]]:
        """Every script as JSON."""
        return self._parts.scripts.listed()

    def start(self) -> None:
        """Move on what an earlier server has left."""
        self._subscription = self._hub.subscribe()
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._subscription is not None:
            self._subscription.close()
            self._thread.join(5.0)

    # What people do.

    def fill(self, script: str, kind: str, option: str, options: Mapping[str, Any]) -> str:
        """The value of an option that names everything possible. Raises `UnknownName` or `InvalidRequest`."""
        made = self._parts.scripts.make(script, kind, options, open_seed=False)
        if option not in made.fillable:
            raise UnknownName("option", option, made.fillable)
        return self._guarded(script, lambda: made.fill(option, kind))

    def plan(self, asked: Asked) -> dict[str, Any]:
        """What a run would make, as JSON: cells, pictures, seconds as far as that is known. Raises what `submit` does.

        A picture that is not uploaded yet may be missing in the values. Where all depends on it, all is None.
        """
        request, open_seed = self._request(asked, is_draft=True)
        script = self._parts.scripts.make(asked.script, asked.kind, asked.options, open_seed=open_seed, is_plan=True)
        try:
            cells, count = self._guarded(asked.script, lambda: self._planned(script, request))
            return plan_json(request, cells, count, self._estimates)
        except NotFound:
            if NOT_YET not in request.inputs:
                raise
            return {"cells": None, "pictures": None, "seconds": None}

    def submit(self, asked: Asked, *, key: str | None = None) -> RunRecord:
        """Accept a run; it survives whatever happens once this returns. The same `key` again gives the same run.

        Raises `InvalidRequest`, `UnknownName` and whatever the script has to say, for every cell of its first round.
        """
        if key is not None and (known := self._store.run_of_key(key)) is not None:
            return known
        request, open_seed = self._request(asked)
        script = self._parts.scripts.make(asked.script, asked.kind, asked.options, open_seed=open_seed)
        new, cells = self._guarded(asked.script, lambda: self._begun(asked, script, request, open_seed))
        with self._lock:
            run = self._store.add(new, cells, key)
            log.info("run %s: %s, %d cells or more", run.id, run.script, len(cells))
            self._advance(run)
        return run

    def pause(self, run_id: str) -> RunRecord:
        """Put all of it aside. Raises `NotFound`, or `Conflict` when it does not run."""
        return self._tell(run_id, (RunState.RUNNING,), RunState.PAUSED, Signal.PAUSE)

    def cancel(self, run_id: str) -> RunRecord:
        """Stop all of it; finished pictures stay. Raises `NotFound`, or `Conflict` when it is over."""
        return self._tell(run_id, ACTIVE, RunState.CANCELLED, Signal.CANCEL)

    def resume(self, run_id: str) -> RunRecord:
        """Go on, before everything that waits. Raises `NotFound`, or `Conflict` when it is not paused."""
        with self._lock:
            run = self._changed(run_id, (RunState.PAUSED,), RunState.RUNNING)
            for job in reversed(self._active_jobs(run_id)):  # each goes to the front of the queue
                self._resume_job(job.id)
            self._advance(run)
        return run

    # What it looks like.

    def one(self, run_id: str) -> dict[str, Any]:
        """As JSON, with its cells. Raises `NotFound`."""
        return self._json(self._store.run(run_id))

    def listed(self, states: Sequence[RunState] = (), limit: int = 20) -> list[dict[str, Any]]:
        """Newest first; of every state when none is named."""
        return [self._json(run) for run in self._store.runs(states, limit)]

    # Inside.

    def _request(self, asked: Asked, *, is_draft: bool = False) -> tuple[PictureRequest, bool]:
        """The request that the cells are made of, and whether its seed was left open."""
        if asked.kind not in REQUESTS or not issubclass(REQUESTS[asked.kind], PictureRequest):
            raise InvalidRequest("A script makes pictures: {kind} is no kind of picture.", kind=asked.kind[:80])
        values = self._parts.intake.styled(asked.kind, asked.values, asked.styles)
        if is_draft and asked.kind != "txt2img":
            values = {"image": NOT_YET, **values}
        request = self._parts.intake.request(asked.kind, values, is_draft=is_draft)
        assert isinstance(request, PictureRequest)
        # Each cell draws its own words: what was drawn here has only shown that it can be.
        return replace(request, wordings={}), int(values.get("seed", -1)) < 0

    @staticmethod
    def _planned(script: AnyScript, request: Request) -> tuple[list[Cell], int]:
        """The first cells of a run, and how many there will be. Raises `InvalidRequest` for too many."""
        cells, count = list(script.following(request, ())), script.count(request)
        check_count(max(len(cells), count))
        return cells, count

    def _begun(
        self, asked: Asked, script: AnyScript, request: Request, open_seed: bool
    ) -> tuple[NewRun, list[NewCell]]:
        planned, count = self._planned(script, request)
        cells = self._conductor.checked(planned)
        if not cells:
            raise InvalidRequest("There is nothing to make: the script names no picture at all.")
        known = self._parts.scripts.find(asked.script)
        new = NewRun(
            script=known.name, title=known.title, kind=asked.kind, values=to_values(request),
            options=dict(asked.options), open_seed=open_seed, total=max(len(cells), count),
            columns=script.columns(request),
        )  # fmt: skip
        return new, cells

    def _guarded(self, script: str, ask: Callable[[], Answer]) -> Answer:
        """A script is somebody else's program: whatever it ends with is told in words.

        Values that it cannot make a request of are the fault of who asks: they are never held against the script.
        """
        try:
            return ask()
        except UserError:
            raise
        except (ValidationError, OverflowError) as error:
            log.info("script %s was given impossible values", script, exc_info=True)
            raise InvalidRequest(
                "The script can make no pictures with these values: {reason}", reason=str(error)[:200]
            ) from error
        except Exception as error:
            log.exception("script %s failed", script)
            raise self._parts.scripts.guard(script, error) from error

    def _resume_job(self, job_id: str) -> None:
        try:
            self._scheduler.resume(job_id)
        except Conflict:  # it waits already, or runs and has not answered yet to what it was told
            if self._parts.jobs.job(job_id).state is JobState.RUNNING:
                self._pausing.add(job_id)

    def _tell(self, run_id: str, when: Sequence[RunState], state: RunState, signal: Signal) -> RunRecord:
        with self._lock:
            run = self._changed(run_id, when, state)
            self._signal_all(run_id, signal)
            self._announce(run)
        log.info("run %s %s", run.id, run.state)
        return run

    def _signal_all(self, run_id: str, signal: Signal) -> None:
        for job in self._active_jobs(run_id):
            with suppress(Conflict):  # it is over by now
                self._scheduler.signal(job.id, signal)

    def _changed(self, run_id: str, when: Sequence[RunState], state: RunState) -> RunRecord:
        run = self._store.change(run_id, when, state)
        if run is None:
            told = Sentence(self._store.run(run_id).state.value)
            raise Conflict("This run is {state}.", state=told)
        return run

    def _active_jobs(self, run_id: str) -> list[JobRecord]:
        """In the order in which they were submitted."""
        jobs = self._jobs_of(self._store.cells(run_id))
        return sorted((job for job in jobs.values() if not job.state.is_final), key=lambda job: job.number)

    def _jobs_of(self, cells: Sequence[CellRecord]) -> dict[str, JobRecord]:
        ids = [cell.job_id for cell in cells if cell.job_id]
        groups = [ids[start : start + 500] for start in range(0, len(ids), 500)]
        return {job.id: job for group in groups for job in self._parts.jobs.jobs_named(group)}

    def _json(self, run: RunRecord) -> dict[str, Any]:
        cells = self._store.cells(run.id)
        jobs = self._jobs_of(cells)
        found = self._parts.jobs.pictures_of(list(jobs))
        pictures = {
            job: [picture for picture in mine if not self._parts.is_deleted(picture.id)] for job, mine in found.items()
        }
        made = [picture for picture in self._store.pictures(run.id) if not self._parts.is_deleted(picture.id)]
        return run_json(run, cells, jobs, pictures, made, self._estimates)

    def _announce(self, run: RunRecord) -> None:
        self._hub.publish(None, "run", run=run.id, state=run.state.value)

    # The thread.

    def _follow(self) -> None:
        self._try(self._settle)
        while not self._closing.is_set() and self._subscription is not None:
            self._try(partial(self._listen, self._subscription))

    def _listen(self, subscription: Subscription) -> None:
        frame = subscription.get(SECONDS_BETWEEN_ATTEMPTS)
        if frame is not None or self._has_trouble:
            self._take(frame)

    def _try(self, step: Callable[[], None]) -> None:
        """What fails must not end the thread."""
        try:
            step()
        except Exception as error:
            if isinstance(error, UserError) and error.status == FULL:
                log.error("%s", error)
                self._has_trouble = True
            else:  # a defect of ours
                log.exception("a run could not be moved on")
                self._closing.wait(PAUSE_AFTER_DEFECT)

    def _settle(self) -> None:
        """Move on what an earlier server has left, and tell the jobs of its other runs what they were not told."""
        for state, signal in ((RunState.PAUSED, Signal.PAUSE), (RunState.CANCELLED, Signal.CANCEL)):
            for run in self._store.runs((state,), NEWEST):
                self._signal_all(run.id, signal)
        for run in self._store.runs((RunState.RUNNING,), NEWEST):
            self._pausing |= {job.id for job in self._active_jobs(run.id) if job.state is JobState.PAUSED}
        self._advance_all()

    def _take(self, frame: Frame | None) -> None:
        if frame is None or frame["kind"] == "snapshot":  # frames were missed, or it is time to try again
            self._advance_all()
        elif frame["kind"] in ENDING and frame["job"] is not None:
            run_id = self._store.run_of_job(frame["job"])
            if run_id is not None:
                self._move_on(run_id)
        elif frame["kind"] == "paused":
            self._resume_late()

    def _resume_late(self) -> None:
        """Jobs that paused only after their run had been resumed."""
        with self._lock:
            for job in self._parts.jobs.jobs_named(sorted(self._pausing)):
                run_id = self._store.run_of_job(job.id)
                if job.state is JobState.PAUSED and run_id is not None:
                    if self._store.run(run_id).state is RunState.RUNNING:
                        self._scheduler.resume(job.id)
                    self._pausing.discard(job.id)
                elif job.state.is_final:
                    self._pausing.discard(job.id)

    def _advance_all(self) -> None:
        self._has_trouble = False
        self._try(self._resume_late)
        for run in reversed(self._store.runs((RunState.RUNNING,), 1000)):
            self._try(partial(self._move_on, run.id))  # one that cannot go on keeps no other from it

    def _move_on(self, run_id: str) -> None:
        with self._lock:
            run = self._store.run(run_id)
            if run.state is RunState.RUNNING and not self._closing.is_set():
                self._advance(run)
            else:
                self._announce(run)

    def _advance(self, run: RunRecord) -> None:
        try:
            self._conductor.advance(run)
        except UserError as error:
            if error.status != FULL:
                raise
            log.error("%s", error)
            self._has_trouble = True  # the thread tries again
        finally:
            self._announce(self._store.run(run.id))
