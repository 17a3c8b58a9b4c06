"""The folders of training jobs: loss curve and sample pictures, which stay, and the trainer's state, which goes.

    <training_dir>/<job id>/loss.csv            step, loss
                            samples/00000100.jpg
                            run/                the trainer's own; gone when the job is done or cancelled

What is in `run/` is known to `webui/training` alone. Which job is in which state is the store's business.
"""

import contextlib
import itertools
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from webui.contract import STATE_FOLDER, STATE_SUFFIX
from webui.errors import NotFound
from webui.options import write_atomically

log = logging.getLogger(__name__)

LOSSES = "loss.csv"
SAMPLES = "samples"


class TrainingFolders:
    """Files of training jobs by job id, which comes from the store and is never a client's word. Thread-safe."""

    def __init__(self, training_dir: Path) -> None:
        self._dir = training_dir
        self._lock = threading.Lock()

    def add_losses(self, job_id: str, losses: Iterable[tuple[int, float]]) -> None:
        """Continue the curve. A disk that does not take it costs the curve's tail, never the training."""
        lines = "".join(f"{step},{loss:.6g}\n" for step, loss in losses)
        path = self._dir / job_id / LOSSES
        try:
            with self._lock:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="ascii") as file:
                    file.write(lines if file.tell() else f"step,loss\n{lines}")
        except OSError as error:
            log.warning("The loss curve of job %s could not be continued: %s", job_id, error)

    def add_sample(self, job_id: str, step: int, jpeg: bytes) -> bool:
        """Keep a sample picture; False when the disk does not take it."""
        try:
            write_atomically(self._sample_path(job_id, step), jpeg)
        except OSError as error:
            log.warning("A sample picture of job %s could not be kept: %s", job_id, error)
            return False
        return True

    def losses(self, job_id: str, most: int) -> list[tuple[int, float]]:
        """The curve as at most `most` points, each the mean of its neighbours. Empty when there is none yet."""
        curve = self._read_losses(job_id)
        size = -(-len(curve) // most) if curve else 1
        groups = [curve[start : start + size] for start in range(0, len(curve), size)]
        return [(group[-1][0], sum(loss for _, loss in group) / len(group)) for group in groups]

    def samples(self, job_id: str) -> list[int]:
        """The steps of which there are sample pictures, in order."""
        try:
            files = list((self._dir / job_id / SAMPLES).iterdir())
        except OSError:
            return []
        return sorted(int(path.stem) for path in files if path.suffix == ".jpg" and path.stem.isdecimal())

    def sample(self, job_id: str, step: int) -> bytes:
        """A sample picture, JPEG. Raises `NotFound`."""
        with contextlib.suppress(OSError):
            return self._sample_path(job_id, step).read_bytes()
        raise NotFound("This training has no sample picture of step {step}.", step=step)

    def has_state(self, job_id: str) -> bool:
        """Whether a trainer could go on from what this job has left."""
        # Not `glob`: it raises when `end` removes a folder under its feet, `walk` passes over what is gone.
        files = (name for _, _, names in os.walk(self._dir / job_id / STATE_FOLDER) for name in names)
        return any(name.endswith(STATE_SUFFIX) for name in files)

    def hand_over(self, job_id: str, heir: str) -> None:
        """Everything of a job that failed becomes that of a new one, which goes on from it. Raises `OSError`."""
        (self._dir / job_id).replace(self._dir / heir)

    def end(self, job_id: str) -> None:
        """Remove the state of a job that will not go on; curve and samples stay."""
        folder = self._dir / job_id / STATE_FOLDER
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:  # the next start tries again
            log.warning("%s could not be removed: %s", folder, error)

    def sweep(self, is_over: Callable[[str], bool]) -> None:
        """Remove what earlier runs left of jobs that will not go on."""
        with contextlib.suppress(FileNotFoundError):
            for folder in self._dir.iterdir():
                if (folder / STATE_FOLDER).is_dir() and is_over(folder.name):
                    self.end(folder.name)

    def _sample_path(self, job_id: str, step: int) -> Path:
        return self._dir / job_id / SAMPLES / f"{step:08d}.jpg"

    def _read_losses(self, job_id: str) -> Sequence[tuple[int, float]]:
        curve: list[tuple[int, float]] = []
        try:
            lines = (self._dir / job_id / LOSSES).read_text("ascii", "replace").splitlines()
        except OSError:
            return curve
        for line in itertools.islice(lines, 1, None):
            step, _, loss = line.partition(",")
            try:
                point = int(step), float(loss)
            except ValueError:  # a line that was cut off
                continue
            while curve and curve[-1][0] >= point[0]:  # steps made again after a crash
                curve.pop()
            curve.append(point)
        return curve
