"""A small deterministic engine that keeps the engine's contract: the peer that transports are tested with.

It draws real PNGs with Pillow, step after step, from nothing but seed and step numbers, honours signals, gives its
state away and takes it up again. The prompt is its script, words of: `raise` (a defect), `refuse` (a UserError),
`die` (os._exit in the third step of a fresh job), `die-always`, `hang` (never looks at signals), `warn`, `wait` (for a
signal, in the middle of the last picture of a fresh job).

A training counts its steps and keeps the count in its state; `sample_prompt` is its script, a word of: `die`,
`die-always`, `die-late` (in every fifth step of an attempt, so that each gets further), `raise`.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pillow

from webui.contract import EngineInfo, Job, Signal, SignalSource, Tuning
from webui.errors import UserError
from webui.events import (
    Cancelled,
    Checkpoint,
    Done,
    Event,
    Image,
    Metrics,
    Paused,
    Progress,
    Result,
    Sample,
    Started,
    Warning,
)
from webui.sentences import Sentence
from webui.train_requests import TrainRequest
from webui.upscale_request import Upscale

WARNING = Sentence("This is warning number {number}.", number=1)
EXIT_CODE = 9
"""What `die` exits with."""
WAITS_AT = 3
"""The step after which `wait` waits."""


@dataclass
class _Place:
    """How far a job is: everything that is needed to go on."""

    picture: int = 0
    step: int = 0
    digest: str = ""

    @classmethod
    def of(cls, job: Job) -> "_Place":
        return cls(**json.loads(job.state)) if job.state else cls()

    def pack(self) -> bytes:
        return json.dumps(self.__dict__).encode()


class ScriptedEngine:
    def __init__(self, step_seconds: float, device: str = "cpu") -> None:
        self._device = device
        self._step_seconds = step_seconds
        self._tuning = Tuning()
        self._checkpoint: str | None = None

    def run(self, job: Job, signal: SignalSource) -> Iterator[Event]:
        if isinstance(job.request, TrainRequest):
            yield from self._train(job, job.request, signal)
            return
        if isinstance(job.request, Upscale):
            yield Started(pictures=1)
            png = _draw("0" * 64, 32, 32, "PNG")
            yield Image(picture=0, seed=0, width=32, height=32, png=png, parameters="")
            yield Done()
            return
        begin, place, request = time.perf_counter(), _Place.of(job), job.request
        self._checkpoint = request.checkpoint
        yield Started(pictures=request.pictures)
        if "warn" in request.prompt.split():
            yield Warning(text=WARNING)
        while place.picture < request.pictures:
            for event in self._picture(job, place, signal):
                yield event
                if isinstance(event, Cancelled | Paused):
                    return
            place.picture, place.step, place.digest = place.picture + 1, 0, ""
        yield Done(timings={"total": time.perf_counter() - begin})

    def _train(self, job: Job, request: TrainRequest, signal: SignalSource) -> Iterator[Event]:
        yield Started(pictures=0)
        first = int(job.state or b"0")
        for step in range(first + 1, request.steps + 1):
            dies_after = {"die": 2 if first == 0 else None, "die-always": 2, "die-late": 4}.get(request.sample_prompt)
            if dies_after is not None and step - first > dies_after:
                os._exit(EXIT_CODE)
            if "raise" in request.sample_prompt:
                raise ZeroDivisionError("a defect in the trainer")
            told = signal()
            if told is Signal.CANCEL:
                yield Cancelled()
                return
            if told is Signal.PAUSE:
                yield Checkpoint(state=str(step - 1).encode())
                yield Paused()
                return
            time.sleep(self._step_seconds)
            yield Progress(phase="training", picture=0, pictures=1, step=step, total=request.steps)
            yield Metrics(losses=((step, 1 / step),))
            if request.sample_prompt != "die-always" and step % request.save_every == 0:
                yield Checkpoint(state=str(step).encode())
            if request.sample_every and step % request.sample_every == 0:
                yield Sample(step=step, jpeg=_draw(hashlib.sha256(str(step).encode()).hexdigest(), 16, 16, "JPEG"))
        yield Result(path=request.result)
        yield Done()

    def _picture(self, job: Job, place: _Place, signal: SignalSource) -> Iterator[Event]:
        request, total = job.request, job.request.num_inference_steps
        while place.step < total:
            self._follow_script(job, place.step)
            told = None if "hang" in request.prompt.split() else signal()
            while told is None and self._waits(job, place):
                time.sleep(self._step_seconds)
                told = signal()
            if told is Signal.CANCEL:
                yield Cancelled()
                return
            if told is Signal.PAUSE:
                yield Checkpoint(state=place.pack())
                yield Paused()
                return
            if told is Signal.SKIP:
                place.picture += request.batch_size - place.picture % request.batch_size - 1
                return
            time.sleep(self._step_seconds)
            seed = request.seed_of(place.picture)
            place.digest = hashlib.sha256(f"{place.digest} {seed} {place.step}".encode()).hexdigest()
            place.step += 1
            yield Progress(phase="sampling", picture=place.picture, pictures=request.pictures, step=place.step,
                           total=total, preview=_draw(place.digest, 16, 16, "JPEG"))  # fmt: skip
            yield Checkpoint(state=place.pack())
        png = _draw(place.digest, request.width, request.height, "PNG")
        yield Image(picture=place.picture, seed=request.seed_of(place.picture), width=request.width,
                    height=request.height, png=png, parameters=f"Steps: {total}")  # fmt: skip

    def _waits(self, job: Job, place: _Place) -> bool:
        """In the middle of the last picture, until somebody says something, so that nobody can come too late."""
        is_there = place.picture == job.request.pictures - 1 and place.step == WAITS_AT
        return is_there and job.state is None and "wait" in job.request.prompt.split()

    def _follow_script(self, job: Job, step: int) -> None:
        words = job.request.prompt.split()
        if step == 2 and ("die-always" in words or ("die" in words and job.state is None)):
            os._exit(EXIT_CODE)
        if step == 2 and "raise" in words:
            raise ZeroDivisionError("a defect in the engine")
        if step == 2 and "refuse" in words:
            raise UserError("This cannot be drawn. Ask for something else.")
        while "hang" in words and step == 2:
            time.sleep(0.05)

    def warm_up(self, checkpoint: str) -> None:
        self._checkpoint = checkpoint

    def tune(self, tuning: Tuning) -> None:
        self._tuning = tuning

    def unload(self) -> None:
        self._checkpoint = None

    def info(self) -> EngineInfo:
        """The pretended size of its model tells what it was tuned to."""
        models = ((self._checkpoint, self._tuning.preview_every),) if self._checkpoint else ()
        return EngineInfo(
            device=self._device, device_name="script", attention="none", checkpoint=self._checkpoint, models=models
        )


def _draw(digest: str, width: int, height: int, file_format: str) -> bytes:
    image = Pillow.frombytes("RGB", (4, 2), bytes.fromhex(digest)[:24]).resize((width, height))
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


@dataclass(frozen=True)
class ScriptedEngineFactory:
    """Picklable. With `broken` the engine cannot be made; with `unless`, only while that file is missing.

    With `cards` the workers take a pretended one each, in turn.
    """

    step_seconds: float = 0.005
    broken: str = ""
    unless: Path | None = None
    cards: int = 0

    def __call__(self, worker: int = 0) -> ScriptedEngine:
        if self.broken and not (self.unless and self.unless.exists()):
            raise UserError(self.broken)
        return ScriptedEngine(self.step_seconds, f"cuda:{worker % self.cards}" if self.cards else "cpu")
