"""Model files and folders on the disk: which there are, on which shelf, and how to tell that one has changed.

Nothing is opened. Links are followed, each real folder once, so loops end; what is hidden or cannot be read is left
out. Paths are plain texts here: thousands of files are looked at while somebody waits.
"""

import hashlib
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

BESIDE = ".easel.json"
"""What a person keeps beside a model (`beside.py`) is called behind the model's name."""
SAFETENSORS = (".safetensors", ".sft")
"""What files of that format are called: some write the short one."""
OTHERS = (".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Shelf:
    """One sort of models."""

    suffixes: tuple[str, ...]
    """Of single files."""
    mark: str = ""
    """A folder that holds this file is one model; "" when there are no such folders."""
    kinds: tuple[str, ...] = ()
    """What belongs there, as `families` calls it."""


SHELVES: Mapping[str, Shelf] = {
    "checkpoints": Shelf((*SAFETENSORS, ".ckpt", ".pt", ".gguf"), "model_index.json", ("checkpoint", "denoiser")),
    "loras": Shelf((*SAFETENSORS, ".pt", ".ckpt"), kinds=("lora",)),
    "embeddings": Shelf((*SAFETENSORS, ".pt", ".bin"), kinds=("embedding",)),
    "controlnets": Shelf((*SAFETENSORS, *OTHERS), "config.json", ("controlnet", "t2i-adapter", "ip-adapter")),
    "vae": Shelf((*SAFETENSORS, *OTHERS), "config.json", ("vae",)),
    "upscalers": Shelf((*SAFETENSORS, *OTHERS), kinds=("upscaler", "face-restorer")),
}
"""Folder of the models folder -> what lies in it."""
SHELF_OF_KIND = {kind: name for name, shelf in SHELVES.items() for kind in shelf.kinds}

PREVIEWS = tuple(f"{middle}{suffix}" for suffix in (".png", ".jpg", ".jpeg", ".webp") for middle in (".preview", ""))
"""What a picture of a model is called behind the model's own name, as A1111 and its companions do. The first is also
what a picture that a person has chosen here is called."""
TOLD_OF_CHECKPOINTS = (".yaml", ".json")
"""Files beside a checkpoint, under its name, that may say how it predicts."""
TOLD_BESIDE = (*TOLD_OF_CHECKPOINTS, ".civitai.info", BESIDE)
"""Files beside a model, under its name, that say something about it."""


class Found(NamedTuple):
    """A model on the disk."""

    path: str
    below: str
    """Its posix path below the folder that was searched."""
    layout: str
    stamp: str
    """Changes when the model does."""
    beside: str
    """Changes when what is told beside it does."""
    preview: str
    """Path of its picture, or ""."""


def search(root: Path, shelf: Shelf, *, vae_beside: bool = False) -> Iterator[Found]:
    """Every model of a shelf below a folder, in no order.

    In a checkpoints folder `name.vae.safetensors` is the VAE of `name.safetensors` and no checkpoint; with `vae_beside`
    only those are found. The folder itself is no model, whatever was put into it.
    """
    for folder, below, entries in _folders(str(root), shelf.mark):
        if below and shelf.mark in entries:
            if not vae_beside:
                yield _folder(folder, below)
            continue
        is_checkpoints = shelf is SHELVES["checkpoints"]
        for name, entry in entries.items():
            stem, _, suffix = name.rpartition(".")
            is_beside = stem.lower().endswith(".vae") and (is_checkpoints or vae_beside)
            if (
                f".{suffix.lower()}" in shelf.suffixes
                and is_beside == vae_beside
                and (found := _file(entry, below, entries))
            ):
                yield found


def _folder(folder: str, below: str) -> Found:
    """What stands beside a folder under its name belongs to it."""
    stamp = _stamp(f"{folder}{BESIDE}")
    preview = next((f"{folder}{ending}" for ending in PREVIEWS if os.path.isfile(f"{folder}{ending}")), "")  # noqa: PTH113
    return Found(folder, below, "folder", _stamp_of_folder(folder), "" if stamp == "gone" else stamp, preview)


def _file(entry: "os.DirEntry[str]", below: str, names: Collection[str]) -> Found | None:
    try:
        state = entry.stat()
        stamp = f"{state.st_size}:{state.st_mtime_ns}"
    except OSError:  # a link to nowhere: told when it is described
        stamp = "gone"
    whole, stem = entry.path.rpartition(".")[0], entry.name.rpartition(".")[0]
    beside = ";".join(_stamp(f"{whole}{ending}") for ending in TOLD_BESIDE if f"{stem}{ending}" in names)
    preview = next((f"{whole}{ending}" for ending in PREVIEWS if f"{stem}{ending}" in names), "")
    return Found(entry.path, f"{below}/{entry.name}" if below else entry.name, "file", stamp, beside, preview)


def _stamp(path: str) -> str:
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return "gone"
    return f"{state.st_size}:{state.st_mtime_ns}"


def _stamp_of_folder(folder: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part, _, entries in _folders(folder, ""):
        for name in sorted(entries):
            digest.update(f"{part}/{name}:{_stamp(entries[name].path)}\n".encode())
    return digest.hexdigest()


def _folders(root: str, mark: str) -> Iterator[tuple[str, str, dict[str, "os.DirEntry[str]"]]]:
    """Each folder with its posix path below the root and its files; nothing below one in it that holds `mark`."""
    seen: set[tuple[int, int]] = set()
    waiting = [(root, "")]
    while waiting:
        folder, below = waiting.pop()
        try:
            state = os.stat(folder)  # noqa: PTH116
            with os.scandir(folder) as entries:
                known = {entry.name: entry for entry in entries if _is_speakable(entry)}
        except OSError as error:
            if folder != root or not isinstance(error, FileNotFoundError):
                log.warning("the folder %s is left out: %s", folder, error.strerror or error)
            continue
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        files = {name: entry for name, entry in known.items() if not _is_folder(entry)}
        yield folder, below, files
        if not below or not mark or mark not in files:
            waiting += [
                (known[name].path, f"{below}/{name}" if below else name) for name in known.keys() - files.keys()
            ]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_speakable(entry: "os.DirEntry[str]") -> bool:
    """Not hidden, and with a name that can be written down: file systems allow bytes that are no text."""
    if entry.name.startswith("."):
        return False
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        log.warning(
            "a file in %s is left out: its name %s is no text", entry.path.rpartition("/")[0], ascii(entry.name)
        )
        return False
    return True
