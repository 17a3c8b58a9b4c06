"""A small deterministic engine that keeps the engine's contract: the peer that transports are tested with.

It draws real PNGs with Pillow, step after step, from nothing but seed and step numbers, honours signals, gives its
state away and takes it up again. The prompt is its script, words of: `raise` (a defect), `refuse` (a UserError),
`die` (os._exit in the third step of a fresh job), `die-always`, `hang` (never looks at signals), `warn`.
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

from webui.contract import EngineInfo, Job, Signal, SignalSource
from webui.errors import UserError
from webui.events import Cancelled, Checkpoint, Done, Event, Image, Paused, Progress, Started, Warning

EXIT_CODE = 9
"""What `die` exits with."""


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
    def __init__(self, step_seconds: float) -> None:
        self._step_seconds = step_seconds
        self._checkpoint: str | None = None

    def run(self, job: Job, signal: SignalSource) -> Iterator[Event]:
        begin, place, request = time.perf_counter(), _Place.of(job), job.request
        self._checkpoint = request.checkpoint
        yield Started(pictures=request.pictures)
        if "warn" in request.prompt.split():
            yield Warning(text="This is a warning.")
        while place.picture < request.pictures:
            for event in self._picture(job, place, signal):
                yield event
                if isinstance(event, Cancelled | Paused):
                    return
            place.picture, place.step, place.digest = place.picture + 1, 0, ""
        yield Done(timings={"total": time.perf_counter() - begin})

    def _picture(self, job: Job, place: _Place, signal: SignalSource) -> Iterator[Event]:
        request, total = job.request, job.request.num_inference_steps
        while place.step < total:
            self._follow_script(job, place.step)
            told = None if "hang" in request.prompt.split() else signal()
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

    def info(self) -> EngineInfo:
        return EngineInfo(device="cpu", device_name="script", attention="none", checkpoint=self._checkpoint)


def _draw(digest: str, width: int, height: int, file_format: str) -> bytes:
    image = Pillow.frombytes("RGB", (4, 2), bytes.fromhex(digest)[:24]).resize((width, height))
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


@dataclass(frozen=True)
class ScriptedEngineFactory:
    """Picklable. With `broken` the engine cannot be made; with `unless`, only while that file is missing."""

    step_seconds: float = 0.005
    broken: str = ""
    unless: Path | None = None

    def __call__(self) -> ScriptedEngine:
        if self.broken and not (self.unless and self.unless.exists()):
            raise UserError(self.broken)
        return ScriptedEngine(self.step_seconds)
