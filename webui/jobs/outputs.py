"""Pictures as files: each is complete under its name or not there at all, and no name is given twice.

A picture goes through three steps, and after a crash between any two of them `sweep` puts things right:
written beside its place as `<name>.partial`, recorded in the store, moved to its name. A `.partial` that is
recorded is finished; one that is not is removed, because its job will make the picture again.

A finished picture that the outputs folder does not take is kept in `unsaved` and moved as soon as that works.
Which picture belongs to which job is the store's business.
"""

import contextlib
import datetime
import itertools
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from webui.errors import CannotSave, NotFound
from webui.options import sync_folder
from webui.sentences import Sentence

log = logging.getLogger(__name__)

Recorded = TypeVar("Recorded")

PARTIAL = ".partial"
PARTIAL_SECONDS = 60.0
"""No picture takes so long to be written: an older partial is not one that another server is writing now."""
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
SUFFIXES = (".png", ".jpg", ".webp")
_PICTURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP", re.DOTALL)
_NUMBERED = re.compile(r"(\d{5,6})[-.]")
"""Longer ones are seeds."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a picture is to lie and what it is to be called, as far as that name is free."""

    folder: str
    """Relative to the outputs folder, with forward slashes; "" for itself."""
    stem: str
    """The name without number and suffix; may be "" where it is numbered."""
    suffix: str = ".png"
    numbered: bool = True

    @classmethod
    def usual(cls, seed: int) -> "Place":
        return cls(folder=datetime.date.today().isoformat(), stem=str(seed))


