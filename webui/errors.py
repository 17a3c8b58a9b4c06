"""Every error meant for a person.

    UserError                      what happened, why, what to do
    ├── InvalidRequest             a value of a request is impossible              HTTP 422
    │   └── UnknownName            a name that no registry knows; lists the known
    ├── NotFound                   an id or a file that is not there                HTTP 404
    ├── Conflict                   the thing is not in a state that allows this     HTTP 409
    ├── CannotStart                a port, folder or setting prevents the start     exit 2
    ├── CheckpointError            a model file or folder cannot be used            HTTP 422
    │   └── NoCheckpoint           the models folder holds none
    ├── CannotSave                 the outputs folder does not take the picture     HTTP 507
    ├── CannotStore                the job database does not take a change          HTTP 507
    ├── EngineDied                 the engine process ended in the middle of a job  HTTP 500
    ├── OutOfMemory                the picture does not fit on the device           HTTP 507
    └── TrainingError              a training run cannot start or go on
        ├── InvalidRecipe
        ├── MissingTrainingData
        └── TrainingDiverged

The page shows `str(error)`, REST maps `status`, the log keeps the traceback. Texts never hold prompts.
"""

from collections.abc import Iterable


class UserError(Exception):
    """Base of all errors whose text is shown to the person as it is."""

    status = 500

    @property
    def kind(self) -> str:
        return type(self).__name__


class InvalidRequest(UserError):
    """A value of a request is impossible."""

    status = 422


class UnknownName(InvalidRequest):
    """A name that is not registered; the text lists the names that are."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        listed = ", ".join(known) or "none"
        super().__init__(f"Unknown {what} '{name[:80]}'. Known: {listed}.")


class NotFound(UserError):
    """An id or file that is not there."""

    status = 404


class Conflict(UserError):
    """The thing exists but is not in a state that allows what was asked."""

    status = 409


class CannotStart(UserError):
    """A port, folder or setting prevents the start."""


class CheckpointError(UserError):
    """A model file or folder cannot be used."""

    status = 422


class NoCheckpoint(CheckpointError):
    """The models folder holds no checkpoint."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"There is no checkpoint in {folder}. Put a diffusers folder there, or restore the embedded one "
            "with 'git checkout models', then press refresh beside the checkpoint list."
        )


class CannotSave(UserError):
    """The outputs folder does not take the picture."""

    status = 507

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(
            f"The picture could not be written to {folder}: {reason}. Free space or make the folder writable, "
            "or start with --outputs-dir on another one; then run the job again."
        )


class CannotStore(UserError):
    """The job database does not take a change."""

    status = 507

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"The queue could not be saved to {path}: {reason}. Free space or make the folder writable, then try again."
        )


class EngineDied(UserError):
    """The engine process ended in the middle of a job. Exit code None: the server went down together with it."""

    def __init__(self, exit_code: int | None) -> None:
        if exit_code is None:
            why = "the server went down with it"
        else:
            why = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        hint = " The system may have run out of memory: try a smaller size or batch." if exit_code == -9 else ""
        super().__init__(f"The engine process ended in the middle of the job ({why}).{hint} It has been started again.")


class OutOfMemory(UserError):
    """The picture does not fit on the device."""

    status = 507

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(
            f"Not enough memory for {size[0]}×{size[1]}. Make the picture smaller or lower the batch size."
        )


class TrainingError(UserError):
    """A training run cannot start or go on."""


class InvalidRecipe(TrainingError):
    """A recipe file is missing or wrong."""


class MissingTrainingData(TrainingError):
    """Pictures or captions that the recipe names are not there."""


class TrainingDiverged(TrainingError):
    """The loss is not a number any more."""

    def __init__(self, stage: str, step: int) -> None:
        super().__init__(
            f"The loss of stage '{stage}' is not a number at step {step}. The last checkpoint is intact: "
            "lower the learning rate in the recipe and start again."
        )
