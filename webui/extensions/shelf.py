"""The extensions folder as it is now: what is in it, and which of it may run. Looks again when something has changed.

Server and engines each have one, over the same two places. Installs, enables and imports nothing.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from webui.errors import ExtensionError, UnknownName
from webui.extensions.manifest import NOT_COUNTED, Folder, read_folder
from webui.extensions.state import Entry, StateFile
from webui.sentences import Sentence

SHIPPED = frozenset({"lora", "controlnet", "xyz_plot", "prompt_matrix", "prompts_from_file", "loopback", "sd_upscale"})
"""What comes with Easel: enabled unless a person disables it, trusted as the rest of the program is."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A folder among the extensions."""

    name: str
    folder: Folder | None
    """None when it cannot be read; `problem` says why."""
    entry: Entry
    problem: Sentence | None
    """Why it is not enabled although it might be: unreadable, changed, or disabled by Easel itself."""
    enabled: bool
    changed: tuple[str, ...] = ()
    """Files that differ from those that were enabled."""

    @property
    def ships(self) -> bool:
        return self.name in SHIPPED


class Shelf:
    """Safe to use from any thread; picklable, so that an engine process finds the same extensions."""

    def __init__(self, folder: Path, state: StateFile, *, safe_mode: bool = False) -> None:
        self.folder = folder
        self.state = state
        self.safe_mode = safe_mode
        """Nothing is enabled, whatever the state says."""
        self._lock = threading.Lock()
        self._key: object = None
        self._found: Mapping[str, Found] = {}

    def __getstate__(self) -> tuple[Path, StateFile, bool]:
        return self.folder, self.state, self.safe_mode

    def __setstate__(self, state: tuple[Path, StateFile, bool]) -> None:
        self.__init__(state[0], state[1], safe_mode=state[2])  # type: ignore[misc]

    def all(self) -> Mapping[str, Found]:
        """Everything in the folder by name, in order."""
        with self._lock:
            key = self._look()
            if key != self._key:
                entries = self.state.entries()
                folders = sorted(path for path in _folders(self.folder))
                self._found = {path.name: self._read(path, entries.get(path.name, Entry())) for path in folders}
                self._key = key
            return self._found

    def enabled(self) -> Mapping[str, Folder]:
        """What may run, by name, in order."""
        return {name: found.folder for name, found in self.all().items() if found.enabled and found.folder is not None}

    def find(self, name: str) -> Found:
        """Raises `UnknownName`."""
        found = self.all()
        if name not in found:
            raise UnknownName("extension", name, found)
        return found[name]

    def _read(self, path: Path, entry: Entry) -> Found:
        try:
            folder = read_folder(path)
            if folder.name != path.name:
                raise ExtensionError(
                    "The folder '{folder}' holds the extension '{name}'. Give the folder that name.",
                    folder=path.name[:80], name=folder.name,
                )  # fmt: skip
            return self._judged(folder, entry)
        except ExtensionError as error:
            return Found(name=path.name, folder=None, entry=entry, problem=error.sentence, enabled=False)
        except OSError as error:
            told = Sentence("Its folder cannot be read: {reason}.", reason=error.strerror or str(error))
            return Found(name=path.name, folder=None, entry=entry, problem=told, enabled=False)

    def _judged(self, folder: Folder, entry: Entry) -> Found:
        name = folder.name
        wanted = name in SHIPPED if entry.enabled is None else entry.enabled
        problem = entry.reason
        changed: tuple[str, ...] = ()
        if name not in SHIPPED and entry.files and folder.files != entry.files:
            changed = changes(entry.files, folder.files)
            if wanted:
                problem = Sentence(
                    "Its files are not those that were enabled: {files}. Look at them and enable it again.",
                    files=", ".join(changed[:5]),
                )
        return Found(
            name=name, folder=folder, entry=entry, problem=problem, changed=changed,
            enabled=wanted and problem is None and not self.safe_mode,
        )  # fmt: skip

    def _look(self) -> object:
        """Differs when the state or any file does, by its size and time."""
        key: list[object] = [_stat(self.state.path)]
        for path in _folders(self.folder):
            files = (file for file in sorted(path.rglob("*")) if not {*NOT_COUNTED} & {*file.relative_to(path).parts})
            key += [(str(file), _stat(file)) for file in files]
        return key


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Files that are new (+ name), gone (- name) or others (name)."""
    marks = {name: "+ " if name not in before else "- " if name not in after else "" for name in {*before, *after}}
    return tuple(f"{marks[name]}{name}" for name in sorted(marks) if before.get(name) != after.get(name))


def _folders(folder: Path) -> list[Path]:
    """Names that begin with an underscore or a dot are none: templates, and what is being installed."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.lstat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
