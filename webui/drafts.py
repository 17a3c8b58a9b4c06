"""What stands in the forms of each browser, so that another one can go on with it: one small file per browser.

Bounded in size and number; the oldest goes first. Pictures and canvases stay in the browser that has them.
"""

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.errors import CannotSaveSettings, InvalidRequest, NotFound
from webui.options import write_atomically

CLIENT = re.compile(r"[0-9a-f]{16,32}")
"""A browser's own id, drawn by itself."""
MOST_DRAFTS = 20
MOST_BYTES = 256 * 2**10
MOST_FORMS = 10
LONGEST_NAME = 80
LONGEST_SUMMARY = 120


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The forms of one browser as they were last written down."""

    client: str
    name: str
    """What the browser calls itself, for a person to tell it from others."""
    saved: float
    """Seconds since 1970."""
    forms: Mapping[str, Mapping[str, Any]]
    """Kind of form -> its values."""

    def to_json(self, *, whole: bool = False) -> dict[str, Any]:
        prompts = (str(values.get("prompt", "")) for values in self.forms.values())
        told = {
            "client": self.client, "name": self.name, "saved": self.saved, "forms": list(self.forms),
            "summary": next((prompt for prompt in prompts if prompt), "")[:LONGEST_SUMMARY],
        }  # fmt: skip
        return told | {"forms": self.forms} if whole else told


class Drafts:
    """The folder of the drafts; safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def all(self) -> list[Draft]:
        """The newest first; a file that cannot be read is passed over."""
        found = (self._read(path) for path in self._files())
        return sorted((draft for draft in found if draft is not None), key=lambda draft: -draft.saved)

    def get(self, client: str) -> Draft:
        """Raises `NotFound`, or `InvalidRequest` for what is no id."""
        draft = self._read(self._path(client))
        if draft is None:
            raise NotFound("There is no draft of that browser any more.")
        return draft

    def save(self, client: str, name: str, forms: Mapping[str, Mapping[str, Any]]) -> Draft:
        """Replace the draft of a browser. Raises `InvalidRequest` or `CannotSaveSettings`."""
        path = self._path(client)
        draft = Draft(client=client, name=name.strip()[:LONGEST_NAME], saved=time.time(), forms=dict(forms))
        try:
            told = {"name": draft.name, "saved": draft.saved, "forms": draft.forms}
            content = json.dumps(told, allow_nan=False)
            _check_written(told)
        except ValueError as error:
            raise InvalidRequest("A draft holds plain values only.") from error
        if len(content) > MOST_BYTES or len(forms) > MOST_FORMS:
            raise InvalidRequest("The draft is too large to be kept on the server.")
        with self._lock:
            try:
                write_atomically(path, content.encode("ascii"))
                self._forget_the_oldest()
            except OSError as error:
                raise CannotSaveSettings(path, error) from error
        return draft

    def delete(self, client: str) -> None:
        """Without effect when there is none. Raises `InvalidRequest`."""
        self._path(client).unlink(missing_ok=True)

    def _path(self, client: str) -> Path:
        if not CLIENT.fullmatch(client):
            raise InvalidRequest("This is no browser's id.")
        return self._folder / f"{client}.json"

    def _files(self) -> list[Path]:
        return [path for path in self._folder.glob("*.json") if CLIENT.fullmatch(path.stem)]

    def _forget_the_oldest(self) -> None:
        files = sorted(self._files(), key=lambda path: -path.stat().st_mtime_ns)
        for path in files[MOST_DRAFTS:]:
            path.unlink(missing_ok=True)

    @staticmethod
    def _read(path: Path) -> Draft | None:
        try:
            told = json.loads(path.read_text("ascii"))
            _check_written(told)
            forms = {str(kind): dict(values) for kind, values in told["forms"].items()}
            return Draft(client=path.stem, name=str(told["name"]), saved=float(told["saved"]), forms=forms)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


def _check_written(told: Mapping[str, Any]) -> None:
    """Raises ValueError for texts that no answer can hold, such as half a surrogate pair."""
    json.dumps(told, ensure_ascii=False).encode()
