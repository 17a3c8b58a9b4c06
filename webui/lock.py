"""One server per data folder: a file lock that ends with the process, however it ends."""

import os
import sys
from pathlib import Path
from typing import IO

from webui.errors import CannotStart


class FolderLock:
    """Holds `<folder>/lock` from construction to `close`. Raises `CannotStart` when another process holds it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("a+b")
        except OSError as error:
            raise CannotStart(
                "The data folder {folder} cannot be used: {reason}. Make it writable, or start with "
                "--data-dir on another folder.",
                folder=str(folder),
                reason=error.strerror or str(error),
            ) from error
        try:
            _lock(self._file)
        except OSError:
            self._file.close()
            raise CannotStart(
                "Easel is already running with the data folder {folder}. Use that one, close it, or start this one "
                "with --data-dir on another folder.",
                folder=str(folder),
            ) from None

    def close(self) -> None:
        self._file.close()


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    elif os.name == "posix":
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
