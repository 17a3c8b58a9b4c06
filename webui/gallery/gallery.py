"""The gallery as the rest of the program sees it: pages of pictures, single ones, marks, trash, export.

Keeps the index up to date in a thread of its own. Pictures are named by opaque ids; a path never comes in.
"""

import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.errors import NotFound, UserError
from webui.gallery import exporting
from webui.gallery.database import Database
from webui.gallery.indexing import NO_SEED, Indexer
from webui.gallery.marks import Marks
from webui.gallery.search import Query, add_cursor, cursor_behind, order, to_sql
from webui.gallery.thumbnails import Thumbnails
from webui.gallery.trash import KEPT_SECONDS, Trash

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.3
"""How long a page waits for a look at the folder, which takes milliseconds unless there is much that is new."""
TOLD_EVERY_SECONDS = 1.0
EXPORTS_KEPT = 20
COUNTS_KEPT = 50
TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif",
    ".gif": "image/gif",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture of the gallery."""

    id: str
    folder: str
    name: str
    content: str
    bytes: int
    width: int
    height: int
    tool: str
    prompt: str
    checkpoint: str
    sampler: str
    seed: int | None
    starred: bool
    created: float
    """Seconds since 1970: the time of its file."""

    @property
    def media_type(self) -> str:
        return TYPES.get(Path(self.name).suffix.lower(), "application/octet-stream")


@dataclass(frozen=True, kw_only=True)
class Page:
    entries: list[Entry]
    total: int
    """Of everything that the query finds."""
    next: str | None
    """Cursor of the next page; None at the end."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Pictures that somebody is about to fetch as one file."""

    files: list[tuple[Path, str]]
    bare: bool


