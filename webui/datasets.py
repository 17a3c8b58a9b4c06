"""The datasets that people make in the page: folders below one folder, filled by uploads, edited picture by picture.

Changes files; how a dataset is read is known to `dataset.py`. Names are keys of what is there and pictures have opaque
ids: no path comes from a client. What an upload is called is checked before anything gets that name.
"""

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import threading
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from webui.dataset import CAPTIONS, CONTROL, LONGEST_CAPTION, METADATA, Dataset, Example, read_dataset
from webui.errors import CannotSaveDataset, Conflict, InvalidRequest, MissingTrainingData, NotFound, UserError
from webui.options import write_atomically
from webui.pictures import SUFFIXES, check_picture, read_picture
from webui.sentences import Sentence
from webui.train_names import TrainFolders, dataset_folders
from webui.train_requests import NAME
from webui.unpacking import ENDING as ZIP
from webui.unpacking import unpack

THUMBNAIL_SIDE = 256
UPLOADS = ".uploads"
"""Beside the datasets: what is not yet complete or checked."""
DELETED = ".deleted"

FILE_NAME = re.compile(r"""(?!\.)[^\x00-\x1f\x7f<>:"/\\|?*]{1,120}(?<![. ])""")
"""What every file system takes as a name; hidden files are nobody's pictures."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Received:
    """What became of an upload."""

    added: int
    problems: tuple[Sentence, ...] = ()


class Datasets:
    """All datasets of a data folder. Safe to use from any thread; every method raises `UserError`s only."""

    def __init__(self, folders: TrainFolders) -> None:
        self._folders = folders
        self._dir = folders.datasets
        self._changing = threading.Lock()
        self._known: dict[str, tuple[object, Dataset]] = {}
        """Name -> what its files looked like when it was read, and what was read."""

    def sweep(self) -> None:
        """Remove what an earlier server left half done; called before anything else."""
        for name in (UPLOADS, DELETED):
            shutil.rmtree(self._dir / name, ignore_errors=True)

    # Whole datasets.

    def names(self) -> list[str]:
        return list(dataset_folders(self._dir))

    def read(self, name: str) -> Dataset:
        """What is in it now; an empty one is no error. Raises `UnknownName`."""
        folder = self._folders.dataset(name)
        stamp = _stamp(folder)
        known = self._known.get(name)
        if known is None or known[0] != stamp:
            known = stamp, _read(folder)
            self._known[name] = known
        return known[1]

    def create(self, name: str) -> None:
        """Raises `InvalidRequest` or `Conflict`."""
        if not re.fullmatch(NAME, name) or name.endswith((".", " ")) or RESERVED.fullmatch(name):
            raise InvalidRequest(
                "A dataset cannot be called '{name}': letters, digits, space, dot, dash and underscore are possible, "
                "and it begins with a letter or digit.",
                name=name[:80],
            )
        with self._saving():
            if name.casefold() in map(str.casefold, self.names()):
                raise Conflict("There is a dataset called '{name}' already.", name=name)
            (self._dir / name).mkdir(parents=True)

    def delete(self, name: str) -> None:
        """Raises `UnknownName`."""
        folder = self._folders.dataset(name)
        with self._saving():
            gone = self._dir / DELETED / secrets.token_hex(8)
            gone.parent.mkdir(exist_ok=True)
            folder.replace(gone)  # at once, however long the removal takes
            self._known.pop(name, None)
            if gone.is_symlink():  # to a folder of the person's own, which stays
                gone.unlink()
            else:
                shutil.rmtree(gone)

    # Uploads.

    @contextmanager
    def upload(self, name: str, file_name: str) -> Iterator[Path]:
        """A path to write an upload to, checked by name; it is gone at the end. Pass it on to `receive`."""
        self._folders.dataset(name)
        _check_file_name(file_name)
        place = self._dir / UPLOADS / secrets.token_hex(8)
        try:
            with self._reporting():
                place.mkdir(parents=True)
            yield place / file_name
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def receive(self, name: str, upload: Path) -> Received:
        """Take a complete upload in: a picture, captions, or a .zip of them.

        Raises `InvalidRequest` or `UnusablePicture` for what cannot be used, `Conflict` for a picture of that name.
        """
        folder = self._folders.dataset(name)
        if upload.suffix.lower() != ZIP:
            with self._saving():
                return Received(added=self._take(folder, upload, upload.name))
        unpacked = upload.parent / "unpacked"
        with self._reporting():
            problems = unpack(upload, unpacked)
        added = 0
        for path in sorted(path for path in unpacked.rglob("*") if path.is_file()):
            try:
                with self._saving():
                    added += self._take(folder, path, path.relative_to(unpacked).as_posix())
            except CannotSaveDataset:
                raise
            except UserError as error:
                problems.append(error.sentence)
        return Received(added=added, problems=tuple(problems))

    def _take(self, folder: Path, upload: Path, name: str) -> int:
        """1 when it is new, 0 when the same is there already."""
        for part in PurePosixPath(name).parts:
            _check_file_name(part)
        target = folder / unicodedata.normalize("NFC", name)
        is_text = upload.suffix.lower() in CAPTIONS or name == METADATA
        if upload.suffix.lower() in SUFFIXES:
            check_picture(upload)
        elif not is_text:
            endings = ", ".join((*SUFFIXES, *CAPTIONS, METADATA, ZIP))
            raise InvalidRequest("{name} cannot be used: a dataset takes {endings}.", name=name, endings=endings)
        if target.exists() and not is_text:
            if target.stat().st_size == upload.stat().st_size and target.read_bytes() == upload.read_bytes():
                return 0
            raise Conflict(
                "Another {name} is in this dataset already. Rename the file, or remove the old one.", name=name
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        upload.replace(target)
        return 1

    # Single pictures.

    def picture(self, name: str, picture_id: str) -> Example:
        """Raises `UnknownName` or `NotFound`."""
        known = self._known.get(name)
        # A page asks for hundreds of thumbnails at once: the folder is looked through only when one is not known.
        for dataset in (known[1] if known else None, None):
            for example in (dataset or self.read(name)).examples:
                if picture_id == self.id_of(name, example):
                    return example
        raise NotFound("There is no picture '{id}' in this dataset any more.", id=picture_id[:80])

    def id_of(self, name: str, example: Example) -> str:
        return hashlib.sha256(f"{name}\0{self.file_of(name, example)}".encode()).hexdigest()[:20]

    def file_of(self, name: str, example: Example) -> str:
        """Its name below the dataset's folder, for people."""
        return example.path.relative_to(self._dir / name).as_posix()

    def thumbnail(self, name: str, picture_id: str) -> bytes:
        """JPEG, `THUMBNAIL_SIDE` pixels on its longer side."""
        image = read_picture(self.picture(name, picture_id).path, least=THUMBNAIL_SIDE)
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=82)
        return buffer.getvalue()

    def caption(self, name: str, picture_id: str, caption: str) -> None:
        """Write a caption down where the dataset keeps it: in metadata.jsonl, or in a .txt beside the picture."""
        words = " ".join(caption.split())
        if len(words.encode()) > LONGEST_CAPTION:
            raise InvalidRequest("A caption has {most} bytes at most.", most=f"{LONGEST_CAPTION:,}")
        example = self.picture(name, picture_id)
        folder, file = self._folders.dataset(name), self.file_of(name, example)
        with self._saving():
            self._known.pop(name, None)
            lines = _Lines.of(folder)
            if lines.has_text(file):
                lines.change(file, words)
            else:
                write_atomically(example.path.with_suffix(CAPTIONS[0]), f"{words}\n".encode())

    def remove(self, name: str, picture_id: str) -> None:
        """Remove a picture and everything that belongs to it alone."""
        example = self.picture(name, picture_id)
        folder, file = self._folders.dataset(name), self.file_of(name, example)
        with self._saving():
            self._known.pop(name, None)
            lines = _Lines.of(folder)
            if lines.knows(file):
                lines.change(file, None)
            example.path.unlink(missing_ok=True)
            stem = example.path.with_suffix("")
            if not any(stem.with_name(stem.name + ending).exists() for ending in SUFFIXES):  # cat.jpg beside cat.png
                for ending in (*CAPTIONS, CONTROL):
                    stem.with_name(stem.name + ending).unlink(missing_ok=True)

    # Inside.

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """One change at a time."""
        with self._changing, self._reporting():
            yield

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CannotSaveDataset(str(self._dir), error.strerror or str(error)) from error


