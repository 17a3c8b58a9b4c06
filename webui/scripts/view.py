"""Runs and plans as the JSON that the page and the API show."""

from collections.abc import Mapping, Sequence
from typing import Any

from webui.jobs.estimates import Estimates
from webui.jobs.records import JobRecord, PictureRecord
from webui.jobs.view import picture_json
from webui.request_base import Request
from webui.requests import to_values
from webui.script import Cell
from webui.scripts.records import CellRecord, RunRecord


def plan_json(request: Request, cells: Sequence[Cell], count: int, estimates: Estimates) -> dict[str, Any]:
    """What a run will make. Rounds that nobody knows yet are taken to be like those that are known."""
    count = max(count, len(cells))
    pictures = sum(cell.request.pictures for cell in cells) + (count - len(cells)) * request.pictures
    seconds = _seconds([(cell.request.kind, to_values(cell.request)) for cell in cells], count, estimates)
    return {"cells": count, "pictures": pictures, "seconds": seconds}


def run_json(
    run: RunRecord,
    cells: Sequence[CellRecord],
    jobs: Mapping[str, JobRecord],
    pictures: Mapping[str, Sequence[PictureRecord]],
    made: Sequence[PictureRecord],
    estimates: Estimates,
) -> dict[str, Any]:
    """A run with its cells in the order of the grid; `pictures` are the cells' by job, `made` the run's own."""
    shown = [_cell_json(cell, jobs.get(cell.job_id or ""), pictures) for cell in cells]
    open_cells = [
        (cell.kind, cell.values)
        for cell in cells
        if cell.job_id is None or (cell.job_id in jobs and not jobs[cell.job_id].state.is_final)
    ]
    over = len(cells) - len(open_cells)
    left = 0.0 if run.state.is_final else _seconds(open_cells, run.total - over, estimates)
    return {
        "id": run.id,
        "script": run.script,
        "title": run.title,
        "kind": run.kind,
        "state": run.state.value,
        "request": {name: value for name, value in run.values.items() if name != "wordings"},
        "options": dict(run.options),
        "created": run.created,
        "finished": run.finished,
        "total": run.total,
        "over": over,
        "failed": sum(cell["state"] in ("failed", "cancelled") for cell in shown),
        "eta": left,
        "columns": run.columns,
        "cells": sorted(shown, key=lambda cell: int(cell["place"])),
        "pictures": [picture_json(picture, {}) for picture in made],
        "error": {"kind": run.error, **run.text.to_json()} if run.error and run.text else None,
    }


def _cell_json(
    cell: CellRecord, job: JobRecord | None, pictures: Mapping[str, Sequence[PictureRecord]]
) -> dict[str, Any]:
    return {
        "number": cell.number,
        "place": cell.place,
        "label": cell.label,
        "job": cell.job_id,
        "state": "waiting" if job is None else job.state.value,
        "error": {"kind": job.error, **job.text.to_json()} if job and job.error and job.text else None,
        "pictures": [
            picture_json(picture, job.values if job else {}) for picture in pictures.get(cell.job_id or "", ())
        ],
    }


def _seconds(known: Sequence[tuple[str, Mapping[str, Any]]], count: int, estimates: Estimates) -> float | None:
    """For `count` jobs of which some are known; None when nothing like them was ever done here."""
    guesses = [guess for kind, values in known if (guess := estimates.seconds(kind, values)) is not None]
    if not guesses:
        return 0.0 if count <= 0 else None
    return round(sum(guesses) / len(guesses) * count, 1)
