"""How long a job will take, by how long others took on this very machine. Keeps nothing: the job store is the history.

Work is counted as a UNet does it: steps times pixels, once for each picture and pass. What a step costs is taken from
finished jobs of the same checkpoint and size, else of the same checkpoint, else of all.
"""

import math
import statistics
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from webui.events import JobState
from webui.jobs.records import JobRecord
from webui.jobs.store import JobStore
from webui.params import parameters
from webui.request_groups import HiresFields, hires_sizes

HISTORY = 200
"""Finished jobs that are looked at."""
ENOUGH = 8
"""The newest jobs of a sort that count: a machine that has become slower or faster shows at once."""

Key = tuple[object, ...]


@dataclass(frozen=True)
class Work:
    """What a job asks for."""

    amount: float
    """Steps × pixels × pictures, over all passes."""
    keys: tuple[Key, ...]
    """Jobs to compare it with, the most alike first."""


def work_of(kind: str, values: Mapping[str, Any]) -> Work | None:
    """None for what is not drawn in steps."""
    try:
        width, height = values["width"], values["height"]
        pictures = values["batch_count"] * values["batch_size"]
        steps = values["num_inference_steps"]
        if kind != "txt2img":
            steps = int(min(values["strength"], 0.999) * steps) + 1
        across = width + values.get("outpaint_left", 0) + values.get("outpaint_right", 0)
        down = height + values.get("outpaint_up", 0) + values.get("outpaint_down", 0)
        amount = steps * across * down
        if values.get("hires") and values["hires_strength"]:
            fields = HiresFields(**{name: value for name, value in values.items() if name in parameters(HiresFields)})
            _, size = hires_sizes((width, height), fields)
            amount += (values["hires_steps"] or values["num_inference_steps"]) * math.prod(size)
    except (KeyError, TypeError, ValueError):
        return None
    checkpoint, sampler = values.get("checkpoint", ""), values.get("sampler", "")
    keys: tuple[Key, ...] = (
        (checkpoint, sampler, width, height),
        (checkpoint, width, height),
        (checkpoint,),
        (),
    )
    return Work(float(amount * pictures), keys)


class Estimates:
    """Looks at the store when asked, and again when a job has ended since."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._newest = -1.0
        self._costs: Mapping[Key, float] = {}

    def seconds(self, kind: str, values: Mapping[str, Any]) -> float | None:
        """For a request's values; None when nothing like it was ever done here."""
        work = work_of(kind, values)
        if work is None:
            return None
        costs = self._learned()
        cost = next((costs[key] for key in work.keys if key in costs), None)
        return None if cost is None else round(cost * work.amount, 2)

    def of(self, record: JobRecord) -> float | None:
        """For a job that is not over."""
        return None if record.state.is_final or record.training else self.seconds(record.kind, record.values)

    def _learned(self) -> Mapping[Key, float]:
        """Seconds per unit of work by key."""
        with self._lock:
            newest = self._store.last_done()
            if newest != self._newest:
                self._newest = newest
                self._costs = _costs(self._store.jobs((JobState.DONE,), HISTORY, training=False))
            return self._costs


def _costs(done: Iterable[JobRecord]) -> Mapping[Key, float]:
    measured: dict[Key, list[float]] = defaultdict(list)
    for record in done:
        work, timings = work_of(record.kind, record.values), record.timings or {}
        spent = timings.get("total", 0.0) - timings.get("loading", 0.0)
        if work is None or not work.amount or spent <= 0 or record.attempts > 1:
            continue  # of a job that was taken up again only the last part was measured
        for key in work.keys:
            if len(measured[key]) < ENOUGH:
                measured[key].append(spent / work.amount)
    return {key: statistics.median(costs) for key, costs in measured.items()}
