"""The job database as connection and transactions: one connection behind one lock. The stores know what is in it.

SQLite has one writer anyway, and reads take microseconds. Opening and upgrading the file is left to `schema.py`.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webui.errors import CannotStore
from webui.jobs.schema import open_database


class Database:
    """Safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_database(path)
        self._lock = threading.RLock()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk at the end; inside another one it is part of it. Raises `CannotStore`."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                self._roll_back()
                raise CannotStore(str(self._path), str(error)) from error
            except BaseException:
                self._roll_back()
                raise

    def one(self, query: str, parameters: tuple[object, ...] = ()) -> sqlite3.Row | None:
        """The first row. Raises `CannotStore`."""
        rows = self.all(query, parameters)
        return rows[0] if rows else None

    def all(self, query: str, parameters: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """Every row. Raises `CannotStore`."""
        with self._lock:
            try:
                return self._connection.execute(query, parameters).fetchall()
            except sqlite3.OperationalError as error:
                raise CannotStore(str(self._path), str(error)) from error

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # a full disk has ended it already
            self._connection.execute("ROLLBACK")
