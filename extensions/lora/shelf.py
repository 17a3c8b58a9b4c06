"""The LoRA files of a models folder and their names. A name is a key of this index, never a path."""

import difflib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FOLDERS = ("loras", "lycoris")
SUFFIXES = (".safetensors", ".pt", ".ckpt", ".bin")
MAX_HEADER = 32 * 2**20
GENERIC = {"adapter_model", "pytorch_lora_weights", "lora", "last"}
"""Names that tools write without asking; as an alias they would mean any of many files."""


@dataclass(frozen=True)
class Found:
    """What a name stands for."""

    name: str
    """As it was written."""
    paths: tuple[Path, ...]
    """The file, and others of the same name in other folders."""

    @property
    def path(self) -> Path:
        return self.paths[0]


class Shelf:
    """The files as they lie there when it is made."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir

    @cached_property
    def _files(self) -> Mapping[str, Path]:
        """Path below its folder, without suffix -> file, in order."""
        found: dict[str, Path] = {}
        for folder in (self._models_dir / name for name in FOLDERS):
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in SUFFIXES and path.is_file():
                    found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
        return found

    def find(self, name: str) -> Found | None:
        """By path below the folder, by file name, with or without suffix, or by the name it was trained under."""
        wanted = name.strip()
        bare = wanted.removesuffix(next((suffix for suffix in SUFFIXES if wanted.endswith(suffix)), ""))
        for candidate in (wanted, bare):
            if candidate in self._files:
                return Found(name, (self._files[candidate],))
            if paths := tuple(path for path in self._files.values() if path.stem == candidate):
                return Found(name, paths)
        paths = tuple(path for path in self._files.values() if wanted and trained_name(path) == wanted)
        return Found(name, paths) if paths else None

    def near(self, name: str) -> list[str]:
        """Names that may have been meant, the nearest first."""
        known: dict[str, str] = {}
        for key in self._files:
            for each in (key, key.rsplit("/", 1)[-1]):
                known.setdefault(each.lower(), each)
        wanted = name.strip().lower()
        close = difflib.get_close_matches(wanted, known, 3, 0.6)
        held = [each for each in known if wanted and wanted in each and each not in close]
        return list(dict.fromkeys(known[each] for each in [*close, *held][:3]))


def trained_name(path: Path) -> str:
    """The name that kohya's scripts wrote into the header; "" when there is none or it says nothing."""
    name = header(path).get("ss_output_name", "")
    return "" if name in GENERIC else name


def header(path: Path) -> Mapping[str, str]:
    """Metadata of a safetensors file, nothing of any other. Reads the header alone and raises nothing."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > MAX_HEADER:
                return {}
            found = json.loads(file.read(length)).get("__metadata__", {})
    except (OSError, ValueError, struct.error, AttributeError, RecursionError):
        return {}
    return dict(_texts(found)) if isinstance(found, dict) else {}


def _texts(found: Mapping[object, object]) -> Iterator[tuple[str, str]]:
    yield from ((key, value) for key, value in found.items() if isinstance(key, str) and isinstance(value, str))
