"""Rows of the store as the JSON that the page and the API show."""

from collections.abc import Iterable
from typing import Any

from webui.jobs.progress import Live
from webui.jobs.records import JobRecord, PictureRecord


def job_json(record: JobRecord, pictures: Iterable[PictureRecord], *, ahead: int, live: Live | None) -> dict[str, Any]:
    """A job. `ahead`: queued jobs that come before it; `live`: its progress, when it runs or is paused."""
    return {
        "id": record.id,
        "kind": record.kind,
        "state": record.state.value,
        "position": ahead,
        "request": dict(record.values),
        "created": record.created,
        "started": record.started,
        "finished": record.finished,
        "attempts": record.attempts,
        "progress": live.progress if live else None,
        "preview": live.preview if live else None,
        "pictures": [picture_json(picture) for picture in pictures],
        "warnings": list(record.warnings),
        "error": {"kind": record.error, "text": record.text} if record.error else None,
        "timings": dict(record.timings) if record.timings is not None else None,
    }


def picture_json(picture: PictureRecord) -> dict[str, Any]:
    return {
        "id": picture.id,
        "job": picture.job_id,
        "number": picture.number,
        "seed": picture.seed,
        "width": picture.width,
        "height": picture.height,
        "url": f"/api/v1/pictures/{picture.id}",
        "parameters": picture.parameters,
        "created": picture.created,
    }
