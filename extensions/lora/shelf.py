"""Which file a name in a tag means. Names are compared with those of the files that there are, and never opened."""

import difflib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_HEADER = 32 * 2**20
SAFETENSORS = (".safetensors", ".sft")
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
    """The LoRAs that there are now."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """`files` by the names of Easel's library."""
        self._files = files

    def find(self, name: str) -> Found | None:
        """By file name or path below its folder, with or without suffix, or by the name it was trained under."""
        wanted = name.strip()
        if not wanted:
            return None
        for is_it in (_ends_with, _was_trained_as):
            if paths := tuple(path for path in self._files.values() if is_it(path, wanted)):
                return Found(name, paths)
        return Found(name, (self._files[wanted],)) if wanted in self._files else None

    def near(self, name: str) -> list[str]:
        """Names that may have been meant, the nearest first."""
        known = {key.lower(): key for key in self._files}
        wanted = name.strip().lower()
        close = difflib.get_close_matches(wanted, known, 3, 0.6)
        held = [each for each in known if wanted and wanted in each and each not in close]
        return [known[each] for each in [*close, *held][:3]]


def _ends_with(path: Path, wanted: str) -> bool:
    return any(f"/{each.as_posix()}".endswith(f"/{wanted}") for each in (path, path.with_suffix("")))


def _was_trained_as(path: Path, wanted: str) -> bool:
    return trained_name(path) == wanted


def trained_name(path: Path) -> str:
    """The name that kohya's scripts wrote into the header; "" when there is none or it says nothing."""
    name = header(path).get("ss_output_name", "")
    return "" if name in GENERIC else name


def header(path: Path) -> Mapping[str, str]:
    """Metadata of a safetensors file, nothing of any other. Reads the header alone and raises nothing."""
    if path.suffix not in SAFETENSORS:
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
