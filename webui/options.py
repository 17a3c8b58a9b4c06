"""What a user may change while the server runs: one JSON file, written atomically, never fatal when broken.

What is decided once at start is in `settings.py`.
"""

import dataclasses
import errno
import json
import logging
import os
import secrets
import time
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", strict=True))
class Options:
    default_checkpoint: str = ""
    """Name of the checkpoint that is used when a request names none; "" takes the first usable one."""
    strip_megabytes: int = 500
    """Room for the steps of finished pictures, which is what one looks back at; 0 keeps none."""


class OptionsFile:
    """The options and the file they live in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.warning: str | None = None
        """What was wrong with the file at start, one sentence for the page."""
        self.current = self._load()

    def change(self, **values: Any) -> Options:
        """Replace the named options and save. The file holds the old or the new state, never half of one."""
        changed = Options(**{**dataclasses.asdict(self.current), **values})
        write_atomically(self._path, json.dumps(dataclasses.asdict(changed), ensure_ascii=False, indent=1).encode())
        self.current = changed
        return changed

    def _load(self) -> Options:
        try:
            return Options(**json.loads(self._path.read_text("utf-8-sig")))
        except FileNotFoundError:
            return Options()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            self.warning = self._set_aside(error)
            log.warning("%s", self.warning)
            return Options()

    def _set_aside(self, error: Exception) -> str:
        broken = self._path.with_name(f"{self._path.stem}.broken-{int(time.time())}.json")
        try:
            self._path.replace(broken)
            kept = f"It was kept as {broken.name}."
        except OSError:
            kept = "It could not be renamed."
        return f"The options file could not be read ({type(error).__name__}); the defaults are used. {kept}"


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to disk, rename over it, flush the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")  # of this call alone
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can do that."""
    if os.name == "nt":  # Windows cannot open a folder for fsync
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network and shared folders that cannot do it
            raise
    finally:
        os.close(descriptor)
