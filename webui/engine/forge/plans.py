"""What is to be written: files, the tensors in them and how each is made, known whole before the first is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from webui.engine.forge.sources import Source, Spec

PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Entry:
    """One tensor of the result."""

    spec: Spec
    make: Callable[[], torch.Tensor]
    """In any floating precision; it is written in that of `spec`."""


@dataclass
class Plan:
    """A model that does not exist yet."""

    is_folder: bool
    files: dict[str, dict[str, Entry]]
    """Path of a .safetensors file below the result ("" where the result is that file) -> key -> tensor."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Of the one file, or of the denoiser's."""
    copied: dict[str, Path] = field(default_factory=dict)
    """Path below the result -> a file that is taken over as it is."""
    written: dict[str, bytes] = field(default_factory=dict)
    """Path below the result -> contents of a small file."""

    @property
    def bytes(self) -> int:
        """What the result takes on the disk, but for some kilobytes."""
        tensors = sum(entry.spec.bytes for entries in self.files.values() for entry in entries.values())
        return tensors + sum(path.stat().st_size for path in self.copied.values())

    @property
    def count(self) -> int:
        return sum(len(entries) for entries in self.files.values())


def taken(source: Source, key: str, precision: str) -> Entry:
    """A tensor as it is in the source, but in that precision."""
    spec = source.specs[key]
    return Entry(Spec(spec.shape, precision_of(spec.dtype, precision)), lambda: source.read(key))


def precision_of(dtype: torch.dtype, precision: str) -> torch.dtype:
    """Whole numbers and truths have none."""
    return PRECISIONS.get(precision, dtype) if dtype.is_floating_point else dtype


def as_in(source: Source, entries: Mapping[str, Entry]) -> Plan:
    """A plan with the layout of the source, whose other files are taken over; `entries` have its kind of keys."""
    if not source.is_folder:
        return Plan(is_folder=False, files={"": dict(entries)}, metadata=dict(source.metadata))
    files: dict[str, dict[str, Entry]] = {}
    for key, entry in entries.items():
        part, _, own = key.partition("/")
        files.setdefault(below(source, source.files[part]), {})[own] = entry
    rest = (path for path in source.path.rglob("*") if path.is_file() and path.suffix != ".safetensors")
    copied = {below(source, path): path for path in rest if not path.name.startswith(".")}
    return Plan(is_folder=True, files=files, copied=copied)


def below(source: Source, path: Path) -> str:
    return path.relative_to(source.path).as_posix()
