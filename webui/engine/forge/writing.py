"""A plan on the disk: complete under its name or not there at all, and never over something that is there.

Safetensors are written tensor by tensor: a length, a header of JSON, then the numbers, little-endian
(https://github.com/huggingface/safetensors#format).
"""

import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import torch

from webui.engine.forge.plans import Entry, Plan
from webui.engine.forge.sources import DTYPES
from webui.errors import CannotSaveModel, Conflict
from webui.options import sync_folder
from webui.sentences import Sentence

log = logging.getLogger(__name__)

NAMES = {dtype: name for name, dtype in DTYPES.items()}
SPARE = 64 * 2**20
"""Bytes that must stay free on the disk."""
PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.partial")
PARTIAL_SECONDS = 3600.0
"""A partial that has not grown for so long is not being written."""
ALIGNMENT = 8
"""The header is filled up with spaces to a multiple of this, as the format's own writer does it."""


def check_room(folder: Path, needed: int) -> None:
    """Raise `CannotSaveModel` when the disk has no room for so many bytes."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed + SPARE:
        raise CannotSaveModel(
            str(folder), Sentence("{needed} MB are needed and {free} MB free", needed=_mb(needed), free=_mb(free))
        )


def _mb(count: int) -> str:
    return f"{count / 2**20:,.0f}"


def write(plan: Plan, target: Path) -> Generator[str, None, None]:
    """Write the plan; yields the key of each tensor after it is written. Closing it early leaves nothing behind.

    Raises `Conflict` when `target` has appeared meanwhile, or `CannotSaveModel`.
    """
    _clear_away(target.parent)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if plan.is_folder:
            partial.mkdir()
            yield from _write_folder(plan, partial)
        else:
            yield from _write_file(partial, plan.files[""], plan.metadata)
        _put_in_place(partial, target)
    except OSError as error:
        raise CannotSaveModel(str(target.parent), error.strerror or str(error)) from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _clear_away(shelf: Path) -> None:
    """Remove what engines that were killed have left on a shelf. What another one writes now is younger."""
    for partial in shelf.glob(".*.partial"):
        with suppress(OSError):
            if not PARTIAL.fullmatch(partial.name) or time.time() - _last_written(partial) < PARTIAL_SECONDS:
                continue
            log.info("%s was never finished and is removed", partial)
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink()


def _last_written(partial: Path) -> float:
    inside: list[Path] = list(partial.rglob("*")) if partial.is_dir() else []
    return max(path.stat().st_mtime for path in (partial, *inside))


def _write_folder(plan: Plan, folder: Path) -> Iterator[str]:
    for name, source in plan.copied.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    for name, content in plan.written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name, entries in plan.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        metadata = plan.metadata if name.startswith("unet/") else {}
        yield from _write_file(folder / name, entries, {"format": "pt", **metadata})


def _write_file(path: Path, entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> Iterator[str]:
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for key, entry in entries.items():
        begin, end = end, end + entry.spec.bytes
        dtype, shape = NAMES[entry.spec.dtype], list(entry.spec.shape)
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    content = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    content += b" " * (-len(content) % ALIGNMENT)
    with path.open("xb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        for key, entry in entries.items():
            _write_tensor(file, key, entry)
            yield key
        file.flush()
        os.fsync(file.fileno())


def _write_tensor(file: BinaryIO, key: str, entry: Entry) -> None:
    tensor = entry.make()
    if tuple(tensor.shape) != entry.spec.shape:
        raise RuntimeError(f"{key} was planned as {entry.spec.shape} and became {tuple(tensor.shape)}")
    plain = tensor.detach().to("cpu", entry.spec.dtype).contiguous().reshape(-1)
    file.write(plain.view(torch.uint8).numpy().data)


def _put_in_place(partial: Path, target: Path) -> None:
    """Give it its name, unless something has that name by now."""
    taken = Conflict("There is a model '{name}' already. Choose another name.", name=target.name)
    if partial.is_dir():
        if target.exists():
            raise taken
        partial.rename(target)  # onto a folder that is not empty it fails
    else:
        try:
            os.link(partial, target)
        except FileExistsError:
            raise taken from None
        except OSError:  # a file system without links
            if target.exists():
                raise taken from None
            partial.rename(target)
    sync_folder(target.parent)
