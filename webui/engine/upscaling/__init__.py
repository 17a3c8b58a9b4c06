"""Pictures enlarged to a size that is asked for, by resampling or by a network from models/upscalers.

Owns which networks are in memory and how often a picture goes through one. How a network is read is in `files`, how a
picture goes through it tile by tile in `tiles`, how a job is done in `job`.
"""

import math
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from PIL import Image

from webui.engine import memory
from webui.engine.device import Device
from webui.engine.upscaling.enlarger import Enlarger
from webui.engine.upscaling.files import load_enlarger
from webui.engine.upscaling.tiles import Tiling, enlarge
from webui.errors import UnknownName
from webui.upscalers import BUILT_IN

Size = tuple[int, int]
"""(width, height) in pixels."""
Steps = Generator[tuple[int, int], None, Image.Image]
"""Yields how many tiles are done and how many there are, returns the picture."""

RESAMPLING: Mapping[str, Image.Resampling] = {
    "None": Image.Resampling.LANCZOS,
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
}
KEPT = 2
"""Networks kept in memory: as many as one job can name."""
MOST_PASSES = 3
"""As often a picture goes through a network at most, as in AUTOMATIC1111; Lanczos makes the rest."""
MOST_PIXELS = 2**28
"""Of what a network makes, 805 MB; a picture that would become larger is made smaller before."""
SMALLEST_TILE = 64

DEFAULT = Tiling()


class Upscalers:
    """The upscalers on one device."""

    def __init__(self, files: Callable[[], Mapping[str, Path]], device: Device) -> None:
        """`files` looks which there are now, by name."""
        self._files = files
        self._device = device
        self._networks: dict[tuple[object, ...], Enlarger] = {}
        """By file, size and time; the one that was used last comes last."""

    def names(self) -> tuple[str, ...]:
        """Everything that can be named, built in first."""
        return *BUILT_IN, *self._files()

    def upscale(
        self, name: str, picture: Image.Image, size: Size, on_tile: Callable[[int, int], None] | None = None
    ) -> Image.Image:
        """`picture` (RGB) at exactly `size`. `on_tile(done, total)` is called after every tile and may raise to stop.

        Raises `UnknownName`, or `CheckpointError` for a file that cannot be used.
        """
        steps = self.steps(name, picture, size)
        while True:
            try:
                done, total = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if on_tile is not None:
                on_tile(done, total)

    def steps(self, name: str, picture: Image.Image, size: Size, tiling: Tiling = DEFAULT) -> Steps:
        """`upscale` as a generator: yields after every tile."""
        if name in RESAMPLING:
            return picture.resize(size, RESAMPLING[name])
        enlarger = self._network(name)
        done, total = 0, self.tiles(name, picture.size, size, tiling)
        for before in passes(picture.size, size, enlarger.scale):
            tiles = _healed(enlarger, _resized(picture, before), tiling)
            while True:
                try:
                    next(tiles)
                except StopIteration as end:
                    picture = end.value
                    break
                done = min(done + 1, total)  # smaller tiles, where memory was short, were not counted
                yield done, total
        return _resized(picture, size)

    def tiles(self, name: str, before: Size, size: Size, tiling: Tiling = DEFAULT) -> int:
        """How many tiles `steps` will make; 0 for what needs no network. Raises as `upscale` does."""
        if name in RESAMPLING:
            return 0
        return sum(tiling.count(each) for each in passes(before, size, self._network(name).scale))

    def clear(self) -> None:
        """Give the memory of the networks back."""
        if self._networks:
            self._networks.clear()
            memory.release()

    def _network(self, name: str) -> Enlarger:
        """The network of that name as its file is on the disk now."""
        files = self._files()
        if name not in files:
            raise UnknownName("upscaler", name, (*BUILT_IN, *files))
        state = files[name].stat()
        key = (files[name], state.st_size, state.st_mtime_ns)
        network = self._networks.pop(key, None)
        if network is None:
            while len(self._networks) >= KEPT:
                del self._networks[next(iter(self._networks))]
            network = load_enlarger(files[name], self._device)
        self._networks[key] = network
        return network


def passes(picture: Size, size: Size, scale: int) -> list[Size]:
    """The sizes with which a picture goes into a network, one after the other, until it is as large as `size`.

    A picture that already has the size goes through once, one that is larger not at all, as in AUTOMATIC1111.
    """
    before: list[Size] = []
    now = picture
    while len(before) < MOST_PASSES and (now[0] < size[0] or now[1] < size[1] or (now == size and not before)):
        now = _bounded(now, size, scale)
        before.append(now)
        now = now[0] * scale, now[1] * scale
        if scale == 1:
            break
    return before


def _bounded(picture: Size, size: Size, scale: int) -> Size:
    """`picture`, or, when that would become too large, only as large as `size` needs it."""
    if math.prod(picture) * scale**2 <= MOST_PIXELS:
        return picture
    needed = max(size[side] / (picture[side] * scale) for side in (0, 1))
    factor = min(1.0, needed)
    return math.ceil(picture[0] * factor), math.ceil(picture[1] * factor)


def _healed(enlarger: Enlarger, picture: Image.Image, tiling: Tiling) -> Generator[None, None, Image.Image]:
    """`enlarge`, begun again with smaller tiles as long as memory does not suffice."""
    while True:
        try:
            return (yield from enlarge(enlarger, picture, tiling))
        except (RuntimeError, MemoryError) as error:
            smaller = tiling.halved(picture.size)
            if not memory.is_out_of_memory(error) or smaller.tile < SMALLEST_TILE:
                raise
        memory.release()
        tiling = smaller


def _resized(picture: Image.Image, size: Size) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
