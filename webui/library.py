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
from webui.sentences import Sentence

MAX_HEADER = 32 * 2**20
"""No real safetensors header is larger; a bigger number is a damaged or hostile file."""

PARTS = ("unet", "vae", "text_encoder")
"""Folders of a StableDiffusionPipeline that hold weights."""
OTHER_PARTS = ("text_encoder_2", "conditioner")
"""Folders with weights that other pipelines have besides."""
PIPELINE = "StableDiffusionPipeline"
"""The kind of folder that draws."""
REFINER_WIDTH = 1280
"""cross_attention_dim of SDXL's refiner, the only one of that width."""
TRAINABLE = (
    *(PIPELINE, "StableDiffusionXLPipeline", "StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline"),
    *("StableDiffusionUpscalePipeline", "EaselLatentDiffusionPipeline"),
)
"""Kinds of folders that a training can start from."""


@dataclass(frozen=True, kw_only=True)
class Passport:
    """What is known of a checkpoint without loading it."""

    name: str
    path: Path
    title: str
    layout: str = "folder"
    """"folder" (of diffusers) or "file" (one .safetensors or .ckpt with LDM keys)."""
    family: str
    """"sd1", "sd2", "sdxl", "sdxl-refiner" or "sd" (Stable Diffusion's shape at another size); "" when unknown."""
    task: str = "text"
    """What its denoiser takes beside noise: "text" only, "inpaint", "instruct-pix2pix", "depth", "upscale" with a
    picture, "class" or "layout" instead of words, "unconditional" nothing; "" when unknown."""
    prediction_type: str
    """"epsilon", "v_prediction" or "sample"."""
    native_size: int
    """Side in pixels of the pictures it was trained on."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values a request takes when it names none: width, height and whatever the folder's easel.json recommends."""
    problem: Sentence | None = None
    """Why no pictures are made with it; None when nothing is wrong with its headers."""
    can_train: bool = False
    """Whether a training can start from it. More can than draw: SDXL, and what was trained on classes or layouts."""

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
            problem = first.problem or ""
            raise CheckpointError("No checkpoint can be used. {name}: {problem}", name=first.name, problem=problem)
        raise NoCheckpoint(str(self._dir))

    def find(self, name: str, preferred: str = "", *, to_train: bool = False) -> Passport:
        """The checkpoint called `name`; "" is the default one. `to_train` finds more than what draws.

        Raises `UnknownName`, `NoCheckpoint`, or `CheckpointError` when its headers show that it cannot be used.
        """
        if not name:
            return self.default(preferred)
        if not self._passports:
            raise NoCheckpoint(str(self._dir))
        if name not in self._passports:
            raise UnknownName("checkpoint", name, self._passports)
        passport = self._passports[name]
        if passport.problem is not None and not (to_train and passport.can_train):
            raise CheckpointError("Checkpoint '{name}' cannot be used: {problem}", name=name, problem=passport.problem)
        return passport


SHELVES: Mapping[str, str] = {
    "loras": "*.safetensors",
    "embeddings": "*.safetensors",
    "controlnets": "*/config.json",
    "vae": "*/config.json",
}
"""Folders of the models folder beside checkpoints -> what lies in them."""


def shelf(models_dir: Path, name: str) -> list[str]:
    """Names of what lies in one of `SHELVES`, in order; nothing when there is no such folder."""
    found = (models_dir / name).glob(SHELVES[name])
    return sorted(path.parent.name if path.name == "config.json" else path.stem for path in found)


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
        pipeline = str(index.get("_class_name", ""))
        for part in PARTS if pipeline == PIPELINE else [part for part in (*PARTS, *OTHER_PARTS) if part in index]:
            for file in _weight_files(path, part):
                check_safetensors(file)
        problem = None
        if pipeline != PIPELINE:
            found = pipeline[:80] or Sentence("not named")
            problem = Sentence("its pipeline is {found}; only StableDiffusionPipeline folders run.", found=found)
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        channels = int(unet.get("in_channels", 4)), int(vae.get("latent_channels", 4))
        native_size = int(unet["sample_size"]) * factor
        card = read_json(path / "easel.json") if (path / "easel.json").is_file() else {}
        return Passport(
            name=name,
            path=path,
            title=str(card.get("title", name)),
            family=_family(pipeline, int(unet["cross_attention_dim"]), index),
            task=_task(pipeline, channels, card),
            prediction_type=str(scheduler.get("prediction_type", "epsilon")),
            native_size=native_size,
            defaults={"width": native_size, "height": native_size, **card.get("defaults", {})},
            problem=problem,
            can_train=pipeline in TRAINABLE,
        )
    except CheckpointError as error:
        return _broken(name, path, error.sentence)
    except OSError as error:
        reason = error.strerror or str(error)
        problem = Sentence("a file in it cannot be read ({reason}). Copy the folder again.", reason=reason)
        return _broken(name, path, problem)
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        problem = Sentence(
            "a value is missing or wrong in its configuration ({reason}). Copy the folder again.", reason=str(error)
        )
        return _broken(name, path, problem)


