"""Runs and their cells in the job database. What it holds is the truth about how far a run is.

What becomes of a cell's job is the business of the job store, in the same database.
"""

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webui.errors import NotFound
from webui.jobs.database import Database
from webui.jobs.records import PictureRecord
from webui.jobs.store import new_id
from webui.scripts.records import CellRecord, RunRecord, RunState
from webui.sentences import Sentence

ACTIVE = (RunState.RUNNING, RunState.PAUSED)


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """What a run begins with; the fields are those of `RunRecord`."""

    script: str
    title: str
    kind: str
    values: Mapping[str, Any]
    options: Mapping[str, Any]
    open_seed: bool
    total: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class NewCell:
    """A cell that nobody has made yet; the fields are those of `CellRecord`."""

    place: int | None
    label: str
    kind: str
    values: Mapping[str, Any]


class RunStore:
    """Safe to use from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run: NewRun, cells: Sequence[NewCell], key: str | None) -> RunRecord:
        """A new run with its first cells; on disk when this returns. With a known `key`: that run."""
        with self._database.write() as sql:
            if key is not None and (known := self.run_of_key(key)) is not None:
                return known
            row = sql.execute(
                "INSERT INTO runs (id, script, title, kind, request, options, open_seed, total, columns, state, "
                "created, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (
                    *(new_id(), run.script, run.title, run.kind, json.dumps(dict(run.values))),
                    *(json.dumps(dict(run.options)), run.open_seed, run.total, run.columns),
                    *(RunState.RUNNING, time.time(), key),
                ),
            ).fetchone()
            record = _run(row)
            self.add_cells(record.id, cells)
            return record

    def run_of_key(self, key: str) -> RunRecord | None:
        row = self._database.one("SELECT * FROM runs WHERE key = ?", (key,))
        return None if row is None else _run(row)

    def run(self, run_id: str) -> RunRecord:
        """Raises `NotFound`."""
        row = self._database.one("SELECT * FROM runs WHERE id = ?", (run_id,))
        if row is None:
            raise NotFound("There is no run '{id}'.", id=run_id[:80])
        return _run(row)

    def runs(self, states: Sequence[RunState] = (), limit: int = 100) -> list[RunRecord]:
        """Newest first; of every state when none is named."""
        wanted = tuple(states) or tuple(RunState)
        marks = ", ".join("?" * len(wanted))
        rows = self._database.all(
            f"SELECT * FROM runs WHERE state IN ({marks}) ORDER BY number DESC LIMIT ?", (*wanted, limit)
        )
        return [_run(row) for row in rows]

    def run_of_job(self, job_id: str) -> str | None:
        """Id of the run that a job is a cell of."""
        row = self._database.one("SELECT run_id FROM cells WHERE job_id = ?", (job_id,))
        return None if row is None else str(row["run_id"])

    def change(
        self, run_id: str, when: Sequence[RunState], state: RunState, *, error: str = "", text: Sentence | None = None
    ) -> RunRecord | None:
        """`when` -> `state`; None when the run was in no state that allows it."""
        marks = ", ".join("?" * len(when))
        with self._database.write() as sql:
            row = sql.execute(
                f"UPDATE runs SET state = ?, finished = ?, error = ?, text = ? WHERE id = ? AND state IN ({marks}) "
                "RETURNING *",
                (
                    *(state, time.time() if state.is_final else None, error or None),
                    *(None if text is None else json.dumps(text.to_json()), run_id, *when),
                ),
            ).fetchone()
            return None if row is None else _run(row)

    def begin_composing(self, run_id: str) -> int:
        """How many attempts to put its pictures together were begun before and never came to an end."""
        with self._database.write() as sql:
            row = sql.execute(
                "UPDATE runs SET composing = composing + 1 WHERE id = ? RETURNING composing", (run_id,)
            ).fetchone()
            return int(row[0]) - 1

    def end_composing(self, run_id: str) -> None:
        """It came to an end, in a picture or in an error that the server has survived."""
        with self._database.write() as sql:
            sql.execute("UPDATE runs SET composing = 0 WHERE id = ?", (run_id,))

    # Cells.

    def cells(self, run_id: str) -> list[CellRecord]:
        """In the order in which they are made."""
        rows = self._database.all("SELECT * FROM cells WHERE run_id = ? ORDER BY number", (run_id,))
        return [_cell(row) for row in rows]

    def add_cells(self, run_id: str, cells: Sequence[NewCell]) -> None:
        """Write down what comes next, all of it or nothing."""
        with self._database.write() as sql:
            first = sql.execute("SELECT count(*) FROM cells WHERE run_id = ?", (run_id,)).fetchone()[0]
            sql.executemany(
                "INSERT INTO cells (run_id, number, place, label, kind, request) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (run_id, number, number if cell.place is None else cell.place, cell.label, cell.kind,
                     json.dumps(dict(cell.values)))
                    for number, cell in enumerate(cells, first)
                ],
            )  # fmt: skip
            sql.execute(
                "UPDATE runs SET total = max(total, ?) WHERE id = ?", (first + len(cells), run_id)
            )  # a script that guessed too few

    def set_job(self, cell: CellRecord, job_id: str) -> None:
        with self._database.write() as sql:
            sql.execute(
                "UPDATE cells SET job_id = ? WHERE run_id = ? AND number = ?", (job_id, cell.run_id, cell.number)
            )

    # Pictures.

    def add_picture(
        self, run_id: str, number: int, path: str, seed: int, size: tuple[int, int], parameters: str
    ) -> PictureRecord:
        """Record a picture of the run that is about to lie at `path` below the outputs folder."""
        with self._database.write() as sql:
            row = sql.execute(
                "INSERT INTO run_pictures (id, run_id, number, path, seed, width, height, parameters, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (new_id(), run_id, number, path, seed, *size, parameters, time.time()),
            ).fetchone()
            return _picture(row)

    def pictures(self, run_id: str) -> list[PictureRecord]:
        rows = self._database.all("SELECT * FROM run_pictures WHERE run_id = ? ORDER BY number", (run_id,))
        return [_picture(row) for row in rows]


def _run(row: sqlite3.Row) -> RunRecord:
    values = dict(row)
    del values["key"], values["composing"]
    values["values"], values["options"] = json.loads(values.pop("request")), json.loads(values["options"])
    values["state"], values["open_seed"] = RunState(values["state"]), bool(values["open_seed"])
    text = values.pop("text")
    return RunRecord(**values, text=None if text is None else Sentence.from_json(json.loads(text)))


def _cell(row: sqlite3.Row) -> CellRecord:
    values = dict(row)
    values["values"] = json.loads(values.pop("request"))
    return CellRecord(**values)


def _picture(row: sqlite3.Row) -> PictureRecord:
    values = dict(row)
    values["job_id"] = values.pop("run_id")
    return PictureRecord(**values)