class _Lines:
    """The lines of a metadata.jsonl, those that are not understood included."""

    def __init__(self, path: Path, lines: list[bytes]) -> None:
        self._path = path
        self._lines = lines

    @classmethod
    def of(cls, folder: Path) -> "_Lines":
        path = folder / METADATA
        with suppress(FileNotFoundError):
            return cls(path, path.read_bytes().splitlines())
        return cls(path, [])

    def knows(self, file: str) -> bool:
        return any(_values(line).get("file_name") == file for line in self._lines)

    def has_text(self, file: str) -> bool:
        return any(
            values.get("file_name") == file and isinstance(values.get("text"), str)
            for values in map(_values, self._lines)
        )

    def change(self, file: str, text: str | None) -> None:
        """Give the picture's line another text; with None, drop the line."""
        changed = []
        for line in self._lines:
            values = _values(line)
            if values.get("file_name") != file:
                changed.append(line)
            elif text is not None:
                changed.append(json.dumps({**values, "text": text}, ensure_ascii=False).encode())
        write_atomically(self._path, b"".join(line + b"\n" for line in changed))


def _values(line: bytes) -> Mapping[str, object]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    name = values.get("file_name")
    return values | {"file_name": name.replace("\\", "/")} if isinstance(name, str) else values


def _read(folder: Path) -> Dataset:
    try:
        return read_dataset(folder, thorough=False)
    except MissingTrainingData as error:
        is_empty = not any(path.is_file() for path in folder.rglob("*"))
        return Dataset(examples=(), problems=() if is_empty else (error.sentence,))


def _stamp(folder: Path) -> object:
    """Equal as long as no file of the folder changes."""
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    try:
        return frozenset((str(path), stat.st_mtime_ns, stat.st_size) for path in files for stat in [path.stat()])
    except OSError:  # it is being changed right now: equal to no other
        return object()


def _check_file_name(name: str) -> None:
    if not FILE_NAME.fullmatch(name) or RESERVED.fullmatch(name):
        raise InvalidRequest("A file cannot be called '{name}'. Rename it and try again.", name=name[:80])
