"""What a person does with extensions: look, install, enable, disable, update, remove. Says what became of them.

One per server; the command line has one too. What a job does with extensions is in `webui/engine/extensions.py`.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from webui.errors import Conflict, ExtensionError, UserError
from webui.extension import ServerContext
from webui.extensions import requirements, sources
from webui.extensions.manifest import HALVES, Folder
from webui.extensions.modules import import_half
from webui.extensions.options import checked, options_of
from webui.extensions.probe import probe
from webui.extensions.shelf import SHIPPED, Found, Shelf, changes
from webui.extensions.state import StateFile
from webui.sentences import Sentence
from webui.settings import Settings

log = logging.getLogger(__name__)

EXTENSIONS = "extensions.json"
"""In the data folder: what is enabled."""
MOST_FAILURES = 3
"""In a session; then it is disabled."""


@dataclasses.dataclass
class Measured:
    """What a session has seen of an extension."""

    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    """By hook."""
    pictures: int = 0
    failures: list[Sentence] = dataclasses.field(default_factory=list)


def shelf_of(settings: Settings) -> Shelf:
    state = StateFile(settings.data_dir / EXTENSIONS)
    return Shelf(settings.extensions_dir, state, safe_mode=settings.safe_mode)


class ExtensionDesk:
    """Safe to use from any thread."""

    def __init__(
        self, shelf: Shelf, models_dir: Path, data_dir: Path, *, changed: Callable[[], None] = lambda: None
    ) -> None:
        """`changed` is called when another set of extensions is enabled."""
        self.shelf = shelf
        self._models_dir = models_dir
        self._data_dir = data_dir
        self.changed = changed
        self._lock = threading.RLock()
        self._measured: dict[str, Measured] = {}
        self._types: tuple[object, dict[str, type]] = (None, {})

    def sweep(self) -> None:
        """Remove what an earlier server did not finish, and disable what it was importing when it ended."""
        sources.sweep(self.shelf.folder)
        marker = self._data_dir / "importing"
        if marker.is_file():
            name = marker.read_text("utf-8", errors="replace")[:60]
            if name in self.shelf.all():
                self._disable(name, Sentence("Easel ended while it was imported."))
            marker.unlink(missing_ok=True)

    # What there is.

    def cards(self) -> list[dict[str, Any]]:
        """Every extension as JSON, by name."""
        return [self._card(found) for found in self.shelf.all().values()]

    def card(self, name: str) -> dict[str, Any]:
        """Raises `UnknownName`."""
        return self._card(self.shelf.find(name))

    def review(self, name: str) -> dict[str, Any]:
        """All that can be known without running it: files and what changed, requirements, hooks, hash. As JSON."""
        found = self.shelf.find(name)
        folder = _readable(found)
        return {
            **self._card(found),
            "files": sorted(folder.files),
            "digest": folder.digest,
            "changes": list(changes(found.entry.files, folder.files)) if found.entry.files else [],
            "hints": list(folder.hints),
        }

    def option_types(self) -> Mapping[str, type]:
        """Class of the options of every enabled extension that has some. One that fails is disabled."""
        enabled = self.shelf.enabled()
        key = tuple((name, folder.digest) for name, folder in enabled.items())
        with self._lock:
            if key != self._types[0]:
                types: dict[str, type] = {}
                for folder in enabled.values():
                    if folder.has("options"):
                        module = self.imported(folder, "options")
                        types |= {} if module is None else self._type(folder, module)
                self._types = key, types
            return self._types[1]

    def checked(self, values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The options of a request without those at their defaults. Raises `InvalidRequest` or `UnknownName`."""
        types = self.option_types()
        silent = {name for name in self.shelf.enabled() if name not in types}
        return checked({name: named for name, named in values.items() if named or name not in silent}, types)

    def words(self, language: str) -> dict[str, str]:
        """What enabled extensions say in another language, by their English: their files languages/<language>.json."""
        found: dict[str, str] = {}
        for folder in self.shelf.enabled().values():
            found |= folder.words(language)
        return found

    def imported(self, folder: Folder, half: str) -> ModuleType | None:
        """A module of an enabled extension; None for one that failed and is disabled now."""
        marker = self._data_dir / "importing"
        with self._lock:
            try:
                self._data_dir.mkdir(parents=True, exist_ok=True)
                marker.write_text(folder.name, "utf-8")  # whoever ends Easel here is known at the next start
                return import_half(folder, half)
            except ExtensionError as error:
                self._disable(folder.name, error.sentence)
                return None
            finally:
                marker.unlink(missing_ok=True)

    def context(self, folder: Folder) -> ServerContext:
        data_dir = self._data_dir / folder.name
        data_dir.mkdir(parents=True, exist_ok=True)
        return ServerContext(name=folder.name, models_dir=self._models_dir, data_dir=data_dir, folder=folder.path)

    # What a person decides.

    def enable(self, name: str) -> dict[str, Any]:
        """Try it in a process of its own, then let it run as it is now. Raises `ExtensionError` or `Conflict`."""
        found = self.shelf.find(name)
        folder = _readable(found)
        if needed := requirements.missing(folder.manifest.requirements):
            raise Conflict(
                "{title} needs Python packages that are not there: {packages}. Install them first.",
                title=folder.manifest.title, packages=", ".join(needed),
            )  # fmt: skip
        if not found.ships:
            probe(folder)
        with self._lock:
            self._measured.pop(name, None)
            self._save(name, enabled=True, files=dict(folder.files), reason=None)
        log.info("extension %s %s is enabled, SHA-256 %s", name, folder.manifest.version, folder.digest)
        self.changed()
        return self.card(name)

    def disable(self, name: str) -> dict[str, Any]:
        """Raises `UnknownName`."""
        self.shelf.find(name)
        self._save(name, enabled=False, reason=None)
        self.changed()
        return self.card(name)

    def install(self, source: str | Path, *, is_upload: bool = False) -> dict[str, Any]:
        """Put an extension on the disk, disabled. Raises `ExtensionError`, `InvalidRequest` or `Conflict`."""
        with sources.staged(self.shelf.folder, source) as folder:
            target = self.shelf.folder / folder.name
            if folder.name in SHIPPED or target.exists():
                raise Conflict("There is an extension '{name}' already. Update or remove that one.", name=folder.name)
            with self._lock:
                sources.move(folder, target)
                self._save(folder.name, enabled=False, files={}, reason=None, source="" if is_upload else str(source))
        log.info("extension %s installed", folder.name)
        return self.review(folder.name)

    def update(self, name: str, source: Path | None = None) -> dict[str, Any]:
        """Fetch it anew, from where it came or from `source`; when anything changed it is disabled until enabled again.

        What was enabled stays known, so that the review tells the differences.
        """
        found = self._own(name)
        origin: str | Path = source or found.entry.source
        if not origin:
            raise Conflict(
                "'{name}' was put there by hand or uploaded: nobody knows where a newer one is. Upload that.", name=name
            )
        if isinstance(origin, str) and not sources.is_address(origin):
            origin = Path(origin)
        with sources.staged(self.shelf.folder, origin) as folder:
            if folder.name != name:
                raise Conflict("That is the extension '{other}' and not '{name}'.", other=folder.name, name=name)
            known = found.entry.files or (found.folder.files if found.folder else {})
            with self._lock:
                is_other = folder.files != (found.folder.files if found.folder else {})
                sources.move(folder, self.shelf.folder / name)
                if is_other:
                    self._save(name, enabled=False, files=dict(known), reason=None)
        self.changed()
        return self.review(name)

    def remove(self, name: str) -> None:
        """Raises `UnknownName` or `Conflict`. What it keeps in the data folder stays."""
        self._own(name)
        with self._lock:
            sources.remove(self.shelf.folder / name)
            try:
                self.shelf.state.forget(name)
            except OSError as error:
                raise _not_saved(self.shelf, error) from error
        log.info("extension %s removed", name)
        self.changed()

    def planned(self, name: str) -> tuple[str, ...]:
        """What installing its requirements would install. Raises `ExtensionError` when they do not fit."""
        manifest = _readable(self.shelf.find(name)).manifest
        return requirements.plan(manifest.title, requirements.missing(manifest.requirements))

    def install_requirements(self, name: str) -> dict[str, Any]:
        """Raises `ExtensionError`."""
        manifest = _readable(self.shelf.find(name)).manifest
        if needed := requirements.missing(manifest.requirements):
            requirements.plan(manifest.title, needed)
            requirements.install(manifest.title, needed)
        return self.card(name)

    # What jobs tell.

    def measure(self, timings: Mapping[str, float], pictures: int) -> None:
        """Take the times of a finished job in."""
        with self._lock:
            told: set[str] = set()
            for key, seconds in timings.items():
                name, dot, hook = key.partition(".")
                if dot:
                    spent = self._measured.setdefault(name, Measured()).seconds
                    spent[hook] = spent.get(hook, 0.0) + seconds
                    told.add(name)
            for name in told:
                self._measured[name].pictures += pictures

    def failed(self, name: str, told: Sentence) -> None:
        """A job has switched it off; the third time in a session it is disabled."""
        with self._lock:
            measured = self._measured.setdefault(name, Measured())
            measured.failures.append(told)
            if len(measured.failures) != MOST_FAILURES:
                return
        self._disable(
            name, Sentence("It failed {count} times since Easel was started. {last}", count=MOST_FAILURES, last=told)
        )
        self.changed()

    def _disable(self, name: str, reason: Sentence) -> None:
        log.warning("extension %s is disabled: %s", name, reason)
        try:
            self.shelf.state.change(name, enabled=False, reason=reason)
        except OSError as error:
            log.error("%s", _not_saved(self.shelf, error))

    def _type(self, folder: Folder, module: ModuleType) -> dict[str, type]:
        try:
            return {folder.name: options_of(module, folder.manifest.title)}
        except ExtensionError as error:
            self._disable(folder.name, error.sentence)
            return {}

    def _own(self, name: str) -> Found:
        """One that is not part of Easel."""
        found = self.shelf.find(name)
        if found.ships:
            raise Conflict("'{name}' comes with Easel and changes with it. You can disable it.", name=name)
        return found

    def _save(self, name: str, **values: Any) -> None:
        try:
            self.shelf.state.change(name, **values)
        except OSError as error:
            raise _not_saved(self.shelf, error) from error

    def _card(self, found: Found) -> dict[str, Any]:
        folder, entry = found.folder, found.entry
        measured = self._measured.get(found.name, Measured())
        known = {} if folder is None else {**dataclasses.asdict(folder.manifest)}
        needed = [] if folder is None else list(requirements.missing(folder.manifest.requirements))
        return {
            "title": found.name, "version": "", "description": "", "tags": [], "requirements": [], "asks": [],
            **known,
            "name": found.name,
            "ships": found.ships,
            "enabled": found.enabled,
            "safe_mode": self.shelf.safe_mode,
            "problem": found.problem and found.problem.to_json(),
            "missing": needed,
            "source": entry.source,
            "hooks": [] if folder is None else list(folder.hooks),
            "halves": [] if folder is None else [half for half in HALVES if folder.has(half)],
            "ms_per_picture": _milliseconds(measured),
            "failures": [told.to_json() for told in measured.failures[-MOST_FAILURES:]],
        }  # fmt: skip


def _milliseconds(measured: Measured) -> dict[str, float]:
    """By hook, of this session's pictures."""
    pictures = max(measured.pictures, 1)
    return {hook: round(1000 * seconds / pictures, 2) for hook, seconds in measured.seconds.items()}


def _readable(found: Found) -> Folder:
    if found.folder is None:
        raise ExtensionError(
            "'{name}' cannot be used. {reason}", name=found.name, reason=found.problem or Sentence("It is damaged.")
        )
    return found.folder


def _not_saved(shelf: Shelf, error: OSError) -> UserError:
    return ExtensionError(
        "What was decided about extensions could not be saved to {path}: {reason}. Free space or make the folder "
        "writable, then try again.",
        path=str(shelf.state.path), reason=error.strerror or str(error),
    )  # fmt: skip