class Outputs:
    """The outputs folder and, for pictures that it does not take, the `unsaved` folder; safe from any thread."""

    def __init__(
        self, outputs_dir: Path, unsaved_dir: Path, names_of: Callable[[str], Iterable[str]] = lambda folder: ()
    ) -> None:
        """`names_of`: what pictures of a folder were called: a deleted one's name is not given again."""
        self.outputs_dir = outputs_dir
        self._unsaved_dir = unsaved_dir
        self._names_of = names_of
        self._in_memory: dict[str, bytes] = {}
        """Pictures that no folder takes, by the path they should have."""
        self._has_unsaved = False
        self._lock = threading.Lock()

    def save(self, content: bytes, place: Place, record: Callable[[str], Recorded]) -> Recorded:
        """Write a finished picture down to the disk and return what `record` returned.

        `record` is called with the path, relative to the outputs folder, before the file appears under it; when it
        raises, nothing stays behind. Raises `CannotSave` when the folder does not take the picture.
        """
        with self._lock:
            try:
                partial = self._write_partial(content, place)
            except OSError as error:
                raise self._refusal(error) from error
            final = partial.with_name(partial.name.removesuffix(PARTIAL))
            path = final.relative_to(self.outputs_dir).as_posix()
            try:
                recorded = record(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            try:
                _move(partial, final)
            except OSError as error:
                with contextlib.suppress(OSError):
                    partial.unlink()
                raise self._refusal(error) from error
            if self._has_unsaved:
                self._move_unsaved()
            return recorded

    def keep_unsaved(self, content: bytes, wanted: Place) -> tuple[str, Sentence]:
        """Keep a picture that `save` refused. Returns the path it is to have, and a sentence that says where it is."""
        with self._lock:
            self._has_unsaved = True
            path = (Path(wanted.folder) / next(self._names(wanted))).as_posix()
            place = self._unsaved_dir / path
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                _write(place.with_name(place.name + PARTIAL), content)
                _move(place.with_name(place.name + PARTIAL), place)
                return path, Sentence("The finished picture was kept as {place}.", place=str(place))
            except OSError as error:
                log.warning("The unsaved folder does not take a picture either: %s", error)
            name = f"unsaved-{len(self._in_memory) + 1}-{wanted.stem}{wanted.suffix}"
            path = (Path(wanted.folder) / name).as_posix()
            self._in_memory[path] = content
            return path, Sentence(
                "The finished picture is kept in memory until Easel is closed: save it from the page now."
            )

    def read(self, path: str) -> bytes:
        """The picture at a path that came from the store, wherever it is kept. Raises `NotFound`."""
        if path in self._in_memory:
            return self._in_memory[path]
        for folder in (self.outputs_dir, self._unsaved_dir):
            with contextlib.suppress(OSError):
                content = _read_file(folder / path)
                if _PICTURE.match(content):
                    return content
        raise NotFound("This picture is not in the outputs folder any more. It may have been moved or deleted.")

    def sweep(self, is_recorded: Callable[[str], bool]) -> None:
        """Put right what an earlier run left half done. Never fatal: what cannot be changed now stays."""
        for partial in list(_files(self.outputs_dir, f"*{PARTIAL}")):
            final = partial.with_name(partial.name.removesuffix(PARTIAL))
            if final.suffix not in SUFFIXES:
                continue
            try:
                if is_recorded(final.relative_to(self.outputs_dir).as_posix()) and not final.exists():
                    _move(partial, final)
                elif time.time() - partial.stat().st_mtime > PARTIAL_SECONDS:
                    partial.unlink()
            except OSError as error:
                log.warning("%s could not be cleaned up: %s", partial, error)
        self._move_unsaved()

    def _move_unsaved(self) -> None:
        """Bring unsaved pictures to the place that the store knows them by; those that cannot be moved yet stay."""
        try:
            for kept in [path for path in _files(self._unsaved_dir, "*") if path.suffix in SUFFIXES]:
                self._put(kept.read_bytes(), kept.relative_to(self._unsaved_dir).as_posix())
                kept.unlink()
            for path, content in list(self._in_memory.items()):
                self._put(content, path)
                del self._in_memory[path]
            self._has_unsaved = False
        except OSError as error:
            log.warning("Unsaved pictures still cannot be moved to %s: %s", self.outputs_dir, error)

    def _put(self, content: bytes, path: str) -> None:
        final = self.outputs_dir / path
        if final.exists():  # moved before, and only the copy was left behind
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(final.name + PARTIAL)
        partial.unlink(missing_ok=True)
        _write(partial, content)
        _move(partial, final)
        log.info("A picture that could not be saved earlier is now in %s", final)

    def _write_partial(self, content: bytes, place: Place) -> Path:
        """The first free name's `.partial`; exclusive, so that two servers may share an outputs folder."""
        folder = self.outputs_dir / place.folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in self._names(place):
            partial = folder / f"{name}{PARTIAL}"
            try:
                _write(partial, content)
            except FileExistsError:
                continue
            # Whoever holds the partial owns the name, unless another server was done with it just before.
            if not (folder / name).exists():
                return partial
            partial.unlink()
        raise AssertionError("there is always another name")

    def _names(self, place: Place) -> Iterator[str]:
        """Names that no picture of the folder has or had: the store knows pictures by their paths."""
        listed = (_listed(folder / place.folder) for folder in (self.outputs_dir, self._unsaved_dir))
        taken = {*itertools.chain(*listed), *self._names_of(place.folder)}
        if place.numbered:
            numbers = (int(match[1]) for match in map(_NUMBERED.match, taken) if match)
            end = f"-{place.stem}{place.suffix}" if place.stem else place.suffix
            yield from (f"{number:05d}{end}" for number in itertools.count(max(numbers, default=0) + 1))
        folded = {name.casefold() for name in taken}
        ends = itertools.chain([""], (f"-{number}" for number in itertools.count(1)))
        names = (f"{place.stem}{end}{place.suffix}" for end in ends)
        yield from (name for name in names if name.casefold() not in folded)

    def _refusal(self, error: OSError) -> CannotSave:
        return CannotSave(str(self.outputs_dir), error.strerror or str(error))


def _read_file(path: Path) -> bytes:
    """A link or pipe that somebody put in a picture's place is neither followed nor waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        return file.read()


def _write(path: Path, content: bytes) -> None:
    """Write a new file down to the disk; half of one is removed again. Raises `FileExistsError`."""
    with path.open("xb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _move(partial: Path, final: Path) -> None:
    """Give a written file its name, but never take the name from another. Raises `FileExistsError`."""
    try:
        os.link(partial, final)
        partial.unlink()
    except FileExistsError:
        raise
    except OSError:  # no hard links on this filesystem
        if final.exists():
            raise FileExistsError(f"{final} is already there") from None
        partial.rename(final)
    sync_folder(final.parent)


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    return folder.rglob(pattern) if folder.is_dir() else iter(())


def _listed(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
