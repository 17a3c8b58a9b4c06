"""The job store: every accepted job, its state and its pictures, in SQLite. What it holds is the truth.

A job's life is written here and nowhere else; a final state never changes again. Transactions are the business of
`database.py`, opening and upgrading the file that of `schema.py`, pictures' files that of `outputs.py`. Safe to use
from any thread.
"""

import json
import re
import secrets
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from webui.contract import Signal
from webui.errors import EngineDied, NotFound
from webui.events import Image, JobState
from webui.jobs.database import Database
from webui.jobs.records import JobRecord, PictureRecord
from webui.sentences import Sentence
from webui.train_requests import TRAIN_REQUESTS

MAX_CRASHES = 2
"""A job that brought the engine or the server down this often is not tried again."""

PICTURE_ID = re.compile(r"[0-9a-f]{32}")

FAILED_KEPT_SECONDS = 30 * 24 * 3600.0
"""How long the state of a failed training is kept, for somebody to go on from it."""

ACTIVE = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)


class JobStore(Database):
    """Jobs and their pictures in the database."""

    # Jobs come in.

    def submit(self, kind: str, values: Mapping[str, Any], key: str | None = None) -> tuple[JobRecord, bool]:
        """Append a job to the queue; on disk when this returns. With a known `key`: that job and False."""
        with self.write() as sql:
            if key is not None:
                row = sql.execute("SELECT * FROM jobs WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    return _job(row), False
            row = sql.execute(
                "INSERT INTO jobs (id, kind, request, state, training, position, created, key) "
                "VALUES (?, ?, ?, ?, ?, (SELECT coalesce(max(position), 0) + 1 FROM jobs), ?, ?) RETURNING *",
                (new_id(), kind, json.dumps(dict(values)), JobState.QUEUED, kind in TRAIN_REQUESTS, time.time(), key),
            ).fetchone()
            return _job(row), True

    def job_of_key(self, key: str) -> JobRecord | None:
        row = self.one("SELECT * FROM jobs WHERE key = ?", (key,))
        return None if row is None else _job(row)

    def recover(self) -> list[JobRecord]:
        """Put jobs that a dead server left running back in the queue, and return them.

        They keep their place and their engine state. One that went down for the second time has failed; one that had
        been told to stop or to pause has done so.
        """
        with self.write() as sql:
            rows = sql.execute("SELECT id, told FROM jobs WHERE state = ?", (JobState.RUNNING,)).fetchall()
            return [self._recover(row["id"], row["told"]) for row in rows]

    def _recover(self, job_id: str, told: str | None) -> JobRecord:
        match told:
            case Signal.CANCEL:
                record = self.finish(job_id, JobState.CANCELLED)
            case Signal.PAUSE:
                record = self.pause(job_id, when=JobState.RUNNING)
            case _:
                record = self.crashed(job_id, EngineDied(None))
        assert record is not None, "it was running in this transaction"
        return record

    # Jobs are looked at.

    def job(self, job_id: str) -> JobRecord:
        """Raises `NotFound`."""
        row = self.one("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise NotFound("There is no job '{id}'.", id=job_id[:80])
        return _job(row)

    def jobs(
        self, states: Collection[JobState] = (), limit: int = 100, *, training: bool | None = None
    ) -> list[JobRecord]:
        """Newest first; of every state when none is named, of both sorts unless `training` says which."""
        wanted = tuple(states) or tuple(JobState)
        sorts = (False, True) if training is None else (training,)
        marks, sort_marks = ", ".join("?" * len(wanted)), ", ".join("?" * len(sorts))
        rows = self.all(
            f"SELECT * FROM jobs WHERE state IN ({marks}) AND training IN ({sort_marks}) ORDER BY number DESC LIMIT ?",
            (*wanted, *sorts, max(0, limit)),
        )
        return [_job(row) for row in rows]

    def jobs_named(self, ids: Collection[str]) -> list[JobRecord]:
        """Those of the named jobs that exist, newest first."""
        marks = ", ".join("?" * len(ids))
        return [
            _job(row) for row in self.all(f"SELECT * FROM jobs WHERE id IN ({marks}) ORDER BY number DESC", tuple(ids))
        ]

    def named_pictures(self) -> set[str]:
        """Ids of all uploaded pictures that requests name, of finished jobs, runs and cells that wait too."""
        rows = self.all(
            "SELECT request FROM jobs UNION ALL SELECT request FROM runs "
            "UNION ALL SELECT request FROM cells WHERE job_id IS NULL",
            (),
        )
        return {found for row in rows for found in PICTURE_ID.findall(row["request"])}

    def queue(self, limit: int) -> list[JobRecord]:
        """The next jobs to run, first first: trainings take hours and come after all pictures."""
        rows = self.all(
            "SELECT * FROM jobs WHERE state = ? ORDER BY training, position, number LIMIT ?", (JobState.QUEUED, limit)
        )
        return [_job(row) for row in rows]

    def jobs_ahead(self, record: JobRecord) -> int:
        """How many queued jobs come before this one; 0 for a job that is not queued."""
        if record.state is not JobState.QUEUED:
            return 0
        row = self.one(
            "SELECT count(*) FROM jobs WHERE state = ? AND (training, position, number) < (?, ?, ?)",
            (JobState.QUEUED, record.training, record.position, record.number),
        )
        return int(row[0]) if row else 0

    def is_over_for_good(self, job_id: str) -> bool:
        """Whether a training will never go on. A failed one may be taken up again for some time."""
        try:
            record = self.job(job_id)
        except NotFound:  # of another database: what is in the folder may be worth a lot to somebody
            return False
        is_forgotten = record.finished is not None and time.time() - record.finished > FAILED_KEPT_SECONDS
        return record.state in (JobState.DONE, JobState.CANCELLED) or (record.state is JobState.FAILED and is_forgotten)

    def count(self, state: JobState) -> int:
        row = self.one("SELECT count(*) FROM jobs WHERE state = ?", (state,))
        return int(row[0]) if row else 0

    def last_done(self) -> float:
        """When the last job was done; 0 when none was."""
        row = self.one("SELECT max(finished) FROM jobs WHERE state = ?", (JobState.DONE,))
        return float(row[0] or 0.0) if row else 0.0

    def engine_state(self, job_id: str) -> bytes | None:
        """The last state the engine gave for this job, to go on from."""
        row = self.one("SELECT state FROM states WHERE job_id = ?", (job_id,))
        return bytes(row["state"]) if row else None

    # Jobs change state. Each returns the row as it is now, or None when the job was not in a state that allows it.

    def claim(self, job_id: str) -> JobRecord | None:
        """queued -> running."""
        return self._change(
            job_id,
            (JobState.QUEUED,),
            "state = 'running', attempts = attempts + 1, started = coalesce(started, ?), told = NULL",
            (time.time(),),
        )

    def requeue(self, job_id: str, engine_state: bytes | None = None) -> JobRecord | None:
        """running -> queued at its old place, through no fault of its own."""
        with self.write():
            self._keep_state(job_id, engine_state)
            return self._change(job_id, (JobState.RUNNING,), "state = 'queued'")

    def crashed(self, job_id: str, error: EngineDied, engine_state: bytes | None = None) -> JobRecord:
        """running -> queued after the first crash, failed after the second without a new picture."""
        with self.write():
            record = self.job(job_id)
            if record.crashes + 1 >= MAX_CRASHES:
                failed = self._change(job_id, (JobState.RUNNING,), "crashes = crashes + 1")
                return self.finish(job_id, JobState.FAILED, error=error.kind, text=error.sentence) or failed or record
            self._keep_state(job_id, engine_state)
            queued = self._change(job_id, (JobState.RUNNING,), "state = 'queued', crashes = crashes + 1")
            return queued or record

    def pause(self, job_id: str, engine_state: bytes | None = None, *, when: JobState) -> JobRecord | None:
        """`when` -> paused."""
        with self.write():
            self._keep_state(job_id, engine_state)
            return self._change(job_id, (when,), "state = 'paused'")

    def resume(self, job_id: str) -> JobRecord | None:
        """paused -> queued, before all others."""
        return self._change(
            job_id,
            (JobState.PAUSED,),
            "state = 'queued', position = (SELECT coalesce(min(position), 0) - 1 FROM jobs WHERE state = 'queued')",
        )

    def move(self, job_id: str, before: str | None) -> JobRecord | None:
        """Put a queued job directly before another one of its sort, or last. None when one of them does not wait."""
        with self.write() as sql:
            record = self.job(job_id)
            others = [other for other in self._waiting(record.training) if other != job_id]
            place = len(others) if before is None else others.index(before) if before in others else None
            if record.state is not JobState.QUEUED or place is None:
                return None
            others.insert(place, job_id)
            # Behind everything: a job that runs and comes back to the queue keeps its place before all of these.
            first = sql.execute("SELECT coalesce(max(position), 0) + 1 FROM jobs").fetchone()[0]
            places = [(first + place, each) for place, each in enumerate(others)]
            sql.executemany("UPDATE jobs SET position = ? WHERE id = ?", places)
            return self.job(job_id)

    def _waiting(self, training: bool) -> list[str]:
        rows = self.all(
            "SELECT id FROM jobs WHERE state = ? AND training = ? ORDER BY position, number",
            (JobState.QUEUED, training),
        )
        return [row["id"] for row in rows]

    def finish(
        self,
        job_id: str,
        state: JobState,
        *,
        when: Sequence[JobState] = (JobState.RUNNING,),
        error: str | None = None,
        text: Sentence | None = None,
        timings: Mapping[str, float] | None = None,
        receipt: Sequence[Sentence] = (),
    ) -> JobRecord | None:
        """`when` -> a final state; the engine's state is dropped."""
        assert state.is_final
        with self.write() as sql:
            record = self._change(
                job_id,
                when,
                "state = ?, finished = ?, error = ?, text = ?, timings = ?, receipt = ?",
                (
                    state,
                    time.time(),
                    error,
                    None if text is None else json.dumps(text.to_json()),
                    None if timings is None else json.dumps(dict(timings)),
                    json.dumps([told.to_json() for told in receipt]),
                ),
            )
            if record is not None:
                sql.execute("DELETE FROM states WHERE job_id = ?", (job_id,))
            return record

    def keep_told(self, job_id: str, signal: Signal) -> None:
        """Remember what a running job was told: it counts even if the server ends before the engine answers."""
        self._change(job_id, (JobState.RUNNING,), "told = ?", (signal,))

    def keep_engine_state(self, job_id: str, engine_state: bytes) -> None:
        with self.write():
            self._keep_state(job_id, engine_state)

    def got_further(self, job_id: str) -> None:
        """A crash counts against a job only while it makes nothing: a long one may meet several power cuts."""
        with self.write() as sql:
            sql.execute("UPDATE jobs SET crashes = 0 WHERE id = ?", (job_id,))

    def keep_result(self, job_id: str, path: str) -> None:
        """Note what a training has made, relative to the models folder."""
        with self.write() as sql:
            sql.execute("UPDATE jobs SET result = ? WHERE id = ?", (path, job_id))

    def warn(self, job_id: str, text: Sentence) -> None:
        """Add a sentence to the job's warnings; one that is already there is not repeated."""
        with self.write() as sql:
            warnings = self.job(job_id).warnings
            if text not in warnings:
                told = json.dumps([known.to_json() for known in (*warnings, text)])
                sql.execute("UPDATE jobs SET warnings = ? WHERE id = ?", (told, job_id))

    # Pictures.

    def add_picture(self, job_id: str, image: Image, path: str) -> PictureRecord:
        """Record a picture that lies, or is about to lie, at `path` below the outputs folder.

        A picture of this job with the same number is replaced.
        """
        with self.write() as sql:
            values = (image.seed, image.width, image.height, image.parameters, time.time())
            row = sql.execute(
                "INSERT OR REPLACE INTO pictures (id, job_id, number, path, seed, width, height, parameters, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (new_id(), job_id, image.picture, path, *values),
            ).fetchone()
            self.got_further(job_id)
            return PictureRecord(**row)

    def picture(self, picture_id: str) -> PictureRecord:
        """Raises `NotFound`."""
        row = self.one("SELECT * FROM every_picture WHERE id = ?", (picture_id,))
        if row is None:
            raise NotFound("There is no picture '{id}'.", id=picture_id[:80])
        return PictureRecord(**row)

    def has_picture_at(self, path: str) -> bool:
        return self.picture_at(path) is not None

    def picture_at(self, path: str) -> str | None:
        """Id of the picture that was saved there, the last one where one was deleted before."""
        row = self.one("SELECT id FROM every_picture WHERE path = ? ORDER BY created DESC LIMIT 1", (path,))
        return None if row is None else str(row["id"])

    def names_of(self, folder: str) -> list[str]:
        """Names that the known pictures of a folder below the outputs folder, "" for itself, were saved under."""
        if not folder:
            return [row["path"] for row in self.all("SELECT path FROM every_picture WHERE path NOT LIKE '%/%'", ())]
        rows = self.all("SELECT path FROM every_picture WHERE path >= ? AND path < ?", (f"{folder}/", f"{folder}0"))
        return [row["path"].removeprefix(f"{folder}/") for row in rows]  # "0" comes directly after "/"

    def forget_pictures(self, ids: Sequence[str]) -> None:
        """Their files were deleted for good."""
        with self.write() as sql:
            for table in ("pictures", "run_pictures"):
                sql.executemany(f"DELETE FROM {table} WHERE id = ?", [(picture_id,) for picture_id in ids])

    def pictures_of(self, job_ids: Sequence[str]) -> dict[str, list[PictureRecord]]:
        """The pictures of each of these jobs, in order."""
        found: dict[str, list[PictureRecord]] = {job_id: [] for job_id in job_ids}
        for start in range(0, len(job_ids), 500):  # SQLite allows a limited number of parameters
            some = job_ids[start : start + 500]
            marks = ", ".join("?" * len(some))
            for row in self.all(f"SELECT * FROM pictures WHERE job_id IN ({marks}) ORDER BY number", tuple(some)):
                found[row["job_id"]].append(PictureRecord(**row))
        return found

    # Inside.

    def _change(
        self, job_id: str, when: Sequence[JobState], assignments: str, parameters: tuple[object, ...] = ()
    ) -> JobRecord | None:
        marks = ", ".join("?" * len(when))
        with self.write() as sql:
            row = sql.execute(
                f"UPDATE jobs SET {assignments} WHERE id = ? AND state IN ({marks}) RETURNING *",
                (*parameters, job_id, *when),
            ).fetchone()
            return None if row is None else _job(row)

    def _keep_state(self, job_id: str, engine_state: bytes | None) -> None:
        if engine_state is not None:
            self._connection.execute("INSERT OR REPLACE INTO states VALUES (?, ?)", (job_id, engine_state))


def new_id() -> str:
    """80 random bits: an id cannot be guessed, and tells nothing about the others."""
    return secrets.token_hex(10)


def _job(row: sqlite3.Row) -> JobRecord:
    values = dict(row)
    del values["key"], values["told"]
    request, timings, text = values.pop("request"), values.pop("timings"), values.pop("text")
    values["values"] = json.loads(request)
    values["state"], values["training"] = JobState(values["state"]), bool(values["training"])
    for name in ("warnings", "receipt"):
        values[name] = tuple(Sentence.from_json(told) for told in json.loads(values[name]))
    return JobRecord(
        **values,
        text=None if text is None else Sentence.from_json(json.loads(text)),
        timings=None if timings is None else json.loads(timings),
    )
