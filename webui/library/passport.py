"""What is known of a model file without loading it: the passport of a checkpoint and the card of everything else.

Plain data. How it is found out is the business of the modules beside; the only file that is read here is the one that
a hash is asked of.
"""

import hashlib
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from webui.library.beside import Beside
from webui.library.weighing import Weights
from webui.sentences import Sentence

SHORT_HASH = 10
"""So many hex digits of a SHA-256 are told, as A1111 does."""

Told = dict[str, Any]
"""The fields of a passport or card that stand in the model's own files; `problem` is a `Sentence` or None."""


class Hashes(Protocol):
    """Where digests are kept once they were made."""

    def find(self, path: Path, stamp: str, *, on_disk: bool = False) -> str:
        """The SHA-256 in hex, or "" when it was not made of this state of the file yet, as far as this process knows.

        With `on_disk`, what other processes have made is asked for as well.
        """

    def keep(self, path: Path, stamp: str, sha256: str) -> None: ...


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
    """"epsilon", "v_prediction" or "sample"; "" when unknown."""
    zero_snr: bool = False
    """Whether its noise schedule ends in pure noise though nothing but the file says so (Lin et al. 2023)."""
    native_size: int
    """Side in pixels of the pictures it was trained on."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values a request takes when it names none: width, height and whatever the folder's easel.json recommends."""
    problem: Sentence | None = None
    """Why no pictures are made with it; None when nothing is wrong with its headers."""
    can_train: bool = False
    """Whether a training can start from it. More can than draw: SDXL, and what was trained on classes or layouts."""
    is_own: bool = True
    """Whether it lies in Easel's own models folder, where things may be written."""
    preview: Path | None = None
    """A picture beside it under its name."""
    weights: Weights = field(default_factory=Weights)
    beside: Beside = field(default_factory=Beside)
    stamp: str = field(default="", repr=False)
    """Changes when the files do."""
    hashes: Hashes | None = field(default=None, repr=False, compare=False)

    @property
    def shelf(self) -> str:
        return "checkpoints"

    @property
    def hash(self) -> str:
        """First 10 hex digits of `sha256`; reads the files the first time, so never while listing."""
        return self.sha256[:SHORT_HASH]

    @cached_property
    def sha256(self) -> str:
        """Of the whole file; of a folder, of its denoiser's weights."""
        known = "" if self.hashes is None else self.hashes.find(self.path, self.stamp, on_disk=True)
        if not known:
            known = sha256_of(hashed_files(self))
            if self.hashes is not None:
                self.hashes.keep(self.path, self.stamp, known)
        return known

    @property
    def known_sha256(self) -> str:
        """The same when it was made before, else ""; reads no model."""
        return "" if self.hashes is None else self.hashes.find(self.path, self.stamp)


@dataclass(frozen=True, kw_only=True)
class ShelfItem:
    """What is known of a file or folder beside the checkpoints: a LoRA, an embedding, a VAE, …"""

    name: str
    """Its key on its shelf: the file's name without suffix, with folders in front where two are called the same."""
    path: Path
    shelf: str
    """One of `SHELVES`."""
    layout: str = "file"
    """"folder" (of diffusers) or "file"."""
    kind: str = ""
    """"lora", "embedding", "vae", "controlnet", "t2i-adapter", "ip-adapter", "upscaler", "face-restorer"; "" when its
    header does not tell."""
    family: str = ""
    """As a passport's; "" also where one serves every family."""
    title: str
    alias: str = ""
    """The name that its trainer gave it, by which prompts may call it as well."""
    words: tuple[str, ...] = ()
    """Words that call it up: those named by its maker first, then its training captions' tags, most frequent first."""
    preview: Path | None = None
    """A picture beside it under its name."""
    problem: Sentence | None = None
    """Why it cannot be used; None when nothing is wrong with its header."""
    is_own: bool = True
    """As a passport's, like everything below."""
    weights: Weights = field(default_factory=Weights)
    beside: Beside = field(default_factory=Beside)
    stamp: str = field(default="", repr=False)
    hashes: Hashes | None = field(default=None, repr=False, compare=False)

    @property
    def known_sha256(self) -> str:
        return "" if self.hashes is None else self.hashes.find(self.path, self.stamp)


def hashed_files(model: Passport | ShelfItem) -> list[Path]:
    """The files whose contents make a model's hash: itself, or of a folder its denoiser's weights or its own."""
    if model.layout == "file":
        return [model.path]
    part = model.path / "unet" if isinstance(model, Passport) else model.path
    return sorted(part.glob("*.safetensors"))


def sha256_of(paths: Iterable[Path]) -> str:
    """Of the contents one after another, in hex."""
    steps = digesting(paths)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return str(end.value)


def digesting(paths: Iterable[Path]) -> Generator[int, None, str]:
    """The same block by block: yields the bytes of each, returns the digest."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
                yield len(block)
    return digest.hexdigest()
