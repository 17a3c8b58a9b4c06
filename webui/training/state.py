"""The state file of a run: written beside the old one and renamed over it, the previous one kept for the worst case.

Knows nothing of what is in it. A process killed at any instant leaves a file that can be read, a full disk leaves
both as they were.
"""

import contextlib
import logging
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from webui.errors import CannotSaveRun, TrainingError

log = logging.getLogger(__name__)

UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError, zipfile.BadZipFile)
"""What reading raises for a file that is cut off, damaged or something else."""


def previous_of(path: Path) -> Path:
    """Where the state before the newest one is kept."""
    return path.with_suffix(".previous" + path.suffix)


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """Write with torch.save, flush to the disk, then rename; what was at `path` becomes the previous state.

    Raises `CannotSaveRun` when the disk does not take it; nothing that was there is lost then.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(previous_of(path))
        partial.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CannotSaveRun(str(path.parent), _reason(error)) from error


def read_state(path: Path) -> tuple[dict[str, Any] | None, bool]:
    """The newest readable state, None when there is none yet, and whether it is the previous one.

    Raises `TrainingError` when there are files and none of them can be read.
    """
    candidates = [candidate for candidate in (path, previous_of(path)) if candidate.exists()]
    for candidate in candidates:
        try:
            return _read(candidate), candidate != path
        except UNREADABLE as error:
            log.warning("%s cannot be read and is put aside: %s", candidate, str(error).partition("\n")[0])
            # The next state must not push the good previous one out by an unreadable one.
            candidate.replace(candidate.with_suffix(".unreadable"))
    if candidates:
        raise TrainingError(
            "None of the saved states in {folder} can be read. Train under another name, or delete that folder "
            "to begin again.",
            folder=str(path.parent),
        )
    return None, False


def _read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:  # torch.load itself does not look at the checksums
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} is damaged")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _reason(error: BaseException) -> str:
    """The operating system's words; torch reports a failed write as a RuntimeError on top of them."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return str(error).partition("\n")[0]


def _sync_folder(folder: Path) -> None:
    """Make the renames last too. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