class Gallery:
    """`start` after construction, `close` at the end; safe to use from any thread."""

    def __init__(
        self,
        data_dir: Path,
        outputs_dir: Path,
        *,
        known_id: Callable[[str], str | None] = lambda path: None,
        forget: Callable[[list[str]], None] = lambda ids: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`known_id`: the id that a path has elsewhere; `forget`: told what is deleted for good; `changed`: called
        when a page should look again."""
        self._root = outputs_dir
        self._database = Database(data_dir)
        self._indexer = Indexer(self._database, outputs_dir, known_id)
        self._thumbnails = Thumbnails(data_dir / "thumbnails")
        self.marks = Marks(self._database)
        self.trash = Trash(self._database, self._indexer, outputs_dir, forget)
        self._changed = changed
        self._counts: dict[tuple[Query, int], int] = {}
        self._exports: dict[str, Export] = {}
        self._turn = threading.Condition()
        self._asked = self._answered = 0
        """Looks at the folder that were asked for, and the last of them that was answered."""
        self._closing = threading.Event()
        self.indexing: tuple[int, int] | None = None
        """(done, total) of files while many new ones are read."""
        self._thread = threading.Thread(target=self._run, name="gallery", daemon=True)

    def start(self) -> None:
        self.trash.recover()
        self._asked += 1
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        with self._turn:
            self._turn.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._database.close()

    # Looking at pictures.

    def page(self, query: Query, *, limit: int, offset: int = 0, cursor: str | None = None) -> Page:
        """Pictures from a position or behind a cursor. Raises `InvalidRequest`."""
        if cursor is None and offset == 0:
            self.refresh()
        sql = to_sql(query)
        if cursor is not None:
            add_cursor(query, sql, cursor)
        rows = self._database.all(
            f"SELECT pictures.* FROM {sql.tables} {sql.where} {order(query, sql)} LIMIT ? OFFSET ?",
            (*sql.values, limit + 1, offset),
        )
        shown = rows[:limit]
        following = cursor_behind(query, dict(shown[-1])) if len(rows) > limit and shown else None
        return Page(entries=[_entry(row) for row in shown], total=self._count(query), next=following)

    def _count(self, query: Query) -> int:
        key = (query, self._database.generation)
        if key not in self._counts:
            sql = to_sql(query)
            is_text_only = sql.where == "WHERE texts MATCH ?"
            tables = "texts" if is_text_only else sql.tables
            row = self._database.one(f"SELECT count(*) FROM {tables} {sql.where}", sql.values)
            while len(self._counts) >= COUNTS_KEPT:
                self._counts.pop(next(iter(self._counts)), None)
            self._counts[key] = int(row[0]) if row else 0
        return self._counts[key]

    def facets(self) -> dict[str, list[tuple[str, int]]]:
        """Every checkpoint, sampler and tool with the number of its pictures, most first."""
        return {
            column: [
                (row[0], row[1])
                for row in self._database.all(
                    f"SELECT {column}, count(*) AS n FROM pictures WHERE {column} <> '' GROUP BY {column} "
                    f"ORDER BY n DESC, {column} LIMIT 500"
                )
            ]
            for column in ("checkpoint", "sampler", "tool")
        }

    def one(self, picture_id: str) -> Entry:
        """Raises `NotFound`."""
        row = self._database.one("SELECT * FROM pictures WHERE id = ?", (picture_id,))
        if row is None:
            raise NotFound("There is no picture '{id}'.", id=picture_id[:80])
        return _entry(row)

    def path(self, entry: Entry) -> Path:
        """Where the file is. Raises `NotFound` when it was removed."""
        path = self._root / entry.folder / entry.name
        if path.is_symlink() or not path.is_file():
            raise NotFound("This picture is not in the outputs folder any more. It may have been moved or deleted.")
        return path

    def content(self, picture_id: str) -> bytes:
        """The file of a picture, of a deleted one too. Raises `NotFound`."""
        try:
            if picture_id in self.trash.ids:
                return self.trash.read(picture_id).read_bytes()
            return self.path(self.one(picture_id)).read_bytes()
        except OSError as error:
            raise NotFound(
                "This picture is not in the outputs folder any more. It may have been moved or deleted."
            ) from error

    def thumbnail(self, picture_id: str) -> bytes:
        """WebP, of deleted pictures too. Raises `NotFound`."""
        trashed = self.trash.one(picture_id) if picture_id in self.trash.ids else None
        if trashed is not None:
            return self._thumbnails.of(trashed.content, self.trash.path(trashed))
        entry = self.one(picture_id)
        return self._thumbnails.of(entry.content, self.path(entry))

    def bare(self, picture_id: str) -> bytes:
        """The pixels as PNG without anything else. Raises `NotFound`."""
        return exporting.bare_copy(self.path(self.one(picture_id)))

    # Taking many with one.

    def export(self, ids: Sequence[str], *, bare: bool) -> tuple[str, int]:
        """Get a .zip of the pictures ready: its id and how many are in it."""
        found = []
        for picture_id in ids:
            try:
                entry = self.one(picture_id)
                found.append((self.path(entry), entry.name))
            except NotFound:
                continue
        if not found:
            raise NotFound("None of these pictures is there any more.")
        export_id = secrets.token_hex(10)
        while len(self._exports) >= EXPORTS_KEPT:
            self._exports.pop(next(iter(self._exports)), None)
        self._exports[export_id] = Export(files=found, bare=bare)
        return export_id, len(found)

    def exported(self, export_id: str) -> Iterator[bytes]:
        """The .zip, piece by piece. Raises `NotFound`."""
        export = self._exports.get(export_id)
        if export is None:
            raise NotFound("This download is over. Choose the pictures again.")
        return exporting.zipped(export.files, bare=export.bare)

    # Deleting.

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Move pictures into the trash. Raises `CannotSaveGallery`."""
        put = self.trash.put(ids)
        self._changed()
        return put

    def restore(self, ids: Sequence[str]) -> list[str]:
        """Bring pictures back from the trash. Raises `CannotSaveGallery`."""
        restored = self.trash.restore(ids)
        self._changed()
        return restored

    def empty_trash(self, older_than: float = 0.0) -> int:
        """Delete for good; how many."""
        gone = self.trash.empty(older_than)
        self._thumbnails.forget([trashed.content for trashed in gone])
        if gone:
            self._changed()
        return len(gone)

    # Keeping up with the folder.

    def refresh(self, patience: float = PATIENCE_SECONDS) -> bool:
        """Have the folder looked at, and wait a little for it; whether that was enough."""
        with self._turn:
            self._asked += 1
            asked = self._asked
            self._turn.notify_all()
            return self._turn.wait_for(lambda: self._answered >= asked, patience)

    def _run(self) -> None:
        is_first = True
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._asked > self._answered or self._closing.is_set())
                asked = self._asked
            if self._closing.is_set():
                return
            try:
                if is_first:
                    self.empty_trash(older_than=KEPT_SECONDS)
                self._look(thorough=is_first)
                is_first = False
            except (UserError, OSError, sqlite3.Error) as error:
                log.warning("The gallery could not look at %s: %s", self._root, error)
            except Exception:  # a fault of ours: without this thread there would be no gallery until the next start
                log.exception("The gallery could not look at %s", self._root)
            with self._turn:
                self._answered = asked
                self._turn.notify_all()

    def _look(self, *, thorough: bool) -> None:
        told = time.monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal told
            self.indexing = (done, total)
            if self._closing.is_set():
                raise InterruptedError("Easel ends")
            if time.monotonic() - told > TOLD_EVERY_SECONDS:
                told = time.monotonic()
                self._changed()

        try:
            changes = self._indexer.refresh(progress, thorough=thorough)
        finally:
            self.indexing = None
        self._thumbnails.forget(self._unused(changes.removed))
        if changes:
            self._changed()

    def _unused(self, contents: Sequence[str]) -> list[str]:
        """Those that neither a picture nor the trash has."""
        query = "SELECT 1 FROM pictures WHERE content = ?1 UNION ALL SELECT 1 FROM marks.trash WHERE content = ?1"
        return [content for content in contents if self._database.one(query, (content,)) is None]


def _entry(row: sqlite3.Row) -> Entry:
    plain = ("id", "folder", "name", "content", "bytes", "width", "height", "tool", "prompt", "checkpoint", "sampler")
    return Entry(
        **{name: row[name] for name in plain},
        seed=None if row["seed"] == NO_SEED else row["seed"],
        starred=bool(row["starred"]),
        created=row["mtime_ns"] / 1e9,
    )
