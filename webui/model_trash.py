"""The trash of the models folder: a model lies there with everything beside it until it is brought back.

A hidden folder, so it is on no shelf. Nothing is ever deleted from it by Easel: models are large and dear, and whoever
needs the room empties `models/.trash`.
"""

import json
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from webui.errors import CannotSaveModel, Conflict, NotFound
from webui.library import Passport, ShelfItem
from webui.library.scan import PREVIEWS, TOLD_BESIDE

FOLDER = ".trash"
MANIFEST = "trashed.json"


class ModelTrash:
    """Safe to use from any thread."""

    def __init__(self, models_dir: Path) -> None:
        self._models = models_dir

    def put(self, model: Passport | ShelfItem) -> str:
        """Move the model there; the id under which it lies. Raises `CannotSaveModel`, with everything where it was."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        folder = self._models / FOLDER / name
        moved: list[Path] = []
        try:
            folder.mkdir(parents=True)
            told = {"shelf": model.shelf, "name": model.name, "from": str(model.path.parent)}
            (folder / MANIFEST).write_text(json.dumps(told, ensure_ascii=False), "utf-8")
            for path in _belonging(model):
                path.rename(folder / path.name)
                moved.append(path)
        except OSError as error:
            for path in moved:
                (folder / path.name).rename(path)
            with suppress(OSError):
                (folder / MANIFEST).unlink(missing_ok=True)
                folder.rmdir()
            raise CannotSaveModel(str(folder), error.strerror or str(error)) from error
        return name

    def all(self) -> list[dict[str, Any]]:
        """{"id", "shelf", "name"} of everything that is there, the latest first."""
        folders = sorted((self._models / FOLDER).glob(f"*/{MANIFEST}"), reverse=True)
        return [{"id": path.parent.name, **told} for path in folders if (told := _told(path))]

    def restore(self, trashed: str) -> str:
        """Move it back to where it was; its shelf. Raises `NotFound`, `Conflict` or `CannotSaveModel`."""
        known = {str(each["id"]): each for each in self.all()}
        if trashed not in known:
            raise NotFound("There is no such model in the trash.")
        folder, home = self._models / FOLDER / trashed, Path(known[trashed]["from"])
        files = [path for path in folder.iterdir() if path.name != MANIFEST]
        if there := [path.name for path in files if (home / path.name).exists()]:
            raise Conflict("There is {name} again by now. Rename that first.", name=there[0])
        try:
            home.mkdir(parents=True, exist_ok=True)
            for path in files:
                path.rename(home / path.name)
            (folder / MANIFEST).unlink()
            folder.rmdir()
        except OSError as error:
            raise CannotSaveModel(str(home), error.strerror or str(error)) from error
        return str(known[trashed]["shelf"])


def _belonging(model: Passport | ShelfItem) -> list[Path]:
    """The model and what lies beside it under its name."""
    base = model.path if model.layout == "folder" else model.path.with_suffix("")
    beside = (base.with_name(f"{base.name}{ending}") for ending in (*PREVIEWS, *TOLD_BESIDE))
    return [model.path, *(path for path in beside if path.is_file())]


def _told(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) and {"shelf", "name", "from"} <= told.keys() else {}
