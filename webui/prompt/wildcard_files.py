"""The wildcards folder: .txt files with a word or phrase per line, which other programs may change too.

What a prompt makes of them is in `wildcards`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from webui.errors import CannotSaveWildcards, InvalidRequest, UnknownName
from webui.options import write_atomically
from webui.prompt.wildcards import can_be_typed, nearest

MAX_FILE = 8 * 2**20
"""Bytes. A million lines; what is larger is no list of words."""
LONGEST_NAME = 200


class WildcardFolder(Mapping[str, Sequence[str]]):
    """The files of a folder and its folders as they lie there now: `animals/cats.txt` is `__animals/cats__`.

    The list is taken once, a file is read when it is first asked for. Links that lead out of the folder are left out.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = dict(sorted(_text_files(folder)))
        self._read: dict[str, Sequence[str]] = {}

    def __getitem__(self, name: str) -> Sequence[str]:
        """The lines without empty ones and comments (#). Raises `KeyError`; `InvalidRequest` for an unusable file."""
        if name not in self._read:
            lines = (line.strip() for line in _content(name, self._files[name]).splitlines())
            self._read[name] = tuple(line for line in lines if line and not line.startswith("#"))
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a file, usable or not."""
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def text(self, name: str) -> str:
        """The whole file. Raises `UnknownName`, or `InvalidRequest` for an unusable one."""
        return _content(name, self._file(name))

    def save(self, name: str, text: str) -> None:
        """Write the file of that name; the one before stays beside it as .bak.

        Raises `InvalidRequest` for a name that cannot be typed or a text too long, `CannotSaveWildcards`.
        """
        if len(name) > LONGEST_NAME or not can_be_typed(name):
            raise InvalidRequest(
                "A wildcard's name has up to {most} letters, digits, _ and -, and begins with a letter or digit. "
                "Folders stand before it with /.",
                most=LONGEST_NAME,
            )
        content = text.encode("utf-8", "replace")
        if len(content) > MAX_FILE:
            raise _too_large(name)
        path = self._files.get(name) or self._folder / f"{name}.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(self._folder.resolve()):
                raise InvalidRequest("The folder of the wildcard '{name}' lies elsewhere.", name=name)
            if path.exists():
                write_atomically(_kept(path), path.read_bytes())
            write_atomically(path, content)
        except OSError as error:
            raise CannotSaveWildcards(str(path), error.strerror or str(error)) from error
        self._files[name] = path
        self._read.pop(name, None)

    def delete(self, name: str) -> None:
        """It stays beside its place as .bak. Raises `UnknownName`, `CannotSaveWildcards`."""
        path = self._file(name)
        try:
            path.replace(_kept(path))
        except OSError as error:
            raise CannotSaveWildcards(str(path), error.strerror or str(error)) from error
        del self._files[name]
        self._read.pop(name, None)

    def _file(self, name: str) -> Path:
        if name not in self._files:
            raise UnknownName("wildcard", name, nearest(name, self))
        return self._files[name]


def _kept(path: Path) -> Path:
    return path.with_name(f"{path.name}.bak")


def _text_files(folder: Path) -> Iterator[tuple[str, Path]]:
    inside = folder.resolve()
    for where, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(where, name)
            key = path.relative_to(folder).with_suffix("").as_posix()
            if path.suffix.lower() == ".txt" and can_be_typed(key) and _is_within(path, inside):
                yield key, path


def _is_within(path: Path, folder: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(folder) and path.is_file()
    except (OSError, RuntimeError):  # a link to nothing, or to itself
        return False


def _content(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidRequest("The wildcard '{name}' cannot be read: {reason}.", name=name, reason=reason) from error
    if len(content) > MAX_FILE:
        raise _too_large(name)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            "The file of the wildcard '{name}' is not UTF-8 text. Save it as UTF-8.", name=name
        ) from error


def _too_large(name: str) -> InvalidRequest:
    return InvalidRequest(
        "The file of the wildcard '{name}' is larger than {most} MB. Keep words in it, one per line.",
        name=name,
        most=MAX_FILE // 2**20,
    )
