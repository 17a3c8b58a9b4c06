"""Finished results in the models folder: written beside their place and renamed, never over what others made.

A run leaves its token in what it makes, so that it alone may replace it later.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from webui.errors import CannotSaveRun, TrainingError

CARD = "easel.json"
"""What Easel knows about a folder: title, defaults, what was trained, by which run."""
TOKEN_KEY = "easel_run"


def claim(result: Path, run: Path) -> str:
    """The token of the run, made when it has none.

    Raises `TrainingError` when `result` exists and is not its own, `CannotSaveRun` when the run's folder takes nothing.
    """
    path = run / "run.json"
    try:
        token = str(json.loads(path.read_text("utf-8"))[TOKEN_KEY])
    except (OSError, ValueError, LookupError, TypeError):
        token = uuid.uuid4().hex
        _note(path, token)
    if result.exists() and _token_of(result) != token:
        raise TrainingError(
            "There is a {name} in {folder} already, and it stays as it is. Train under another name.",
            name=result.name,
            folder=result.parent.name,
        )
    return token


def _note(path: Path, token: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({TOKEN_KEY: token}), "utf-8")
    except OSError as error:
        raise CannotSaveRun(str(path.parent), _reason(error)) from error


def _token_of(result: Path) -> str | None:
    try:
        if result.is_dir():
            card = json.loads((result / CARD).read_text("utf-8"))
            return str(card[TOKEN_KEY])
        with safe_open(result, "pt") as file:
            return (file.metadata() or {}).get(TOKEN_KEY)
    except (OSError, ValueError, LookupError, TypeError, SafetensorError):
        return None


def write_tensors(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], result: Path) -> Path:
    """A .safetensors file. Raises `CannotSaveRun`."""
    partial = result.with_name(result.name + ".partial")
    try:
        result.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, partial, dict(metadata))
        _settle(partial)
        partial.replace(result)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CannotSaveRun(str(result.parent), _reason(error)) from error
    return result


def write_folder(write: Callable[[Path], None], card: Mapping[str, Any], result: Path) -> Path:
    """A folder that `write` fills, with `card` as its easel.json. Raises `CannotSaveRun`."""
    partial = result.with_name(result.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        (partial / CARD).write_text(json.dumps(dict(card), ensure_ascii=False, indent=1) + "\n", "utf-8")
        for file in partial.rglob("*"):
            if file.is_file():
                _settle(file)
        old = result.with_name(result.name + ".old")
        if result.exists():  # `claim` has seen that it is ours
            shutil.rmtree(old, ignore_errors=True)
            result.replace(old)
        partial.replace(result)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CannotSaveRun(str(result.parent), _reason(error)) from error
    return result


def _settle(file: Path) -> None:
    """On the disk before it gets its name, and readable by everybody: safetensors are for their owner only."""
    file.chmod(0o644)
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
