"""The checkpoints on disk: found, named and described from headers alone, without loading a tensor.

A name is a key of this index and never part of a path. What is wrong with a checkpoint is found out here,
before a job runs, and said in one sentence (`Passport.problem`).
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from webui.errors import CheckpointError, NoCheckpoint, UnknownName

MAX_HEADER = 32 * 2**20
"""No real safetensors header is larger; a bigger number is a damaged or hostile file."""

PARTS = ("unet", "vae", "text_encoder")
"""Folders of a StableDiffusionPipeline that hold weights."""


@dataclass(frozen=True, kw_only=True)
class Passport:
    """What is known of a checkpoint without loading it."""

    name: str
    path: Path
    title: str
    family: str
    """"sd1", "sd2" or "sd" (Stable Diffusion's shape at another size); "" when unknown."""
    prediction_type: str
    """"epsilon", "v_prediction" or "sample"."""
    native_size: int
    """Side in pixels of the pictures it was trained on."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values a request takes when it names none: width, height and whatever the folder's easel.json recommends."""
    problem: str | None = None
    """Why it cannot be used, one sentence; None when nothing is wrong with its headers."""

    @cached_property
    def hash(self) -> str:
        """First 10 hex digits of the SHA-256 of the denoiser's weights; reads the files, so never while listing."""
        digest = hashlib.sha256()
        for path in sorted((self.path / "unet").glob("*.safetensors")):
            with path.open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
        return digest.hexdigest()[:10]


class Library:
    """The index of one checkpoints folder. `refresh` looks at the disk, everything else at the last look."""

    def __init__(self, checkpoints_dir: Path) -> None:
        self._dir = checkpoints_dir
        self._passports: Mapping[str, Passport] = {}
        self.refresh()

    def refresh(self) -> None:
        found = sorted(_folders_with("model_index.json", self._dir))
        passports = (_passport(path.relative_to(self._dir).as_posix(), path) for path in found)
        self._passports = MappingProxyType({passport.name: passport for passport in passports})

    def passports(self) -> Mapping[str, Passport]:
        return self._passports

    def default(self, preferred: str = "") -> Passport:
        """The preferred checkpoint when it can be used, else the first that can. Raises `NoCheckpoint`."""
        usable = [passport for passport in self._passports.values() if passport.problem is None]
        for passport in usable:
            if passport.name == preferred:
                return passport
        if usable:
            return usable[0]
        if self._passports:
            first = next(iter(self._passports.values()))
            raise CheckpointError(f"No checkpoint can be used. {first.name}: {first.problem}")
        raise NoCheckpoint(str(self._dir))

    def find(self, name: str, preferred: str = "") -> Passport:
        """The checkpoint called `name`; "" is the default one.

        Raises `UnknownName`, `NoCheckpoint`, or `CheckpointError` when its headers show that it cannot be used.
        """
        if not name:
            return self.default(preferred)
        if not self._passports:
            raise NoCheckpoint(str(self._dir))
        if name not in self._passports:
            raise UnknownName("checkpoint", name, self._passports)
        passport = self._passports[name]
        if passport.problem is not None:
            raise CheckpointError(f"Checkpoint '{name}' cannot be used: {passport.problem}")
        return passport


def _folders_with(file_name: str, root: Path) -> Iterator[Path]:
    """Every folder below `root` that holds `file_name`. Links are followed, each real folder once: loops end."""
    seen: set[Path] = set()
    for folder, children, files in os.walk(root, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        if file_name in files:
            children.clear()  # the parts of a checkpoint are not checkpoints
            yield Path(folder)


def _passport(name: str, path: Path) -> Passport:
    try:
        index, unet, vae, scheduler = (
            read_json(path / part)
            for part in (
                "model_index.json",
                "unet/config.json",
                "vae/config.json",
                "scheduler/scheduler_config.json",
            )
        )
        for part in PARTS:
            for file in _weight_files(path, part):
                check_safetensors(file)
        pipeline = index.get("_class_name", "")
        if pipeline != "StableDiffusionPipeline":
            found = pipeline or "not named"
            raise CheckpointError(f"its pipeline is {found}; only StableDiffusionPipeline folders run.")
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        native_size = int(unet["sample_size"]) * factor
        card = read_json(path / "easel.json") if (path / "easel.json").is_file() else {}
        return Passport(
            name=name,
            path=path,
            title=str(card.get("title", name)),
            family={768: "sd1", 1024: "sd2"}.get(int(unet["cross_attention_dim"]), "sd"),
            prediction_type=str(scheduler.get("prediction_type", "epsilon")),
            native_size=native_size,
            defaults={"width": native_size, "height": native_size, **card.get("defaults", {})},
        )
    except CheckpointError as error:
        return _broken(name, path, str(error))
    except OSError as error:
        return _broken(name, path, f"a file in it cannot be read ({error.strerror or error}). Copy the folder again.")
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        return _broken(
            name, path, f"a value is missing or wrong in its configuration ({error}). Copy the folder again."
        )


def _broken(name: str, path: Path, problem: str) -> Passport:
    return Passport(name=name, path=path, title=name, family="", prediction_type="", native_size=0, problem=problem)


def _weight_files(path: Path, part: str) -> Iterator[Path]:
    files = sorted((path / part).glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{part}/ holds no .safetensors file. Copy the folder again, completely.")
    for index in (path / part).glob("*.safetensors.index.json"):
        named = set(read_json(index).get("weight_map", {}).values())
        if missing := named - {file.name for file in files}:
            raise CheckpointError(f"{part}/ lacks {', '.join(sorted(missing))}. Copy the folder again, completely.")
    yield from files


def check_safetensors(path: Path) -> None:
    """Raise `CheckpointError` unless header and size of a safetensors file fit together. Reads the header only."""
    size, name = path.stat().st_size, f"{path.parent.name}/{path.name}"
    with path.open("rb") as file:
        start = file.read(8)
        if disguise := _disguise(start):
            raise CheckpointError(f"{name} is {disguise}, not a model file. Download it again.")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, max(size - 8, 0)):
            raise CheckpointError(f"{name} is damaged: its header does not fit its size. Copy it again.")
        header = _parse(file.read(length), name)
    ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    if not ends or 8 + length + max(ends) != size:
        raise CheckpointError(f"{name} is cut off or damaged: {size:,} bytes do not match its header. Copy it again.")


def _disguise(start: bytes) -> str:
    if start.startswith(b"version "):
        return "a Git-LFS pointer"
    if start.lstrip()[:1] == b"<":
        return "an HTML page"
    return ""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint. Raises `CheckpointError` naming the file and what to do."""
    name = path.name if path.name == "model_index.json" else f"{path.parent.name}/{path.name}"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{name} is missing. Copy the folder again, completely.") from None
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read ({error.strerror}). Check its permissions.") from error
    return _parse(content, name)


def _parse(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        what = _disguise(content[:8]) or "not valid JSON"
        raise CheckpointError(f"{name} is {what}. Copy the folder again.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} does not hold what it should. Copy the folder again.")
    return value
