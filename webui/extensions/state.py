"""Which extensions a person has enabled, as they were then: one JSON file, read anew when it changes.

The server, the command line and every engine process read it; nobody keeps it in memory for long.
"""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from webui.options import write_atomically
from webui.sentences import Sentence

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of one extension beside its folder."""

    enabled: bool | None = None
    """None: nobody has decided; what ships with Easel is then enabled, everything else not."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by path, as it was when it was enabled last."""
    reason: Sentence | None = None
    """Why Easel disabled it by itself."""
    source: str = ""
    """The folder or address it was installed from; "" when it was put there or uploaded."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "reason": self.reason and self.reason.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Entry":
        """The inverse of `to_json`. Raises `KeyError` or `TypeError` for anything else."""
        reason = values["reason"]
        return cls(**{**values, "reason": None if reason is None else Sentence.from_json(reason)})


class StateFile:
    """Safe to use from any thread; a broken file means that nothing was ever enabled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)  # type: ignore[misc]  # engines get their own lock

    def entries(self) -> dict[str, Entry]:
        try:
            told = json.loads(self.path.read_text("utf-8"))
            return {str(name): Entry.from_json(values) for name, values in told["extensions"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            log.warning("%s cannot be read (%s): every extension counts as new", self.path, error)
            return {}

    def of(self, name: str) -> Entry:
        return self.entries().get(name, Entry())

    def change(self, name: str, **values: Any) -> Entry:
        """Replace the named fields of an entry and save. Raises `OSError`."""
        with self._lock:
            entries = self.entries()
            changed = replace(entries.get(name, Entry()), **values)
            self._save({**entries, name: changed})
            return changed

    def forget(self, name: str) -> None:
        """Raises `OSError`."""
        with self._lock:
            entries = self.entries()
            if entries.pop(name, None) is not None:
                self._save(entries)

    def _save(self, entries: Mapping[str, Entry]) -> None:
        told = {"extensions": {name: entry.to_json() for name, entry in sorted(entries.items())}}
        write_atomically(self.path, json.dumps(told, ensure_ascii=False, indent=1).encode())