def _family(pipeline: str, cross_attention_dim: int, index: Mapping[str, Any]) -> str:
    if pipeline.startswith("StableDiffusionXL"):
        has_two_encoders = (index.get("text_encoder") or [None])[0] is not None
        return "sdxl" if has_two_encoders and cross_attention_dim != REFINER_WIDTH else "sdxl-refiner"
    return {768: "sd1", 1024: "sd2", REFINER_WIDTH: "sdxl-refiner", 2048: "sdxl"}.get(cross_attention_dim, "sd")


def _task(pipeline: str, channels: tuple[int, int], card: Mapping[str, Any]) -> str:
    """`channels`: of the denoiser's input and of the latents; what is over is the picture it takes beside noise."""
    if told := str(card.get("conditioning", "")):
        return {"inpainting": "inpaint", "super-resolution": "upscale", "none": "unconditional"}.get(told, told)
    if pipeline == "StableDiffusionUpscalePipeline":
        return "upscale"
    extra, latents = channels[0] - channels[1], channels[1]
    return {0: "text", latents + 1: "inpaint", latents: "instruct-pix2pix", 1: "depth"}.get(extra, "")


def _broken(name: str, path: Path, problem: Sentence) -> Passport:
    return Passport(
        name=name, path=path, title=name, family="", task="", prediction_type="", native_size=0, problem=problem
    )


def _weight_files(path: Path, part: str) -> Iterator[Path]:
    files = sorted((path / part).glob("*.safetensors"))
    if not files:
        raise CheckpointError("{part}/ holds no .safetensors file. Copy the folder again, completely.", part=part)
    for index in (path / part).glob("*.safetensors.index.json"):
        named = set(read_json(index).get("weight_map", {}).values())
        if missing := named - {file.name for file in files}:
            listed = ", ".join(sorted(missing))
            raise CheckpointError("{part}/ lacks {files}. Copy the folder again, completely.", part=part, files=listed)
    yield from files


def check_safetensors(path: Path) -> None:
    """Raise `CheckpointError` unless header and size of a safetensors file fit together. Reads the header only."""
    size, name = path.stat().st_size, f"{path.parent.name}/{path.name}"
    with path.open("rb") as file:
        start = file.read(8)
        if disguise := _disguise(start):
            raise CheckpointError("{name} is {found}, not a model file. Download it again.", name=name, found=disguise)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, max(size - 8, 0)):
            raise CheckpointError("{name} is damaged: its header does not fit its size. Copy it again.", name=name)
        header = _parse(file.read(length), name)
    ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    if not ends or 8 + length + max(ends) != size:
        raise CheckpointError(
            "{name} is cut off or damaged: {size} bytes do not match its header. Copy it again.",
            name=name,
            size=f"{size:,}",
        )


def _disguise(start: bytes) -> Sentence | None:
    if start.startswith(b"version "):
        return Sentence("a Git-LFS pointer")
    if start.lstrip()[:1] == b"<":
        return Sentence("an HTML page")
    return None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint. Raises `CheckpointError` naming the file and what to do."""
    name = path.name if path.name == "model_index.json" else f"{path.parent.name}/{path.name}"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError("{name} is missing. Copy the folder again, completely.", name=name) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(
            "{name} cannot be read ({reason}). Check its permissions.", name=name, reason=reason
        ) from error
    return _parse(content, name)


def _parse(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        found = _disguise(content[:8]) or Sentence("not valid JSON")
        raise CheckpointError("{name} is {found}. Copy the folder again.", name=name, found=found) from None
    if not isinstance(value, dict):
        raise CheckpointError("{name} does not hold what it should. Copy the folder again.", name=name)
    return value
