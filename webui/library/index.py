"""The memory of the library: what was told of each file and its hash, in SQLite, by path and state of the file.

It can be thrown away at any time: a broken file is made anew, one that cannot be written is done without. Nothing here
looks at models.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TypeVar

from webui.library.passport import Told
from webui.sentences import Sentence

log = logging.getLogger(__name__)

T = TypeVar("T")
BUSY_SECONDS = 5.0
TABLES = (
    "CREATE TABLE IF NOT EXISTS told (shelf TEXT, path TEXT, stamp TEXT, told TEXT, PRIMARY KEY (shelf, path))",
    "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, stamp TEXT, sha256 TEXT)",
)

Known = Mapping[str, tuple[str, Told]]
"""Path of a model -> stamp of its files, what is told of it."""


class Index:
    """Implements `passport.Hashes`. Usable by several threads, and by several processes with the same file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rules = 0 if path is None else _rules()
        self._hashes: dict[str, tuple[str, str]] = {}
        self._lock = Lock()

    def load(self, shelf: str) -> Known:
        """Everything told of a shelf."""
        with self._lock:
            return self._safely(lambda sql: _load(sql, shelf)) or {}

    def store(self, shelf: str, told: Known, gone: Iterator[str]) -> None:
        """Add what is told of some models; forget those at the paths `gone`."""
        rows = [(shelf, path, stamp, _to_json(fields)) for path, (stamp, fields) in told.items()]
        paths = [(shelf, path) for path in gone]

        def write(sql: sqlite3.Connection) -> None:
            sql.executemany("DELETE FROM told WHERE shelf = ? AND path = ?", paths)
            sql.executemany("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?)", rows)

        with self._lock:
            self._safely(write)

    def read_hashes(self) -> None:
        """Learn the hashes that other processes have made in the meantime."""
        with self._lock:
            self._hashes |= self._safely(_load_hashes) or {}

    def find(self, path: Path, stamp: str, *, on_disk: bool = False) -> str:
        """The SHA-256, or "" when it was not made of this state of the file yet."""
        if on_disk:
            self.read_hashes()
        known, sha256 = self._hashes.get(str(path), ("", ""))
        return sha256 if known == stamp else ""

    def keep(self, path: Path, stamp: str, sha256: str) -> None:
        with self._lock:
            self._hashes[str(path)] = (stamp, sha256)
            self._safely(
                lambda sql: sql.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", (str(path), stamp, sha256))
            )

    def _safely(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do something with the file; without one, or when it does not even work with a new one, None."""
        if self._path is None:
            return None
        for is_new in (False, True):
            try:
                with _opened(self._path, self._rules) as sql, sql:
                    return work(sql)
            except (sqlite3.DatabaseError, OSError, ValueError, TypeError, LookupError) as error:
                if is_new or _may_pass(error):
                    log.warning("the index of models %s is not used: %s", self._path, error)
                    return None
                log.warning("the index of models %s is broken (%s) and made anew", self._path, error)
                _remove(self._path)
        return None


@contextmanager
def _opened(path: Path, rules: int) -> Iterator[sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as sql:
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = NORMAL")
        if sql.execute("PRAGMA user_version").fetchone()[0] != rules:
            with sql:
                sql.execute("DROP TABLE IF EXISTS told")
                for table in TABLES:
                    sql.execute(table)
                sql.execute(f"PRAGMA user_version = {rules}")
        yield sql


def _may_pass(error: Exception) -> bool:
    """Whether the file itself may be sound: it is busy, read-only, out of reach, or the disk is full."""
    return isinstance(error, OSError) or (
        isinstance(error, sqlite3.OperationalError) and not str(error).startswith("no such")
    )


def _rules() -> int:
    """A number from the sources of the modules that describe: with other rules, every model is looked at again."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).digest()
    return int.from_bytes(digest[:3], "big")


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + ending).unlink()


def _load_hashes(sql: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    return {path: (stamp, sha256) for path, stamp, sha256 in sql.execute("SELECT path, stamp, sha256 FROM hashes")}


def _load(sql: sqlite3.Connection, shelf: str) -> dict[str, tuple[str, Told]]:
    rows = sql.execute("SELECT path, stamp, told FROM told WHERE shelf = ?", (shelf,)).fetchall()
    told = json.loads(f"[{','.join(told for _, _, told in rows)}]")  # three times as fast as one by one
    return {path: (stamp, _said(fields)) for (path, stamp, _), fields in zip(rows, told, strict=True)}


def _to_json(told: Told) -> str:
    problem = told["problem"]
    return json.dumps({**told, "problem": None if problem is None else problem.to_json()})


def _said(told: Told) -> Told:
    """Fields from JSON, their problem a sentence again."""
    if told["problem"] is not None:
        told["problem"] = Sentence.from_json(told["problem"])
    return told
