"""The job database as a file: opening, checking, setting aside when damaged, bringing up to date.

What is in the tables is the business of `store.py`.
"""

import logging
import sqlite3
import time
from pathlib import Path

from webui.errors import CannotStart

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 5000

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE jobs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            request TEXT NOT NULL,
            state TEXT NOT NULL,
            position INTEGER NOT NULL,
            created REAL NOT NULL,
            started REAL,
            finished REAL,
            attempts INTEGER NOT NULL DEFAULT 0,
            crashes INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            text TEXT,
            warnings TEXT NOT NULL DEFAULT '[]',
            timings TEXT,
            key TEXT UNIQUE
        )""",
        "CREATE INDEX jobs_by_state ON jobs (state, position)",
        "CREATE INDEX jobs_by_position ON jobs (position)",
        # The engine's states are large: apart from the jobs, so that listing jobs does not read them.
        """CREATE TABLE states (
            job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
            state BLOB NOT NULL
        )""",
        """CREATE TABLE pictures (
            id TEXT PRIMARY KEY,
            job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            path TEXT NOT NULL,
            seed INTEGER NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            parameters TEXT NOT NULL,
            created REAL NOT NULL,
            UNIQUE (job_id, number)
        )""",
        "CREATE INDEX pictures_by_path ON pictures (path)",
    ),
    (  # what is said to people became a template with its values; finished texts become templates without any
        """UPDATE jobs SET text = json_object('text', text, 'template', text, 'values', json_object())
            WHERE text IS NOT NULL""",
        """UPDATE jobs SET warnings = (
            SELECT json_group_array(json_object('text', value, 'template', value, 'values', json_object()))
            FROM json_each(warnings)
        )""",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN training INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN result TEXT",
        "DROP INDEX jobs_by_state",
        "CREATE INDEX jobs_by_state ON jobs (state, training, position)",
    ),
    ("ALTER TABLE jobs ADD COLUMN told TEXT",),
    ("ALTER TABLE jobs ADD COLUMN receipt TEXT NOT NULL DEFAULT '[]'",),
    ("CREATE INDEX jobs_by_end ON jobs (state, finished)",),
    (  # many jobs from one request
        """CREATE TABLE runs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            script TEXT NOT NULL,
            title TEXT NOT NULL,
            kind TEXT NOT NULL,
            request TEXT NOT NULL,
            options TEXT NOT NULL,
            open_seed INTEGER NOT NULL,
            total INTEGER NOT NULL,
            columns INTEGER NOT NULL,
            state TEXT NOT NULL,
            created REAL NOT NULL,
            finished REAL,
            error TEXT,
            text TEXT,
            key TEXT UNIQUE
        )""",
        "CREATE INDEX runs_by_state ON runs (state)",
        """CREATE TABLE cells (
            run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            place INTEGER NOT NULL,
            label TEXT NOT NULL,
            kind TEXT NOT NULL,
            request TEXT NOT NULL,
            job_id TEXT REFERENCES jobs (id) ON DELETE SET NULL,
            PRIMARY KEY (run_id, number)
        )""",
        "CREATE INDEX cells_by_job ON cells (job_id)",
        # What is put together of the cells' pictures belongs to no job.
        """CREATE TABLE run_pictures (
            id TEXT PRIMARY KEY,
            run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            path TEXT NOT NULL,
            seed INTEGER NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            parameters TEXT NOT NULL,
            created REAL NOT NULL,
            UNIQUE (run_id, number)
        )""",
        "CREATE INDEX run_pictures_by_path ON run_pictures (path)",
        """CREATE VIEW every_picture AS
            SELECT id, job_id, number, path, seed, width, height, parameters, created FROM pictures
            UNION ALL
            SELECT id, run_id, number, path, seed, width, height, parameters, created FROM run_pictures""",
    ),
    # How often a server has begun to put a run's pictures together and has not come to an end.
    ("ALTER TABLE runs ADD COLUMN composing INTEGER NOT NULL DEFAULT 0",),
)
"""Statements that bring version i of the schema to version i + 1; entries are added, never changed."""


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to a sound database of the present schema, made when there is none.

    A damaged file is set aside as `<name>.broken-<time>` and a fresh one begun. Raises `CannotStart` when the
    file cannot be opened at all or comes from a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _open(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            _set_aside(path, error)
            return _open(path)
    except (OSError, sqlite3.Error) as error:
        raise CannotStart(
            "The job database {path} cannot be opened: {reason}. Make its folder writable, close the program "
            "that holds it, or start with --data-dir on another folder.",
            path=str(path),
            reason=str(error),
        ) from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        # A job that was acknowledged survives a power cut; NORMAL would only survive a crash of this process.
        connection.execute("PRAGMA synchronous = FULL")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        _migrate(connection, path)
        # Not before: while a migration rebuilds a table, references to it do not hold.
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise CannotStart(
            "{path} was written by a newer Easel (its format is {version}, this version knows {known}). "
            "Start the newer version, or start this one with --data-dir on another folder.",
            path=str(path),
            version=version,
            known=len(MIGRATIONS),
        )
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _set_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    broken = f"{path.name}.broken-{int(time.time())}"
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(path.with_name(broken + suffix))
    log.error(
        "The job database was damaged (%s). It was kept as %s and an empty one was begun; pictures are untouched.",
        error,
        broken,
    )
