"""What the System tab tells of this machine and this server: versions, memory, disks, folders, the end of the log.

Knows nothing of jobs and pages, and no torch.
"""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

import webui
from webui.doctor import PACKAGES
from webui.settings import Settings

LOG_BYTES = 256 * 2**10
"""So much of the log's end is looked at."""


def versions() -> dict[str, str]:
    """Easel, Python, the system, and the packages that matter; those that are missing are left out."""
    found = {"Easel": webui.__version__, "Python": platform.python_version(), "System": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def memory(engines: Iterable[int | None]) -> dict[str, Any]:
    """Bytes: of the machine, of this process, and of the processes with the numbers in `engines`."""
    machine = psutil.virtual_memory()
    return {
        "total": machine.total,
        "free": machine.available,
        "server": psutil.Process().memory_info().rss,
        "engines": [_resident(pid) for pid in engines],
    }


def _resident(pid: int | None) -> int | None:
    try:
        return None if pid is None else int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # it has just ended
        return None


def folders(settings: Settings) -> list[dict[str, Any]]:
    """Each folder that Easel was started with, and what is free on its disk in bytes."""
    places = {
        "models": settings.models_dir, "outputs": settings.outputs_dir, "data": settings.data_dir,
        "extensions": settings.extensions_dir,
    }  # fmt: skip
    return [{"name": name, "path": str(path), **_disk(path)} for name, path in places.items()]


def _disk(folder: Path) -> dict[str, int | None]:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    try:
        usage = shutil.disk_usage(existing or os.curdir)
    except OSError:
        return {"free": None, "total": None}
    return {"free": usage.free, "total": usage.total}


def log_tail(settings: Settings, lines: int) -> list[str]:
    """The last lines of the log file, the newest at the end; none where there is no file."""
    try:
        with (settings.data_dir / "logs" / "easel.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]
