"""The gallery's two files: the index, which is made again when anything is wrong with it, and the marks, which stay.

Marks are what people said about pictures. What stands in the tables is the business of the modules beside this one.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from webui.errors import CannotSaveGallery, CannotStart

log = logging.getLogger(__name__)

Values = Sequence[str | int | float | None]

BUSY_TIMEOUT_MS = 5000
INDEX_VERSION = 1
"""Raised with every change of `INDEX`: an index of another version is made again."""
MARKS_VERSION = 1

INDEX = (
    # `number` is the time of the file in microseconds, made unique: the newest picture has the largest one.
    """CREATE TABLE pictures (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        folder TEXT NOT NULL,
        name TEXT NOT NULL,
        content TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        pixels INTEGER NOT NULL,
        tool TEXT NOT NULL,
        prompt TEXT NOT NULL,
        checkpoint TEXT NOT NULL,
        sampler TEXT NOT NULL,
        seed INTEGER NOT NULL,
        starred INTEGER NOT NULL,
        UNIQUE (folder, name)
    )""",
    "CREATE INDEX pictures_by_content ON pictures (content)",
    "CREATE INDEX pictures_by_star ON pictures (starred, number)",
    "CREATE INDEX pictures_by_checkpoint ON pictures (checkpoint, number)",
    "CREATE INDEX pictures_by_sampler ON pictures (sampler, number)",
    "CREATE INDEX pictures_by_tool ON pictures (tool, number)",
    "CREATE INDEX pictures_by_seed ON pictures (seed, number)",
    "CREATE INDEX pictures_by_pixels ON pictures (pixels, number)",
    """CREATE VIRTUAL TABLE texts USING fts5 (
        prompt, negative_prompt, checkpoint, sampler, seed, date, tool,
        tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
    )""",
    "CREATE TABLE folders (path TEXT PRIMARY KEY, mtime_ns INTEGER NOT NULL)",
    # Files that are no pictures: looked at once and not at every start.
    """CREATE TABLE unusable (
        folder TEXT NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        PRIMARY KEY (folder, name)
    )""",
)
MARKS = (
    "CREATE TABLE stars (content TEXT PRIMARY KEY)",
    "CREATE TABLE collections (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE)",
    """CREATE TABLE members (
        collection TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (collection, content)
    ) WITHOUT ROWID""",
    """CREATE TABLE trash (
        id TEXT PRIMARY KEY,
        folder TEXT NOT NULL,
        name TEXT NOT NULL,
        content TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        prompt TEXT NOT NULL,
        deleted REAL NOT NULL
    )""",
)


class Database:
    """One connection that writes and one that reads, so that a page does not wait for the indexing; any thread."""

    def __init__(self, folder: Path) -> None:
        """Raises `CannotStart` when the folder does not take the files."""
        self._index, self._marks = folder / "gallery.sqlite3", folder / "gallery-marks.sqlite3"
        self._lock, self._reading = threading.RLock(), threading.RLock()
        self.generation = 0
        """Changes with every write."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except (OSError, sqlite3.Error) as error:
            raise CannotStart(
                "The gallery in {folder} cannot be opened: {reason}. Make the folder writable, close the program that "
                "holds it, or start with --data-dir on another one.",
                folder=str(folder),
                reason=str(error),
            ) from error

    def close(self) -> None:
        with self._lock, self._reading:
            self._writer.close()
            self._reader.close()

    def all(self, query: str, values: Values = ()) -> list[sqlite3.Row]:
        """All rows of a query. Raises `CannotSaveGallery` when the file cannot be read just now."""
        try:
            with self._reading:
                return self._reader.execute(query, tuple(values)).fetchall()
        except sqlite3.OperationalError as error:
            raise self._refusal(error) from error
        except sqlite3.DatabaseError as error:
            self._begin_again(error)
            with self._reading:
                return self._reader.execute(query, tuple(values)).fetchall()

    def one(self, query: str, values: Values = ()) -> sqlite3.Row | None:
        rows = self.all(query, values)
        return rows[0] if rows else None

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction; inside another one it is part of it. Raises `CannotSaveGallery`."""
        with self._lock:
            if self._writer.in_transaction:
                yield self._writer
                return
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
                self.generation += 1
            except BaseException as error:
                self._roll_back()
                if isinstance(error, sqlite3.DatabaseError) and type(error) is sqlite3.DatabaseError:
                    self._begin_again(error)
                if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError):
                    raise self._refusal(error) from error
                raise

    def _roll_back(self) -> None:
        if self._writer.in_transaction:  # a full disk has ended it already
            self._writer.execute("ROLLBACK")

    def _begin_again(self, error: sqlite3.DatabaseError) -> None:
        """The index is damaged: nothing in it is lost that the files do not say again."""
        with self._lock, self._reading:
            log.warning("The gallery's index was damaged (%s) and is made again.", error)
            self.close()
            _remove(self._index)
            self._open()
            self.generation += 1

    def _open(self) -> None:
        _prepare_marks(self._marks)
        try:
            _prepare_index(self._index)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            log.warning("The gallery's index was damaged (%s) and is made again.", error)
            _remove(self._index)
            _prepare_index(self._index)
        self._writer, self._reader = self._connect(), self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = _opened(self._index)
        connection.execute("ATTACH ? AS marks", (str(self._marks),))
        return connection

    def _refusal(self, error: sqlite3.Error) -> CannotSaveGallery:
        return CannotSaveGallery(str(self._index.parent), str(error))


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -32000")
    return connection


def _prepare_index(path: Path) -> None:
    """An index of this version; one of another version is thrown away. Raises `sqlite3.DatabaseError`."""
    connection = _opened(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == INDEX_VERSION:
            connection.execute("SELECT count(*) FROM folders").fetchone()
            return
    finally:
        connection.close()
    _remove(path)
    _create(path, INDEX, INDEX_VERSION)


def _prepare_marks(path: Path) -> None:
    """Marks that can be read; damaged ones are set aside and empty ones begun."""
    try:
        connection = _opened(path)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        broken = f"{path.name}.broken-{int(time.time())}"
        for part in _parts(path):
            part.replace(part.with_name(part.name.replace(path.name, broken)))
        log.error("Stars and collections were damaged (%s). They were kept as %s, and empty ones begun.", error, broken)
        version = 0
    if version == 0:
        _create(path, MARKS, MARKS_VERSION)


def _create(path: Path, statements: Sequence[str], version: int) -> None:
    connection = _opened(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    finally:
        connection.close()


def _parts(path: Path) -> list[Path]:
    return [part for suffix in ("", "-wal", "-shm") if (part := path.with_name(path.name + suffix)).exists()]


def _remove(path: Path) -> None:
    for part in _parts(path):
        part.unlink()
