"""Pictures on their way out: a copy without metadata, and many in one uncompressed .zip, never whole in memory."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from webui.errors import NotFound, UnusablePicture
from webui.metadata.stealth import hidden_text
from webui.pictures import read_picture

BLOCK = 256 * 2**10


def bare_copy(path: Path) -> bytes:
    """The pixels as PNG and nothing else: no parameters, EXIF, profile or text hidden in them. Raises `NotFound`."""
    try:
        png = _png(read_picture(path))
    except UnusablePicture as error:
        raise NotFound("There is no copy of it: {reason}", reason=error.sentence) from error
    if not hidden_text(png):
        return png
    with Image.open(io.BytesIO(png)) as picture:
        return _png(Image.fromarray(np.asarray(picture) & np.uint8(0xFE)))


def _png(picture: Image.Image) -> bytes:
    picture.info.clear()
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def zipped(files: Iterable[tuple[Path, str]], *, bare: bool) -> Iterator[bytes]:
    """A .zip of files under the given names, piece by piece; those that have gone meanwhile are left out.

    With `bare` they are copies without metadata, numbered, as a name may hold the seed.
    """
    sink, taken = _Sink(), set[str]()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for number, (path, name) in enumerate(files, start=1):
            name = f"{number:05d}.png" if bare else _unique(name, taken)
            try:
                if bare:
                    archive.writestr(zipfile.ZipInfo(name), bare_copy(path))
                    yield sink.taken()
                else:
                    yield from _copied(archive, sink, path, name)
            except (OSError, NotFound):
                continue
    yield sink.taken()


def _copied(archive: zipfile.ZipFile, sink: "_Sink", path: Path, name: str) -> Iterator[bytes]:
    with path.open("rb") as source:
        entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
        with archive.open(entry, "w") as target:
            while block := source.read(BLOCK):
                target.write(block)
                yield sink.taken()


def _unique(name: str, taken: set[str]) -> str:
    stem, suffix, number, candidate = Path(name).stem, Path(name).suffix, 2, name
    while candidate.casefold() in taken:
        candidate = f"{stem} ({number}){suffix}"
        number += 1
    taken.add(candidate.casefold())
    return candidate


class _Sink(io.RawIOBase):
    """What the archive writes, until it is sent on. It cannot be sought in, which zipfile then does without."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken
