"""A job of enlarging one picture, as events: tile by tile, stopped between tiles.

What an upscaler does to a picture is the business of `Upscalers`.
"""

import io
from collections.abc import Generator, Iterator, Mapping

from PIL import Image as Pillow

from webui.contract import Job, Signal, SignalSource
from webui.engine import memory
from webui.engine.stopwatch import Stopwatch
from webui.engine.upscaling import Upscalers
from webui.engine.upscaling.tiles import Tiling
from webui.events import Cancelled, Done, Event, Image, Paused, Progress
from webui.metadata.postprocessing import encode_enlarged, postprocessing
from webui.upscale_request import Upscale

ENDS: Mapping[Signal, Event] = {Signal.CANCEL: Cancelled(), Signal.PAUSE: Paused()}
"""A paused job begins again: enlarging takes seconds, and a half-enlarged picture is large."""

Made = Generator[Event, None, Pillow.Image | Signal]
"""Events of a part of the job; it returns the picture, or the signal that ended it early."""


class UpscaleJob:
    """A job under way. `events` may be walked through once."""

    def __init__(self, job: Job, request: Upscale, upscalers: Upscalers, signal: SignalSource) -> None:
        self._request = request
        self._upscalers = upscalers
        self._signal = signal
        self._stopwatch = Stopwatch()
        self._tiling = Tiling(request.tile_size, request.tile_overlap)
        with Pillow.open(io.BytesIO(job.inputs[request.image]), formats=("PNG",)) as opened:
            self._picture = opened.convert("RGB")
        self._size = request.enlarged(self._picture.size)
        self._done = 0
        self._total = 0

    def events(self) -> Iterator[Event]:
        """Everything up to the final event. Raises `UnknownName`, or `CheckpointError` for a file that is no use."""
        yield self._progress("preparing")
        with self._stopwatch.phase("loading"):
            names = self._request.upscalers
            before = self._picture.size
            self._total = sum(self._upscalers.tiles(name, before, self._size, self._tiling) for name in names)
        try:
            made = yield from self._make()
        except (RuntimeError, MemoryError) as error:
            shortage = memory.out_of_memory(error, self._size)
            if shortage is None:
                raise
            raise shortage from error
        if isinstance(made, Signal):
            yield ENDS.get(made) or Done(timings=self._stopwatch.timings())
            return
        yield self._progress("saving")
        with self._stopwatch.phase("decoding"):
            text = postprocessing(self._request, before)
            png = encode_enlarged(made, text)
        width, height = made.size
        yield Image(picture=0, seed=0, width=width, height=height, png=png, parameters=text)
        yield Done(timings=self._stopwatch.timings())

    def _make(self) -> Made:
        """The result of the first upscaler, with that of the second laid over it."""
        result = self._picture
        for number, name in enumerate(self._request.upscalers):
            made = yield from self._enlarge(name)
            if isinstance(made, Signal):
                return made
            result = made if number == 0 else Pillow.blend(result, made, self._request.second_visibility)
        if self._request.upscalers and self._request.size_mode == "Scale to" and self._request.crop:
            return _cropped(result, (self._request.width, self._request.height))
        return result

    def _enlarge(self, name: str) -> Made:
        steps = self._upscalers.steps(name, self._picture, self._size, self._tiling)
        before = self._done
        while True:
            if (taken := self._signal()) is not None:
                steps.close()
                return taken
            try:
                with self._stopwatch.phase("sampling"):
                    done, _ = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self._done = before + done
            yield self._progress("tiles")

    def _progress(self, phase: str) -> Progress:
        return Progress(phase=phase, picture=0, pictures=1, step=self._done, total=self._total)


def _cropped(picture: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    """The middle of `picture`."""
    left, top = ((have - want) // 2 for have, want in zip(picture.size, size, strict=True))
    return picture.crop((left, top, left + size[0], top + size[1]))
