"""A job of merging or converting, as events: hashes, then tensor by tensor, stopped between two of them.

What is written where is the business of `merging` and `converting`. The result is there whole or not at all.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

from webui.contract import Signal, SignalSource
from webui.engine.forge.converting import plan_conversion
from webui.engine.forge.merging import Merge, plan_merge, recipe
from webui.engine.forge.sources import Source, opened
from webui.engine.forge.writing import check_room, write
from webui.engine.stopwatch import Stopwatch
from webui.errors import CheckpointError
from webui.events import Cancelled, Done, Event, Paused, Progress, Result, Warning
from webui.library import Library, Passport
from webui.library.passport import digesting, hashed_files
from webui.model_requests import ConvertModel, MergeModels

ENDS: Mapping[Signal, Event] = {Signal.CANCEL: Cancelled(), Signal.PAUSE: Paused()}
"""A paused job begins again: what is half-written is of no use."""
SECONDS_BETWEEN_PROGRESS = 0.2
MEGABYTE = 2**20

Stopped = Generator[Event, None, Signal | None]
"""Events of a part of the job; it returns the signal that ended it early."""


class ForgeJob:
    """A job under way. `events` may be walked through once."""

    def __init__(
        self, request: MergeModels | ConvertModel, library: Library, models_dir: Path, signal: SignalSource
    ) -> None:
        self._request, self._library, self._models, self._signal = request, library, models_dir, signal
        self._stopwatch = Stopwatch()
        self._told_at = 0.0

    def events(self) -> Iterator[Event]:
        """Everything up to the final event. Raises `UserError` for models that cannot be used or do not fit."""
        shelf = self._request.shelf if isinstance(self._request, ConvertModel) else "checkpoints"
        with ExitStack() as stack:
            yield self._progress("reading", 0, 0, now=True)
            stopped = None
            if isinstance(self._request, MergeModels):
                passports = [self._library.find(name, to_train=True) for name in self._request.models]
                stopped = yield from self._hash(passports)
                if stopped is None:
                    merge = self._merge(self._request, passports, stack)
            else:
                merge = self._convert(self._request, stack)
            if stopped is None:
                for warning in merge.warnings:
                    yield Warning(text=warning)
                stopped = yield from self._write(merge, shelf)
        yield Done(timings=self._stopwatch.timings()) if stopped is None else ENDS[stopped]

    def _hash(self, passports: Sequence[Passport]) -> Stopped:
        """Make the hashes that the recipe names and that are not known yet."""
        unknown = [passport for passport in passports if not passport.known_sha256]
        total = sum(path.stat().st_size for passport in unknown for path in hashed_files(passport))
        done = 0
        for passport in unknown:
            steps = digesting(hashed_files(passport))
            while True:
                if (signal := self._stop()) is not None:
                    return signal
                try:
                    done += next(steps)
                except StopIteration as end:
                    if passport.hashes is not None:
                        passport.hashes.keep(passport.path, passport.stamp, end.value)
                    break
                yield from self._told("hashing", done // MEGABYTE, total // MEGABYTE)
        return None

    def _merge(self, request: MergeModels, passports: Sequence[Passport], stack: ExitStack) -> Merge:
        sources = [stack.enter_context(opened(passport.path, passport.name)) for passport in passports]
        vae = stack.enter_context(self._opened("vae", request.baked_vae)) if request.baked_vae else None
        merge = plan_merge(request, sources, vae)
        merge.plan.metadata = recipe(request, passports, [source.metadata for source in sources])
        return merge

    def _convert(self, request: ConvertModel, stack: ExitStack) -> Merge:
        model = self._library.model(request.shelf, request.source)
        source = stack.enter_context(self._opened(request.shelf, request.source))
        return plan_conversion(request, source, model if isinstance(model, Passport) else None)

    def _opened(self, shelf: str, name: str) -> AbstractContextManager[Source]:
        model = self._library.model(shelf, name)
        if model.problem is not None and not getattr(model, "can_train", False):
            raise CheckpointError("'{name}' cannot be used: {problem}", name=name, problem=model.problem)
        return opened(model.path, name)

    def _write(self, merge: Merge, shelf: str) -> Stopped:
        plan = merge.plan
        target = self._models / shelf / f"{self._request.name}{'' if plan.is_folder else '.safetensors'}"
        check_room(target.parent, plan.bytes)
        with self._stopwatch.phase("saving"), closing(write(plan, target)) as steps:
            for done, _ in enumerate(steps, 1):
                if (signal := self._stop()) is not None:
                    return signal
                yield from self._told("writing", done, plan.count)
        yield Result(path=target.relative_to(self._models).as_posix())
        return None

    def _stop(self) -> Signal | None:
        told = self._signal()
        return told if told in ENDS else None

    def _told(self, phase: str, done: int, total: int) -> Iterator[Event]:
        if done == total or time.monotonic() - self._told_at >= SECONDS_BETWEEN_PROGRESS:
            yield self._progress(phase, done, total)

    def _progress(self, phase: str, step: int, total: int, *, now: bool = False) -> Progress:
        self._told_at = 0.0 if now else time.monotonic()
        return Progress(phase=phase, picture=0, pictures=1, step=step, total=total)
