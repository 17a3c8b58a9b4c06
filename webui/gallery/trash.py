"""The trash: a deleted picture lies in a hidden folder beside the others until it comes back or its time is over.

Hidden folders are not in the index. Nothing here decides what a picture looks like or who may delete one.
"""

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.errors import CannotSaveGallery, NotFound, UserError
from webui.gallery.database import Database
from webui.gallery.indexing import SUFFIXES, Indexer, content_id, describe, is_text
from webui.pictures import picture_size

log = logging.getLogger(__name__)

FOLDER = ".trash"
KEPT_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Trashed:
    """A deleted picture and where it came from; `deleted` in seconds since 1970."""

    id: str
    folder: str
    name: str
    content: str
    width: int
    height: int
    prompt: str
    deleted: float


class Trash:
    """Safe to use from any thread."""

    def __init__(
        self, database: Database, indexer: Indexer, outputs_dir: Path, forget: Callable[[list[str]], None]
    ) -> None:
        self._database = database
        self._indexer = indexer
        self._root = outputs_dir
        self._forget = forget
        """Told the ids of pictures that are gone for good."""
        self._lock = threading.Lock()
        self.ids = frozenset(row["id"] for row in database.all("SELECT id FROM marks.trash"))

    def all(self) -> list[Trashed]:
        """The latest first."""
        return [Trashed(**row) for row in self._database.all("SELECT * FROM marks.trash ORDER BY deleted DESC, id")]

    def one(self, picture_id: str) -> Trashed | None:
        row = self._database.one("SELECT * FROM marks.trash WHERE id = ?", (picture_id,))
        return None if row is None else Trashed(**row)

    def path(self, trashed: Trashed) -> Path:
        return self._root / FOLDER / f"{trashed.id}{Path(trashed.name).suffix}"

    def put(self, ids: Sequence[str]) -> list[str]:
        """Move pictures into the trash; the ids of those that were there. Raises `CannotSaveGallery`."""
        put = []
        with self._lock:
            for picture_id in ids:
                row = self._database.one("SELECT * FROM pictures WHERE id = ?", (picture_id,))
                if row is not None and self._put(row):
                    put.append(picture_id)
        return put

    def _put(self, row: sqlite3.Row) -> bool:
        kept = {name: row[name] for name in ("id", "folder", "name", "content", "width", "height", "prompt")}
        trashed = Trashed(**kept, deleted=time.time())
        source = self._root / trashed.folder / trashed.name
        if not source.is_file():
            return False
        # The row first, and committed: whatever fails afterwards, no file is left that nobody knows.
        self._note(trashed)
        try:
            _move(source, self.path(trashed))
        except CannotSaveGallery:
            self._strike(trashed)
            raise
        self.ids |= {trashed.id}
        self._leave_index(trashed)
        return True

    def _note(self, trashed: Trashed) -> None:
        with self._database.write() as sql:
            sql.execute(
                "INSERT OR REPLACE INTO marks.trash VALUES (?, ?, ?, ?, ?, ?, ?, ?)", tuple(vars(trashed).values())
            )

    def _strike(self, trashed: Trashed) -> None:
        with self._database.write() as sql:
            sql.execute("DELETE FROM marks.trash WHERE id = ?", (trashed.id,))

    def _leave_index(self, trashed: Trashed) -> None:
        with self._database.write() as sql:
            row = sql.execute("DELETE FROM pictures WHERE id = ? RETURNING number", (trashed.id,)).fetchone()
            if row is not None:
                sql.execute("DELETE FROM texts WHERE rowid = ?", (row["number"],))

    def restore(self, ids: Sequence[str]) -> list[str]:
        """Bring pictures back, under another name where theirs is taken. Raises `CannotSaveGallery`."""
        restored = []
        with self._lock:
            for picture_id in ids:
                trashed = self.one(picture_id)
                if trashed is not None and self._restore(trashed):
                    restored.append(picture_id)
            self.ids -= frozenset(restored)
        return restored

    def _restore(self, trashed: Trashed) -> bool:
        source, target = self.path(trashed), _free(self._root / trashed.folder / trashed.name)
        if not source.is_file():
            return False
        with self._database.write() as sql:
            _move(source, target)
            self._indexer.add([self._indexer.file_at(trashed.folder, target.name)], as_id=trashed.id)
            sql.execute("DELETE FROM marks.trash WHERE id = ?", (trashed.id,))
        return True

    def empty(self, older_than: float = 0.0) -> list[Trashed]:
        """Delete for good what has been here for so many seconds; what was deleted."""
        gone = []
        with self._lock:
            for trashed in self.all():
                if time.time() - trashed.deleted < older_than:
                    continue
                try:
                    self.path(trashed).unlink(missing_ok=True)
                except OSError as error:
                    log.warning("%s cannot be deleted: %s", self.path(trashed), error)
                    continue
                self._strike(trashed)
                gone.append(trashed)
            ids = [trashed.id for trashed in gone]
            self.ids -= frozenset(ids)
        if ids:
            self._forget(ids)
            log.info("%d pictures were deleted for good", len(ids))
        return gone

    def recover(self) -> None:
        """After a crash or a lost index: what lies in the folder is in the trash, and what never left its place is not.

        Pictures that nobody knows any more are kept as long as if they had been deleted now.
        """
        indexed = {row["id"] for row in self._database.all("SELECT id FROM pictures JOIN marks.trash USING (id)")}
        for trashed in self.all():
            if self.path(trashed).exists():
                if trashed.id in indexed:
                    self._leave_index(trashed)
            elif (self._root / trashed.folder / trashed.name).exists():
                self._strike(trashed)
                self.ids -= {trashed.id}
        for path in self._unknown():
            try:
                self._adopt(path)
            except (OSError, UserError) as error:
                log.warning("%s stays in the trash, unseen: %s", path, error)

    def _unknown(self) -> list[Path]:
        """Files in the trash's folder that no row is about."""
        folder = self._root / FOLDER
        paths = [path for path in folder.iterdir() if is_text(path.name)] if folder.is_dir() else []
        new = [path for path in paths if path.stem not in self.ids and path.suffix.lower() in SUFFIXES]
        return [path for path in new if path.is_file() and not path.is_symlink()]

    def _adopt(self, path: Path) -> None:
        """Take a file in under the id that it is called by. Raises OSError, or `UserError` for what is no picture."""
        width, height = picture_size(path)
        facts = describe(path, content_id(path), width, height)
        row = self._database.one("SELECT folder, name FROM pictures WHERE id = ?", (path.stem,))
        if row and (self._root / row["folder"] / row["name"]).exists():  # it was only copied: nothing is missing
            return
        trashed = Trashed(
            id=path.stem,
            folder=row["folder"] if row else "",
            name=row["name"] if row else path.name,
            content=facts.content,
            width=width,
            height=height,
            prompt=facts.prompt,
            deleted=time.time(),
        )
        self._note(trashed)
        self.ids |= {trashed.id}
        self._leave_index(trashed)

    def read(self, picture_id: str) -> Path:
        """Where the file of a deleted picture is now. Raises `NotFound`."""
        trashed = self.one(picture_id)
        if trashed is None:
            raise NotFound("There is no picture '{id}'.", id=picture_id[:80])
        return self.path(trashed)


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.rename(target)
        except FileNotFoundError:
            raise
        except OSError:  # across file systems
            shutil.move(source, target)
    except OSError as error:
        raise CannotSaveGallery(str(target.parent), error.strerror or str(error)) from error


def _free(path: Path) -> Path:
    """The path, or the first like it at which there is nothing."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.stem} ({number}){path.suffix}")
        number += 1
    return candidate
