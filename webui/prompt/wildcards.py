"""Wildcards: `__name__` -> one line of NAME.txt, the same one for the same seed.

A name is a key of the list of files that were found, never a path. What a line says may hold wildcards again.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from webui.errors import InvalidRequest, UnknownName
from webui.prompt.limits import MAX_CHARACTERS, check_length, told

MAX_DEPTH = 16
"""Wildcards inside wildcards: deeper ones lead to themselves."""
MAX_CHOICES = 10_000
"""Wildcards that one prompt may hold, those inside wildcards included."""
MAX_FILE = 8 * 2**20
"""Bytes. A million lines; what is larger is no list of words."""

_WILDCARD = re.compile(r"(?<!\\)__([^\W_][\w/-]*?)__")

Wildcards = Mapping[str, Sequence[str]]
"""Name -> its lines."""


def expand(prompt: str, wildcards: Wildcards, key: str) -> str:
    r"""The prompt with a line in the place of each wildcard; `\__name__` stays text.

    `key` decides which lines: the same key and files, the same text, whatever else the prompt holds after it.
    Raises `UnknownName`, or `InvalidRequest` for an empty wildcard, one that leads to itself, and a text too long.
    """
    return check_length(_Expansion(wildcards, key).of(prompt, MAX_DEPTH))


class _Expansion:
    """One prompt being expanded: counts what it has taken."""

    def __init__(self, wildcards: Wildcards, key: str) -> None:
        self._wildcards = wildcards
        self._key = key
        self._read: dict[str, Sequence[str]] = {}
        self._choices = 0
        self._length = 0

    def of(self, text: str, depth: int) -> str:
        return _WILDCARD.sub(lambda match: self._line(match[1], depth), text)

    def _line(self, name: str, depth: int) -> str:
        if not depth:
            raise InvalidRequest(
                "The wildcard '{name}' leads to itself, or lies more than {most} wildcards deep.",
                name=name[:80],
                most=MAX_DEPTH,
            )
        self._choices += 1
        if self._choices > MAX_CHOICES or self._length > MAX_CHARACTERS:
            raise InvalidRequest(
                "The wildcards of the prompt lead to more than {choices} words or {characters} characters. Use fewer.",
                choices=f"{MAX_CHOICES:,}",
                characters=f"{MAX_CHARACTERS:,}",
            )
        lines = self._lines(name)
        chosen = lines[_number(f"{self._key}/{self._choices}/{name}") % len(lines)]
        self._length += len(chosen)
        return self.of(chosen, depth - 1)

    def _lines(self, name: str) -> Sequence[str]:
        if name not in self._read:
            if name not in self._wildcards:
                raise UnknownName("wildcard", name, told(self._wildcards))
            self._read[name] = self._wildcards[name]
            if not self._read[name]:
                raise InvalidRequest("The wildcard '{name}' has no line. Write one word or phrase per line.", name=name)
        return self._read[name]


def _number(key: str) -> int:
    """A number that looks drawn by chance; unlike `random`'s it is the same in every version of Python."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")


class WildcardFolder(Mapping[str, Sequence[str]]):
    """The .txt files of a folder and its folders: `animals/cats.txt` is `__animals/cats__`.

    The list is taken at `refresh`; a file is read when it is asked for. Links that lead out of the folder are left out.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: Mapping[str, Path] = {}
        self.refresh()

    def refresh(self) -> None:
        self._files = dict(sorted(_text_files(self._folder)))

    def __getitem__(self, name: str) -> Sequence[str]:
        """The lines without empty ones and comments (#). Raises `KeyError`; `InvalidRequest` for an unusable file."""
        content = _content(name, self._files[name])
        lines = (line.strip() for line in content.splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _text_files(folder: Path) -> Iterator[tuple[str, Path]]:
    inside = folder.resolve()
    for where, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(where, name)
            key = path.relative_to(folder).with_suffix("").as_posix()
            if path.suffix.lower() == ".txt" and _WILDCARD.fullmatch(f"__{key}__") and _is_within(path, inside):
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
        raise InvalidRequest(
            "The file of the wildcard '{name}' is larger than {most} MB. Keep words in it, one per line.",
            name=name,
            most=MAX_FILE // 2**20,
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            "The file of the wildcard '{name}' is not UTF-8 text. Save it as UTF-8.", name=name
        ) from error
