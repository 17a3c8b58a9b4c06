"""Small pictures for the grid: WebP of at most 256 pixels, made when first asked for and kept by content."""

import io
import threading
from contextlib import suppress
from pathlib import Path

from webui.errors import NotFound, UnusablePicture
from webui.options import write_atomically
from webui.pictures import read_picture

SIDE = 256
QUALITY = 80
AT_ONCE = 2
"""Decoders that work at the same time: a fast scroll must not take every core from the engine."""


class Thumbnails:
    """Safe to use from any thread. What is in its folder may be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def of(self, content: str, path: Path) -> bytes:
        """The small picture of the file at `path`, which has this content id. Raises `NotFound`."""
        kept = self._path(content)
        with suppress(OSError):
            return kept.read_bytes()
        with self._turns:
            webp = _made(path)
        with suppress(OSError):  # it is only made again next time
            write_atomically(kept, webp)
        return webp

    def forget(self, contents: list[str]) -> None:
        for content in contents:
            self._path(content).unlink(missing_ok=True)

    def _path(self, content: str) -> Path:
        return self._folder / content[:2] / f"{content}.webp"


def _made(path: Path) -> bytes:
    try:
        picture = read_picture(path, least=SIDE)
    except UnusablePicture as error:
        raise NotFound("There is no small picture of it: {reason}", reason=error.sentence) from error
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()
