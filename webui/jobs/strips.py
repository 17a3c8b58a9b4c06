"""The strips: the previews of a finished picture's steps, so that one can look back and branch from any of them.

One file per picture, an uncompressed .zip of "<step>.jpg", bounded each and together; what falls out is the oldest.
Which pictures there are is the store's business; what is done with the frames is known to `animation.py` and the page.
"""

import contextlib
import io
import logging
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from webui.options import write_atomically

log = logging.getLogger(__name__)

MOST_BYTES = 2 * 2**20
"""Of one picture's frames; of more, every second one is left out."""
MOST_PENDING = 64
"""Pictures being made whose frames wait in memory."""
MEGABYTE = 2**20
SUFFIX = ".zip"

Frames = dict[int, bytes]
"""Step, from 1 on, over all passes -> JPEG."""


class Strips:
    """Safe to use from any thread. A disk that does not take a strip costs that strip and nothing else."""

    def __init__(self, folder: Path, megabytes: Callable[[], int]) -> None:
        """`megabytes` is the room for all strips together; 0: none are kept."""
        self._folder = folder
        self._megabytes = megabytes
        self._pending: dict[tuple[str, int], Frames] = {}
        self._lock = threading.Lock()

    # While a picture is made.

    def add(self, job_id: str, picture: int, step: int, jpeg: bytes) -> None:
        """One more step of picture `picture` of a job. A step that is made again stands for its first time."""
        if not self._megabytes():
            return
        with self._lock:
            frames = self._pending.setdefault((job_id, picture), {})
            frames[step] = jpeg
            while sum(map(len, frames.values())) > MOST_BYTES:
                _thin(frames)
            while len(self._pending) > MOST_PENDING:
                self._pending.pop(next(iter(self._pending)))

    def keep(self, job_id: str, picture: int, picture_id: str) -> None:
        """The picture is finished and has this id now."""
        with self._lock:
            frames = self._pending.pop((job_id, picture), {})
            if not frames or not self._megabytes():
                return
            try:
                write_atomically(self._path(picture_id), _packed(frames))
                self._make_room()
            except OSError as error:
                log.warning("The steps of picture %s could not be kept: %s", picture_id, error)

    def drop(self, job_id: str) -> None:
        """The job is over: pictures that it did not finish have no strip."""
        with self._lock:
            for key in [key for key in self._pending if key[0] == job_id]:
                del self._pending[key]

    # Afterwards.

    def frames(self, picture_id: str) -> Frames:
        """By step, in order; empty when nothing was kept of the picture. The id comes from the store."""
        try:
            with zipfile.ZipFile(self._path(picture_id)) as kept:
                found = {int(Path(name).stem): kept.read(name) for name in kept.namelist()}
        except (OSError, ValueError, zipfile.BadZipFile):
            return {}
        return dict(sorted(found.items()))

    def forget(self, picture_ids: Sequence[str]) -> None:
        """Their pictures were deleted for good."""
        for picture_id in picture_ids:
            with contextlib.suppress(OSError):  # the room is bounded anyway
                self._path(picture_id).unlink(missing_ok=True)

    def _make_room(self) -> None:
        kept = []
        for path in self._folder.glob(f"*/*{SUFFIX}"):
            with contextlib.suppress(OSError):
                found = path.stat()
                kept.append((found.st_mtime_ns, found.st_size, path))
        spare = self._megabytes() * MEGABYTE - sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if spare >= 0:
                return
            path.unlink(missing_ok=True)
            spare += size

    def _path(self, picture_id: str) -> Path:
        return self._folder / picture_id[:2] / f"{picture_id}{SUFFIX}"


def _thin(frames: Frames) -> None:
    """Leave out every second frame, but never the last."""
    for step in sorted(frames)[:-1][::2] or list(frames):
        del frames[step]


def _packed(frames: Frames) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        for step, jpeg in frames.items():
            packed.writestr(f"{step:05d}.jpg", jpeg)
    return buffer.getvalue()
