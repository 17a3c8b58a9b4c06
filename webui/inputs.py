"""The pictures that people give to jobs: what img2img begins with, masks, control pictures.

Kept by content in the data folder: the same picture again is the same file, and a job names it by an opaque id. What
is kept is a PNG of our own making, upright and without anything but its pixels, so nothing hostile reaches an engine.
"""

import hashlib
import io
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from webui.errors import CannotSaveInput, NotFound, UnusableInput, UnusablePicture
from webui.options import write_atomically
from webui.pictures import read_picture
from webui.sentences import Sentence

ID = re.compile(r"[0-9a-f]{32}")
PARTIAL = ".part"
KEPT_SECONDS = 30 * 24 * 3600.0
"""How long a picture is kept that no job names, counted from the last time that it was uploaded."""


@dataclass(frozen=True, kw_only=True)
class InputPicture:
    id: str
    width: int
    height: int


class Inputs:
    """Safe to use from any thread; every method raises `UserError`s only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sweep(self, named: Callable[[], Collection[str]] = tuple) -> None:
        """Remove uploads that an earlier server did not finish, and pictures that nobody has sent for a month.

        `named` are the ids that jobs name: those stay, so that every job can be made again.
        """
        for path in self._folder.glob(f"*{PARTIAL}"):
            path.unlink(missing_ok=True)
        before = time.time() - KEPT_SECONDS
        old = [path for path in self._folder.glob("*.png") if path.stat().st_mtime < before]
        kept = set(named()) if old else set()
        for path in old:
            if path.stem not in kept:
                path.unlink(missing_ok=True)

    @contextmanager
    def upload(self) -> Iterator[Path]:
        """A path for a file that comes in; gone at the end of the block. Raises `CannotSaveInput`."""
        path = self._folder / f"{secrets.token_hex(8)}{PARTIAL}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            yield path
        except OSError as error:
            raise CannotSaveInput(self._folder, error) from error
        finally:
            with suppress(OSError):  # whatever is left, `sweep` removes
                path.unlink(missing_ok=True)

    def receive(self, upload: Path) -> InputPicture:
        """Keep the uploaded picture: upright RGB, transparency over white. Raises `UnusableInput`."""
        try:
            picture = read_picture(upload, called=Sentence("It"))
        except UnusablePicture as error:
            raise UnusableInput("This file cannot be used as a picture. {reason}", reason=error.sentence) from error
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=1)
        # Of the pixels and not of the file: another version of the encoder must not make another picture of it.
        name = hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()[:32]
        path = self._path(name)
        if not path.exists():
            write_atomically(path, buffer.getvalue())
        os.utime(path)
        return InputPicture(id=name, width=picture.width, height=picture.height)

    def check(self, name: str) -> None:
        """Raises `NotFound` when there is no such picture."""
        if not self._path(name).is_file():
            raise NotFound("There is no picture '{name}'. Upload it first.", name=name)

    def read(self, name: str) -> bytes:
        """The PNG. Raises `NotFound`."""
        try:
            return self._path(name).read_bytes()
        except OSError as error:
            raise NotFound("The picture {name} that this job begins with is not there any more.", name=name) from error

    def _path(self, name: str) -> Path:
        if not ID.fullmatch(name):
            raise NotFound("There is no picture '{name}'. Upload it first.", name=name[:80])
        return self._folder / f"{name}.png"
