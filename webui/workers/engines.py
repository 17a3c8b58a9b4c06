"""Which engine does a job: one makes pictures, one trains, in the same process and never at the same time.

Made in the process of a worker, the only place where torch is imported.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from webui.contract import Engine, EngineInfo, Job, SignalSource, Tuning
from webui.events import Event
from webui.extensions.shelf import Shelf
from webui.train_names import TrainFolders

if TYPE_CHECKING:
    from webui.engine.engine import PictureEngine
    from webui.training.engine import TrainingEngine


def make_engine(folders: TrainFolders, device: str, shelf: Shelf | None, worker: int) -> Engine:
    """The real engine of worker number 0, 1, …, with the extensions of `shelf`.

    Raises `CannotStart` for a device that is not there.
    """
    from webui.engine.engine import create_engine
    from webui.training.engine import TrainingEngine

    pictures = create_engine(folders.models, device, worker, shelf, library=folders.library())
    return Engines(pictures, TrainingEngine(folders, pictures.info().device, pictures.free_memory))


class Engines:
    """Implements `contract.Engine`."""

    def __init__(self, pictures: "PictureEngine", trainings: "TrainingEngine") -> None:
        self._pictures = pictures
        self._trainings = trainings

    def run(self, job: Job, signal: SignalSource) -> Iterator[Event]:
        engine = self._trainings if job.request.is_training else self._pictures
        yield from engine.run(job, signal)

    def warm_up(self, checkpoint: str) -> None:
        self._pictures.warm_up(checkpoint)

    def tune(self, tuning: Tuning) -> None:
        self._pictures.tune(tuning)

    def unload(self) -> None:
        self._pictures.free_memory()

    def info(self) -> EngineInfo:
        return self._pictures.info()
