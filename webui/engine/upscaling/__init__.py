"""Pictures enlarged to a size that is asked for, by resampling or by a network from models/upscalers.

Owns which network is in memory. How one is read is in `files`, how a picture goes through it tile by tile in `tiles`.
"""

from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from PIL import Image

from webui.engine.device import Device
from webui.errors import UnknownName
from webui.upscalers import BUILT_IN, upscaler_files

Size = tuple[int, int]
"""(width, height) in pixels."""
Tiles = tuple[int, int]
"""How many tiles are done and how many there are, of all passes known so far."""

RESAMPLING: Mapping[str, Image.Resampling] = {
    "None": Image.Resampling.LANCZOS,
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
}


class Upscalers:
    """The upscalers of one folder on one device. One network at a time is kept in memory."""

    def __init__(self, folder: Path, device: Device) -> None:
        self._folder = folder
        self._device = device

    def upscale(
        self, name: str, picture: Image.Image, size: Size, on_tile: Callable[[int, int], None] | None = None
    ) -> Image.Image:
        """`picture` (RGB) at exactly `size`. `on_tile(done, total)` is called after every tile and may raise to stop.

        Raises `UnknownName`.
        """
        steps = self.steps(name, picture, size)
        while True:
            try:
                done, total = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if on_tile is not None:
                on_tile(done, total)

    def steps(self, name: str, picture: Image.Image, size: Size) -> Generator[Tiles, None, Image.Image]:
        """`upscale` as a generator: yields after every tile, returns the picture."""
        if name not in RESAMPLING:
            raise UnknownName("upscaler", name, (*BUILT_IN, *upscaler_files(self._folder)))
        yield 0, 1
        return picture.resize(size, RESAMPLING[name])
