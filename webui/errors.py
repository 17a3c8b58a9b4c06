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
    ├── CannotSaveDataset          the datasets folder does not take a change       HTTP 507
    ├── CannotSaveStyles           the styles file does not take a change           HTTP 507
    ├── CannotSaveInput            the data folder does not take an uploaded picture HTTP 507
    ├── ExtensionError             an extension cannot be installed, enabled or used HTTP 422
    ├── NotOperator                only who reads the console may do this          HTTP 403
    ├── CannotSaveGallery          the gallery's files do not take a change         HTTP 507
    ├── UnusableInput              an uploaded picture cannot be used               HTTP 422
    ├── JobFailed                  the job that a client waits for failed           HTTP 500
    ├── EngineDied                 the engine process ended in the middle of a job  HTTP 500
    ├── OutOfMemory                the picture does not fit on the device           HTTP 507
    └── TrainingError              a training run cannot start or go on
        ├── InvalidRecipe
        ├── MissingTrainingData
        ├── UnusablePicture        a picture file cannot be read or is too large   HTTP 422
        ├── CannotSaveRun          the run folder does not take the state          HTTP 507
        └── TrainingDiverged

The page shows `error.sentence` in its reader's language, the console `str(error)`; REST maps `status`, the log keeps
the traceback. Sentences never hold prompts.
"""

from collections.abc import Iterable

from webui.sentences import Sentence, Value


class UserError(Exception):
    """Base of all errors that are shown to the person as they are: an English template and its values by name."""

    status = 500

    def __init__(self, template: str, /, **values: Value) -> None:
        self.sentence = Sentence(template, **values)
        super().__init__(str(self.sentence))

    @property
    def kind(self) -> str:
        return type(self).__name__


class InvalidRequest(UserError):
    """A value of a request is impossible."""

    status = 422


class UnknownName(InvalidRequest):
    """A name that is not registered; the text lists the names that are."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        listed = ", ".join(known)
        told = Sentence(what)
        if listed:
            super().__init__("Unknown {what} '{name}'. Known: {known}.", what=told, name=name[:80], known=listed)
        else:
            super().__init__("Unknown {what} '{name}': there is none at all.", what=told, name=name[:80])


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
            "There is no checkpoint in {folder}. Put a .safetensors file or a diffusers folder there, or restore the "
            "embedded one with 'git checkout models', then press refresh beside the checkpoint list.",
            folder=folder,
        )


class CannotSave(UserError):
    """The outputs folder does not take the picture."""

    status = 507

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(
            "The picture could not be written to {folder}: {reason}. Free space or make the folder writable, "
            "or start with --outputs-dir on another one; then run the job again.",
            folder=folder,
            reason=reason,
        )


class CannotStore(UserError):
    """The job database does not take a change."""

    status = 507

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            "The queue could not be saved to {path}: {reason}. Free space or make the folder writable, then try again.",
            path=path,
            reason=reason,
        )


class CannotSaveDataset(UserError):
    """The datasets folder does not take a change."""

    status = 507

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(
            "The dataset could not be saved to {folder}: {reason}. Free space or make the folder writable, then try "
            "again.",
            folder=folder,
            reason=reason,
        )


class CannotSaveInput(UserError):
    """The data folder does not take an uploaded picture."""

    status = 507

    def __init__(self, folder: object, error: OSError) -> None:
        super().__init__(
            "The picture could not be saved to {folder}: {reason}. Free space or make the folder writable, then try "
            "again.",
            folder=str(folder),
            reason=error.strerror or str(error),
        )


class CannotSaveGallery(UserError):
    """The gallery's index, marks or trash do not take a change."""

    status = 507

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(
            "The gallery could not be changed in {folder}: {reason}. Free space or make the folder writable, then try "
            "again.",
            folder=folder,
            reason=reason,
        )


class UnusableInput(UserError):
    """An uploaded picture cannot be used."""

    status = 422


class CannotSaveStyles(UserError):
    """The styles file does not take a change."""

    status = 507

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            "The styles could not be saved to {path}: {reason}. Free space or make the folder writable, then try "
            "again.",
            path=path,
            reason=reason,
        )


class ExtensionError(UserError):
    """An extension cannot be installed, enabled or used."""

    status = 422


class NotOperator(UserError):
    """Only whoever reads the console may do this."""

    status = 403


class JobFailed(UserError):
    """The job that a client waits for ended without its pictures."""

    status = 500

    def __init__(self, reason: Sentence) -> None:
        super().__init__("The job failed: {reason}", reason=reason)


class EngineDied(UserError):
    """The engine process ended in the middle of a job. Exit code None: the server went down together with it."""

    def __init__(self, exit_code: int | None) -> None:
        why = Sentence("the server went down with it") if exit_code is None else way_of_ending(exit_code)
        if exit_code == -9:
            super().__init__(
                "The engine process ended in the middle of the job ({why}). The system may have run out of memory: "
                "try a smaller size or batch. It has been started again.",
                why=why,
            )
        else:
            super().__init__(
                "The engine process ended in the middle of the job ({why}). It has been started again.", why=why
            )


def way_of_ending(exit_code: int) -> Sentence:
    """How a process ended, in two words; negative codes are signals."""
    if exit_code < 0:
        return Sentence("signal {number}", number=-exit_code)
    return Sentence("exit code {number}", number=exit_code)


class OutOfMemory(UserError):
    """The picture does not fit on the device."""

    status = 507

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(
            "Not enough memory for {width}×{height}. Make the picture smaller or lower the batch size.",
            width=size[0],
            height=size[1],
        )


class TrainingError(UserError):
    """A training run cannot start or go on."""


class InvalidRecipe(TrainingError):
    """A recipe file is missing or wrong."""


class MissingTrainingData(TrainingError):
    """Pictures or captions that the recipe names are not there."""


class UnusablePicture(TrainingError):
    """A picture file cannot be learnt from."""

    status = 422


class CannotSaveRun(TrainingError):
    """The run folder does not take the state of a training."""

    status = 507

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(
            "The training could not be saved to {folder}: {reason}. What was saved before is intact: free space or "
            "make the folder writable, then start the training again and it goes on from there.",
            folder=folder,
            reason=reason,
        )


class TrainingDiverged(TrainingError):
    """The loss is not a number any more."""

    def __init__(self, stage: str, step: int) -> None:
        super().__init__(
            "The loss of stage '{stage}' is not a number at step {step}. The last checkpoint is intact: "
            "lower the learning rate in the recipe and start again.",
            stage=stage,
            step=step,
        )
