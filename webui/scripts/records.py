"""The rows of runs and cells as plain frozen values. Knows no SQL and no HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from webui.request_base import Request
from webui.requests import build
from webui.sentences import Sentence


class RunState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (RunState.RUNNING, RunState.PAUSED)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run. Times are seconds since 1970."""

    id: str
    number: int
    """Order of submission."""
    script: str
    """The extension's name."""
    title: str
    """And its title then."""
    kind: str
    values: Mapping[str, Any]
    """The resolved request that the cells are made of, as named values."""
    options: Mapping[str, Any]
    """Of the script, all of them."""
    open_seed: bool
    """Whether -1 was asked for."""
    total: int
    """Cells over all rounds, as far as the script knew beforehand."""
    columns: int
    """Of the page's grid; 0: any."""
    state: RunState
    created: float
    finished: float | None
    error: str | None
    text: Sentence | None
    """What is said about a failed run."""

    @property
    def request(self) -> Request:
        """Raises `InvalidRequest` when this version does not know a value any more."""
        return build(self.kind, self.values)


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """One cell of a run."""

    run_id: str
    number: int
    """0-based, in the order in which they are made."""
    place: int
    label: str
    kind: str
    values: Mapping[str, Any]
    """The resolved request."""
    job_id: str | None
    """None until it stands in the queue."""

    @property
    def request(self) -> Request:
        return build(self.kind, self.values)
