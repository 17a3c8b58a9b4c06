"""A queue with workers and real files, without HTTP and checkpoints: what tests of jobs and transports run on."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from webui.contract import STATE_FOLDER
from webui.events import JobState
from webui.inputs import Inputs
from webui.jobs.hub import Hub
from webui.jobs.outputs import Outputs
from webui.jobs.records import JobRecord, PictureRecord
from webui.jobs.scheduler import Scheduler
from webui.jobs.store import JobStore
from webui.jobs.strips import Strips
from webui.jobs.trainings import TrainingFolders
from webui.workers.worker import Worker

VALUES = {"checkpoint": "scripted", "seed": 7, "width": 64, "height": 64, "num_inference_steps": 6}
TRAINING = {"name": "scripted", "dataset": "cats", "steps": 40, "save_every": 2, "sample_every": 20, "seed": 7}
PATIENCE_SECONDS = 60.0


class Farm:
    """Store, outputs, hub and scheduler of one server's life in `folder`."""

    def __init__(self, folder: Path, workers: Sequence[Worker], **scheduler_options: Any) -> None:
        self.folder = folder
        self.workers = workers
        self.store = JobStore(folder / "easel.sqlite3")
        self.inputs = Inputs(folder / "inputs")
        self.outputs = Outputs(folder / "outputs", folder / "unsaved")
        self.hub = Hub(dict)
        self.trainings = TrainingFolders(folder / "training")
        self.strips = Strips(folder / "strips", lambda: 10)
        self.scheduler = Scheduler(
            self.store, self.inputs, self.outputs, self.trainings, self.strips, self.hub, workers, **scheduler_options
        )

    def __enter__(self) -> "Farm":
        self.outputs.sweep(self.store.has_picture_at)
        self.store.recover()
        self.scheduler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.scheduler.close()
        self.hub.close()
        self.store.close()

    def submit(self, prompt: str = "", **values: Any) -> str:
        return self.scheduler.submit("txt2img", {**VALUES, "prompt": prompt, **values}).id

    def train(self, script: str = "", **values: Any) -> str:
        """A training of the scripted engine, with a state folder as a trainer would leave one."""
        values = {**TRAINING, "sample_prompt": script, **values}
        job = self.scheduler.submit("train-lora", values).id
        state = self.folder / "training" / job / STATE_FOLDER / "state.pt"
        state.parent.mkdir(parents=True)
        state.touch()
        return job

    def wait_for(self, job_id: str, *states: JobState) -> JobRecord:
        """The job as soon as it is in one of these states; by default, over."""
        wanted = states or (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
        wait_until(lambda: self.store.job(job_id).state in wanted, f"job {job_id} to be {wanted}")
        return self.store.job(job_id)

    def wait_for_step(self, job_id: str, step: int = 2, picture: int = 0) -> None:
        def is_there() -> bool:
            live = self.scheduler.live(self.store.job(job_id))
            return live is not None and (live.progress["picture"], live.progress["step"]) >= (picture, step)

        wait_until(is_there, f"step {step} of picture {picture}")

    def make(self, prompt: str = "", **values: Any) -> JobRecord:
        return self.wait_for(self.submit(prompt, **values))

    def pictures(self, job_id: str) -> list[PictureRecord]:
        return self.store.pictures_of([job_id])[job_id]

    def contents(self, job_id: str) -> list[bytes]:
        return [self.outputs.read(picture.path) for picture in self.pictures(job_id)]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        threading.Event().wait(0.01)
