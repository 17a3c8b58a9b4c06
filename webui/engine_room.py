"""The workers of a server: how many there are, and what is told of them. Who gets which job is for the scheduler."""

import dataclasses
import functools
import threading
from collections.abc import Sequence
from typing import Any

from webui import __version__
from webui.events import JobState
from webui.jobs.store import JobStore
from webui.settings import Settings
from webui.workers.local import LocalWorker
from webui.workers.worker import NumberedEngineFactory, Worker, WorkerState, WorkerStatus

TELLING = (WorkerState.BUSY, WorkerState.LOADING, WorkerState.READY, WorkerState.STARTING, WorkerState.DEAD)
"""Which of several workers the one line about the engine is about: the first of these states that one is in."""


def local_workers(
    settings: Settings, engine_factory: NumberedEngineFactory, may_start: threading.Event
) -> list[LocalWorker]:
    """As many as the settings say, each with an engine process of its own."""
    log_file = settings.data_dir / "logs" / "easel.log"
    names = ["engine"] if settings.workers == 1 else [f"engine {number + 1}" for number in range(settings.workers)]
    return [
        LocalWorker(name, functools.partial(engine_factory, number), log_file=log_file, may_start=may_start)
        for number, name in enumerate(names)
    ]


def status_json(workers: Sequence[Worker], store: JobStore) -> dict[str, Any]:
    """State of engine and queue."""
    statuses = {worker.name: worker.status() for worker in workers}
    told = min(statuses.values(), key=lambda status: TELLING.index(status.state))
    return {
        "engine": _engine_json(told),
        "workers": [{"name": name, **_engine_json(status)} for name, status in statuses.items()],
        "queue": {
            "waiting": store.count(JobState.QUEUED),
            "running": store.count(JobState.RUNNING),
            "paused": store.count(JobState.PAUSED),
        },
        "version": __version__,
    }


def _engine_json(status: WorkerStatus) -> dict[str, Any]:
    info = dataclasses.asdict(status.info) if status.info is not None else {}
    return {
        "state": status.state.value,
        **status.text.to_json(),
        **{name: info.get(name) for name in ("device", "device_name", "attention", "checkpoint", "models", "memory")},
    }
