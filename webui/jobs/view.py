"""Rows of the store as the JSON that the page and the API show."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from webui.jobs.progress import Live
from webui.jobs.records import JobRecord, PictureRecord
from webui.jobs.trainings import TrainingFolders


def job_json(
    record: JobRecord,
    pictures: Iterable[PictureRecord],
    *,
    ahead: int,
    live: Live | None,
    aside: bool,
    estimate: float | None,
) -> dict[str, Any]:
    """A job. `ahead`: queued jobs that come before it; `live`: its progress, when it runs or is paused.

    `aside`: a training that makes room for pictures, or is about to, and goes on by itself. `estimate`: seconds that
    the whole job takes by this machine's history, where that says anything. What the server drew for the request is
    told with the pictures: here it would be as long as the whole batch's prompts.
    """
    return {
        "id": record.id,
        "kind": record.kind,
        "state": record.state.value,
        "position": ahead,
        "aside": aside,
        "summary": record.summary,
        "request": {name: value for name, value in record.values.items() if name != "wordings"},
        "created": record.created,
        "started": record.started,
        "finished": record.finished,
        "attempts": record.attempts,
        "progress": live.progress if live else None,
        "preview": live.preview if live else None,
        "estimate": estimate,
        "pictures": [picture_json(picture, record.values) for picture in pictures],
        "warnings": [warning.to_json() for warning in record.warnings],
        "receipt": [told.to_json() for told in record.receipt],
        "error": {"kind": record.error, **record.text.to_json()} if record.error and record.text else None,
        "timings": dict(record.timings) if record.timings is not None else None,
        "result": record.result,
    }


def training_json(trainings: TrainingFolders, job_id: str, most: int) -> dict[str, Any]:
    """Loss curve, at most `most` points, and sample pictures of a training."""
    return {
        "losses": trainings.losses(job_id, most),
        "samples": [sample_json(job_id, step) for step in trainings.samples(job_id)],
        "can_go_on": trainings.has_state(job_id),
    }


def sample_json(job_id: str, step: int) -> dict[str, Any]:
    return {"step": step, "url": f"/api/v1/jobs/{job_id}/samples/{step}"}


def picture_json(picture: PictureRecord, values: Mapping[str, Any]) -> dict[str, Any]:
    """A picture of a job with those values. `wording`: prompt -> what it said for this picture, if words were drawn."""
    wordings: Mapping[str, Sequence[str]] = values.get("wordings", {})
    return {
        "id": picture.id,
        "job": picture.job_id,
        "number": picture.number,
        "seed": picture.seed,
        "width": picture.width,
        "height": picture.height,
        "url": f"/api/v1/pictures/{picture.id}",
        "parameters": picture.parameters,
        "wording": {name: texts[picture.number] for name, texts in wordings.items()},
        "created": picture.created,
    }
