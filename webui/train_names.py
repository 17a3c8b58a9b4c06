"""What the names in a training request stand for: datasets, checkpoints, first stages, results.

A name is a key of what is found on the disk and never part of a path. Loads nothing; imports no torch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.contract import STATE_FOLDER
from webui.errors import Conflict, UnknownName
from webui.library import Library
from webui.requests import build, resolve
from webui.train_requests import TrainDiffusion, TrainRequest

FIRST_STAGES = "vae"
"""Folder of the models folder that holds first stages trained alone; as a name, one is "vae/NAME"."""


@dataclass(frozen=True, kw_only=True)
class TrainFolders:
    """Where a training finds and puts things."""

    models: Path
    datasets: Path
    trainings: Path
    extra_models: tuple[Path, ...] = ()
    """Trees of A1111 and ComfyUI with more checkpoints."""
    model_index: Path | None = None
    """Where the library remembers what it has seen."""
    given: Path | None = None
    """A folder of pictures that stands for any dataset, whatever its name."""

    def library(self) -> Library:
        """The models, as they are on the disk now. Raises `CannotStart` for an extra folder that holds none."""
        return Library(self.models / "checkpoints", extra=self.extra_models, index=self.model_index)

    def state(self, job_id: str) -> Path:
        """Where the trainer keeps the state of a job."""
        return self.trainings / job_id / STATE_FOLDER

    def dataset(self, name: str) -> Path:
        """The folder of a dataset. Raises `UnknownName`."""
        if self.given is not None:
            return self.given
        return _find("dataset", name, dataset_folders(self.datasets))

    def first_stage(self, name: str, library: Library) -> Path:
        """The folder of a checkpoint or of a first stage trained alone. Raises `UnknownName` or `CheckpointError`."""
        if name in library.passports():
            return library.find(name, to_train=True).path
        return _find("first stage", name, first_stage_folders(library))


def dataset_folders(datasets: Path) -> Mapping[str, Path]:
    """Every dataset by its name."""
    if not datasets.is_dir():
        return {}
    return {path.name: path for path in sorted(datasets.iterdir()) if path.is_dir() and not path.name.startswith(".")}


def first_stage_folders(library: Library) -> Mapping[str, Path]:
    """Everything whose VAE can be used, by name: checkpoints, then first stages trained alone."""
    checkpoints = {name: passport.path for name, passport in library.passports().items() if passport.can_train}
    alone = [item for item in library.shelf(FIRST_STAGES).values() if item.layout == "folder"]
    return {f"{FIRST_STAGES}/{item.name}": item.path for item in alone} | checkpoints


def settle(
    kind: str, values: Mapping[str, Any], folders: TrainFolders, library: Library, preferred: str = ""
) -> TrainRequest:
    """The request with nothing left open: every name is one that exists, the result's name is free.

    What is not named comes from the checkpoint: pictures of its own size. Raises `UserError`.
    """
    request = build(kind, values)
    assert isinstance(request, TrainRequest)
    open_values: dict[str, Any] = {}
    native_size: int | None = None
    if request.needs_checkpoint or request.model:
        passport = library.find(request.model, preferred, to_train=True)
        open_values["checkpoint"], native_size = passport.name, passport.native_size
    elif isinstance(request, TrainDiffusion):
        open_values["first_stage"] = request.first_stage or library.default(preferred).name
    for name in ("first_stage", "text_encoder"):
        _check_named(name, str(open_values.get(name, getattr(request, name, ""))), folders, library)
    if native_size is not None and "size" not in values:
        open_values["size"] = native_size
    folders.dataset(request.dataset)
    if (folders.models / request.result).exists():
        raise taken(request)
    return resolve(dataclasses.replace(request, **open_values))


def taken(request: TrainRequest) -> Conflict:
    return Conflict("There is {result} already. Choose another name for what is trained.", result=request.result)


def _check_named(field: str, name: str, folders: TrainFolders, library: Library) -> None:
    if name and field == "first_stage":
        folders.first_stage(name, library)
    elif name:
        library.find(name, to_train=True)


def _find(what: str, name: str, known: Mapping[str, Path]) -> Path:
    if name not in known:
        raise UnknownName(what, name, known)
    return known[name]
