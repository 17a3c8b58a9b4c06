"""Stars and collections: what people said about pictures, kept by the pictures' contents. Knows no files."""

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from webui.errors import Conflict, InvalidRequest, NotFound
from webui.gallery.database import Database

LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True)
class Collection:
    id: str
    name: str
    pictures: int


class Marks:
    """Safe to use from any thread; `ids` that are not in the gallery (any more) are passed over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def star(self, ids: Sequence[str], starred: bool) -> None:
        with self._database.write() as sql:
            for content in _contents(sql, ids):
                sql.execute("UPDATE pictures SET starred = ? WHERE content = ?", (starred, content))
                if starred:
                    sql.execute("INSERT OR IGNORE INTO marks.stars VALUES (?)", (content,))
                else:
                    sql.execute("DELETE FROM marks.stars WHERE content = ?", (content,))

    def collections(self) -> list[Collection]:
        """All of them by name, each with the number of its pictures that are there."""
        rows = self._database.all(
            """SELECT id, name, (
                SELECT count(*) FROM marks.members JOIN pictures USING (content) WHERE collection = collections.id
            ) AS pictures FROM marks.collections ORDER BY name COLLATE NOCASE"""
        )
        return [Collection(**row) for row in rows]

    def collections_of(self, content: str) -> list[str]:
        rows = self._database.all("SELECT collection FROM marks.members WHERE content = ?", (content,))
        return [row["collection"] for row in rows]

    def create(self, name: str) -> Collection:
        """Raises `InvalidRequest`, or `Conflict` when there is one of that name."""
        collection = Collection(id=secrets.token_hex(6), name=_checked(name), pictures=0)
        with self._database.write() as sql:
            self._refuse_twice(sql, collection.name, collection.id)
            sql.execute("INSERT INTO marks.collections VALUES (?, ?)", (collection.id, collection.name))
        return collection

    def rename(self, collection_id: str, name: str) -> None:
        """Raises `NotFound`, `InvalidRequest` or `Conflict`."""
        with self._database.write() as sql:
            self._check(sql, collection_id)
            self._refuse_twice(sql, _checked(name), collection_id)
            sql.execute("UPDATE marks.collections SET name = ? WHERE id = ?", (_checked(name), collection_id))

    def delete(self, collection_id: str) -> None:
        """The pictures stay. Raises `NotFound`."""
        with self._database.write() as sql:
            self._check(sql, collection_id)
            sql.execute("DELETE FROM marks.members WHERE collection = ?", (collection_id,))
            sql.execute("DELETE FROM marks.collections WHERE id = ?", (collection_id,))

    def collect(self, collection_id: str, ids: Sequence[str], belongs: bool) -> None:
        """Put pictures into a collection, or take them out. Raises `NotFound`."""
        with self._database.write() as sql:
            self._check(sql, collection_id)
            for content in _contents(sql, ids):
                if belongs:
                    sql.execute("INSERT OR IGNORE INTO marks.members VALUES (?, ?)", (collection_id, content))
                else:
                    sql.execute(
                        "DELETE FROM marks.members WHERE (collection, content) = (?, ?)", (collection_id, content)
                    )

    def _check(self, sql: sqlite3.Connection, collection_id: str) -> None:
        if sql.execute("SELECT 1 FROM marks.collections WHERE id = ?", (collection_id,)).fetchone() is None:
            raise NotFound("There is no collection '{id}' any more.", id=collection_id[:80])

    def _refuse_twice(self, sql: sqlite3.Connection, name: str, collection_id: str) -> None:
        query = "SELECT 1 FROM marks.collections WHERE name = ? AND id <> ?"
        if sql.execute(query, (name, collection_id)).fetchone() is not None:
            raise Conflict("There is a collection called '{name}' already.", name=name)


def _contents(sql: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
    rows = (sql.execute("SELECT content FROM pictures WHERE id = ?", (picture_id,)).fetchone() for picture_id in ids)
    return [row["content"] for row in rows if row is not None]


def _checked(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise InvalidRequest("The name of a collection has 1 to {most} characters.", most=LONGEST_NAME)
    return name
