"""Values of forms under a name: one JSON file, written atomically, never fatal when broken.

Whether a value still fits its field is for whoever fills a form; here a value is only small and plain.
"""

import json
import logging
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from webui.errors import CannotSaveSettings, Conflict, InvalidRequest, NotFound, UnknownName, UserError
from webui.options import write_atomically
from webui.sentences import Sentence

log = logging.getLogger(__name__)

TABS = ("txt2img", "img2img")
DEFAULT = "default"
"""The preset that a fresh form of its tab holds, as AUTOMATIC1111's ui-config.json says it."""
LONGEST_NAME = 80
LONGEST_VALUE = 20_000
MOST_VALUES = 300
MOST_PRESETS = 500
MOST_BYTES = 2 * 2**20

Plain = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Raises `InvalidRequest` or `UnknownName` for what is none."""

    name: str
    tab: str
    values: Mapping[str, Plain] = field(default_factory=dict)
    """By field; options of extensions as "<extension>.<option>"."""
    checkpoint: str = ""
    """Name of the checkpoint with which the values come into the form; "" for none."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 0 < len(self.name.strip()) <= LONGEST_NAME or not _is_line(self.name):
            raise InvalidRequest("A preset's name has 1 to {most} characters on one line.", most=LONGEST_NAME)
        if self.tab not in TABS:
            raise UnknownName("tab", str(self.tab), TABS)
        if not isinstance(self.checkpoint, str) or len(self.checkpoint) > 300 or not _is_written(self.checkpoint):
            raise InvalidRequest("The checkpoint must be a name.")
        if not isinstance(self.values, dict) or not self.values or len(self.values) > MOST_VALUES:
            raise InvalidRequest("A preset holds 1 to {most} values.", most=MOST_VALUES)
        for name, value in self.values.items():
            if len(name) > 100 or not _is_written(name) or not _is_plain(value):
                raise InvalidRequest("'{name}' is no value that a preset can hold.", name=name[:80])

    @property
    def key(self) -> tuple[str, str]:
        return self.tab, self.name

    @classmethod
    def from_json(cls, told: object) -> "Preset":
        """What a file holds. Raises as the constructor does."""
        if not isinstance(told, dict) or not {"name", "tab", "values"} <= told.keys():
            raise InvalidRequest("A preset has a name, a tab and values.")
        if unknown := [name for name in told if name not in ("name", "tab", "values", "checkpoint")]:
            raise UnknownName("field", str(unknown[0]), ("name", "tab", "values", "checkpoint"))
        return cls(**told)


def _is_line(text: str) -> bool:
    return text.isprintable()


def _is_written(text: str) -> bool:
    """Whether a file and an answer can hold it: half a surrogate pair has no encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_VALUE and _is_written(value)
    return isinstance(value, bool | int) or (isinstance(value, float) and abs(value) < float("inf"))


class Presets:
    """The presets and the file they live in; safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.warning: Sentence | None = None
        """What was wrong with the file at start."""
        self._presets = {preset.key: preset for preset in self._load()}

    def all(self) -> list[Preset]:
        """In the order in which they were made."""
        return list(self._presets.values())

    def save(self, presets: Iterable[Preset]) -> None:
        """Add them, each in the place of the one of its tab and name. Of presets for one checkpoint the last counts.

        Raises `CannotSaveSettings`, or `InvalidRequest` for too many; then none is added.
        """
        with self._lock:
            changed = dict(self._presets)
            for preset in presets:
                if preset.checkpoint:
                    changed = {key: old for key, old in changed.items() if not _same_use(old, preset)}
                changed[preset.key] = preset
            self._write(changed)

    def rename(self, tab: str, name: str, to: str) -> None:
        """Raises `NotFound`, `InvalidRequest`, or `Conflict` when there is one of the new name."""
        with self._lock:
            old = self._found(tab, name)
            new = Preset(**{**asdict(old), "name": to})
            if new.key in self._presets:
                raise Conflict("There is a preset of the name '{name}' already.", name=to)
            self._write({(new if key == old.key else each).key: (new if key == old.key else each)
                         for key, each in self._presets.items()})  # fmt: skip

    def delete(self, tab: str, name: str) -> None:
        """Raises `NotFound`."""
        with self._lock:
            gone = self._found(tab, name)
            self._write({key: preset for key, preset in self._presets.items() if key != gone.key})

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(preset) for preset in self.all()]

    def _found(self, tab: str, name: str) -> Preset:
        try:
            return self._presets[tab, name]
        except KeyError:
            raise NotFound("There is no preset '{name}' for this tab.", name=name[:LONGEST_NAME]) from None

    def _write(self, presets: dict[tuple[str, str], Preset]) -> None:
        if len(presets) > MOST_PRESETS:
            raise InvalidRequest("There can be {most} presets at most. Delete some first.", most=MOST_PRESETS)
        told = {"presets": [asdict(preset) for preset in presets.values()]}
        content = json.dumps(told, ensure_ascii=False, indent=1).encode("utf-8", "replace")
        if len(content) > MOST_BYTES:
            raise InvalidRequest("The presets are too large together. Delete some first.")
        try:
            write_atomically(self._path, content)
        except OSError as error:
            raise CannotSaveSettings(self._path, error) from error
        self._presets = presets

    def _load(self) -> list[Preset]:
        try:
            return read_presets(json.loads(self._path.read_text("utf-8-sig")))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError, UserError) as error:
            kept = self._path.with_name(f"{self._path.stem}.broken-{int(time.time())}.json")
            try:
                shutil.copyfile(self._path, kept)
            except OSError:
                log.warning("%s could not be copied", self._path)
            self.warning = Sentence(
                "The presets file could not be read ({reason}). It was kept as {name}.",
                reason=str(error)[:200], name=kept.name,
            )  # fmt: skip
            log.warning("%s", self.warning)
            return []


def read_presets(told: object) -> list[Preset]:
    """What a presets file or an import holds. Raises `InvalidRequest` or `UnknownName`."""
    presets = told.get("presets") if isinstance(told, dict) else None
    if not isinstance(presets, list):
        raise InvalidRequest("This is no file of presets.")
    return [Preset.from_json(each) for each in presets]


def _same_use(one: Preset, other: Preset) -> bool:
    return (one.tab, one.checkpoint) == (other.tab, other.checkpoint)
