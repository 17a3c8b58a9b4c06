"""What an extension's folder says about itself before any of its code runs: `extension.toml`, files, hooks, imports.

Knows neither whether it is trusted nor how it is imported.
"""

import ast
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from webui.errors import ExtensionError
from webui.extension import API, HOOKS
from webui.request_base import STRICT

MANIFEST = "extension.toml"
HALVES = ("options", "ui", "engine", "script")
"""Modules that an extension may have; each is `<name>.py`."""
NAME = r"[a-z][a-z0-9_]{1,39}"
MOST_MANIFEST_BYTES = 64 * 2**10
MOST_FILES = 2000
MOST_BYTES = 256 * 2**20
NOT_COUNTED = ("__pycache__", ".git")
"""Folders that are no part of an extension: nothing in them is ever read."""

TELLING_IMPORTS = {
    **dict.fromkeys(("socket", "http", "urllib", "requests", "httpx", "aiohttp", "ftplib", "smtplib"), "network"),
    **dict.fromkeys(("subprocess", "multiprocessing", "pty"), "processes"),
    **dict.fromkeys(("ctypes", "cffi"), "native code"),
    **dict.fromkeys(("pickle", "marshal", "shelve", "dill"), "pickles"),
}
"""Package -> what its import hints at. Told in the review; a hint and no fence."""
TELLING_CALLS = {"eval": "evaluated text", "exec": "evaluated text", "__import__": "evaluated text"}

Line = Annotated[str, Field(max_length=300)]
Lines = Annotated[list[Line], Field(max_length=50)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Manifest:
    """An `extension.toml`."""

    name: Annotated[str, Field(pattern=rf"^{NAME}$")]
    """The folder's own name, and the key of the options in a request."""
    version: Annotated[str, Field(min_length=1, max_length=40)]
    api: int
    """The version of the contract it was written for."""
    title: Annotated[str, Field(min_length=1, max_length=60)]
    description: Annotated[str, Field(max_length=2000)] = ""
    tags: Annotated[list[Annotated[str, Field(pattern=r"^\w{1,40}$")]], Field(max_length=20)] = Field(
        default_factory=list
    )
    """Kinds of prompt tags that it takes: "lora" for `<lora:…>`."""
    requirements: Lines = Field(default_factory=list)
    """Python packages as pip knows them, without addresses."""
    asks: Lines = Field(default_factory=list)
    """What it wants to do beyond drawing, in words for a person: shown, not enforced."""


@dataclass(frozen=True)
class Folder:
    """An extension on the disk, unread but for its manifest."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @cached_property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of every file by its path inside. Raises `ExtensionError`."""
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in _files(self.path)}

    @property
    def digest(self) -> str:
        """Changes when any file does."""
        return digest_of(self.files)

    def has(self, half: str) -> bool:
        """Whether it has one of `HALVES`."""
        return (self.path / f"{half}.py").is_file()

    def words(self, language: str) -> dict[str, str]:
        """English -> another language, of its file languages/<language>.json; nothing when there is none of use."""
        name = f"languages/{language}.json"
        if name not in self.files:
            return {}
        try:
            found = json.loads((self.path / name).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        texts = found.items() if isinstance(found, dict) else ()
        return {english: text for english, text in texts if isinstance(text, str)}

    @property
    def hooks(self) -> tuple[str, ...]:
        """Hooks that its engine half defines, read from its source."""
        for node in self._tree("engine.py").body:
            if isinstance(node, ast.ClassDef) and node.name == "Engine":
                defined = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                return tuple(hook for hook in HOOKS if hook in defined)
        return ()

    @property
    def hints(self) -> tuple[str, ...]:
        """What its sources may reach for, in one or two words each."""
        found: set[str] = set()
        for name in self.files:
            if name.endswith(".py"):
                found.update(_hints(self._tree(name)))
        return tuple(sorted(found))

    def _tree(self, name: str) -> ast.Module:
        try:
            return ast.parse((self.path / name).read_text("utf-8"))
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):  # importing it will say what is wrong
            return ast.Module(body=[], type_ignores=[])


def digest_of(files: Mapping[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{name}\0{files[name]}" for name in sorted(files)).encode()).hexdigest()


def read_folder(path: Path) -> Folder:
    """Read a folder's manifest. Raises `ExtensionError`."""
    file = path / MANIFEST
    try:
        if file.is_symlink() or not file.is_file():
            raise ExtensionError("{folder} is no extension: it has no {file}.", folder=path.name, file=MANIFEST)
        with file.open("rb") as opened:
            text = opened.read(MOST_MANIFEST_BYTES + 1)
        if len(text) > MOST_MANIFEST_BYTES:
            raise ValueError("it is too long")
        manifest = Manifest(**tomllib.loads(text.decode("utf-8")))
        _check_requirements(manifest.requirements)
    except ExtensionError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise _wrong_manifest(path, reason) from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise _wrong_manifest(path, str(error)[:300]) from error
    if manifest.api != API:
        raise ExtensionError(
            "{title} was written for version {theirs} of Easel's extension contract; this Easel has version {ours}. "
            "Look for another version of it.",
            title=manifest.title, theirs=manifest.api, ours=API,
        )  # fmt: skip
    return Folder(path, manifest)


def _wrong_manifest(path: Path, reason: str) -> ExtensionError:
    return ExtensionError(
        "The {file} of '{folder}' cannot be used: {reason}.",
        file=MANIFEST, folder=path.name[:80], reason=reason.rstrip("."),
    )  # fmt: skip


def _check_requirements(requirements: list[str]) -> None:
    """A requirement is a name with versions: an address could name any code."""
    for text in requirements:
        try:
            if Requirement(text).url is not None:
                raise ValueError(f"the requirement '{text}' is an address")
        except InvalidRequirement as error:
            raise ValueError(f"'{text}' is no requirement") from error


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file by its path inside, in order; links and special files are refused, and what is far too much."""
    left, size = MOST_FILES, 0
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part in NOT_COUNTED for part in inside.parts):
            continue
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ExtensionError(
                "'{folder}' is refused: its file '{file}' is a link or no plain file.",
                folder=folder.name, file=inside.as_posix()[:120],
            )  # fmt: skip
        if path.is_dir():
            continue
        left, size = left - 1, size + path.stat().st_size
        if left < 0 or size > MOST_BYTES:
            raise ExtensionError(
                "'{folder}' is refused: an extension has at most {files} files and {size} MB.",
                folder=folder.name, files=MOST_FILES, size=MOST_BYTES // 2**20,
            )  # fmt: skip
        yield inside.as_posix(), path


def _hints(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TELLING_CALLS:
            yield TELLING_CALLS[node.func.id]
        yield from (TELLING_IMPORTS[top] for name in names if (top := name.partition(".")[0]) in TELLING_IMPORTS)


def is_name(text: str) -> bool:
    return re.fullmatch(NAME, text) is not None
