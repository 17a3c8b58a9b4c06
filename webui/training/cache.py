"""What is computed once per example and read many times: rows on the disk, in memory only as far as they are used.

Knows nothing of what the rows mean. A cache that was not finished is completed, one of other examples made again.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from webui.errors import CannotSaveRun

Rows: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""(rows, …), mapped from a file."""


def fingerprint(*parts: object) -> str:
    """Changes when anything in `parts` does; files are known by path, size and time of change."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def file_key(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return path.as_posix(), stat.st_size, stat.st_mtime_ns


def folder_key(folder: Path) -> list[tuple[str, int, int]]:
    return [file_key(path) for path in sorted(folder.rglob("*")) if path.is_file()]


def cached_rows(
    path: Path, key: str, count: int, compute: Callable[[Sequence[int]], Rows], batch: int = 8
) -> Generator[int, None, Rows]:
    """`count` (at least 1) rows of equal shape: from the file `path` as far as it holds those of `key`, the others
    computed in batches and added to it.

    `compute` gets row numbers and gives their rows. Yields how many rows have become ready, so that a caller can show
    progress and stop; returns the rows, read only. Raises `CannotSaveRun`.
    """
    progress = path.with_suffix(".json")
    done, size = _ready(path, progress, key)
    yield done
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for begin in range(done, count, batch):
            rows = compute(range(begin, min(begin + batch, count)))
            size = _append(path, size, rows, count)
            note = {"key": key, "done": begin + len(rows), "size": size}
            progress.write_text(json.dumps(note), "utf-8")
            yield len(rows)
    except OSError as error:
        raise CannotSaveRun(str(path.parent), error.strerror or str(error)) from error
    mapped: Rows = np.load(path, mmap_mode="r")
    return mapped


def _append(path: Path, size: int, rows: Rows, count: int) -> int:
    """Write rows behind the first `size` bytes, 0 for a new file of `count` rows; returns the new size.

    Written, not mapped: a full disk is an error here, and would be the end of the process there.
    """
    with path.open("r+b" if size else "wb") as file:
        file.truncate(size)
        file.seek(size)
        if not size:
            np.lib.format.write_array_header_1_0(file, _header(rows, count))
        file.write(np.ascontiguousarray(rows).tobytes())
        return file.tell()


def _ready(path: Path, progress: Path, key: str) -> tuple[int, int]:
    """Rows of `key` that are in the file already, and where they end in it."""
    try:
        note = json.loads(progress.read_text("utf-8"))
        if note["key"] == key and path.stat().st_size >= note["size"]:
            return note["done"], note["size"]
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return 0, 0


def _header(rows: Rows, count: int) -> dict[str, Any]:
    return {**np.lib.format.header_data_from_array_1_0(rows), "shape": (count, *rows.shape[1:]), "fortran_order": False}
