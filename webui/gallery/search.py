"""What somebody looks for, as SQL over the index: words, filters, order, and the place where a page begins.

The language: all words must occur, each from its beginning (`cat` finds "cats"); "in quotes" as a phrase; `-word` must
not occur; `seed:7`, `model:`, `sampler:`, `negative:`, `prompt:`, `date:2026-11`, `tool:` look in one place only.
Time is that of SQLite's full-text index; nothing here reads files.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from webui.errors import InvalidRequest, UnknownName

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in ("prompt", "checkpoint", "sampler", "seed", "date", "tool")},
        "negative": "negative_prompt",
        "negative_prompt": "negative_prompt",
        "model": "checkpoint",
    }
)
"""Word before a colon -> column of the full-text table."""
WHOLE = ("seed",)
"""Columns of which a beginning says nothing."""
TERM = re.compile(r'(-?)(?:(\w+):)?(?:"([^"]*)"?|([^\s"]+))')


@dataclass(frozen=True)
class Sort:
    column: str
    descending: bool


SORTS: Mapping[str, Sort] = MappingProxyType(
    {
        "newest": Sort("number", True),
        "oldest": Sort("number", False),
        "largest": Sort("pixels", True),
        "seed": Sort("seed", False),
    }
)


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is looked for; empty means everything. Raises `UnknownName` for an unknown sort."""

    text: str = ""
    starred: bool = False
    collection: str = ""
    checkpoint: str = ""
    sampler: str = ""
    tool: str = ""
    sort: str = "newest"

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise UnknownName("sort", self.sort, SORTS)


@dataclass
class Sql:
    """A SELECT over `pictures` in the making."""

    tables: str = "pictures"
    conditions: list[str] = field(default_factory=list)
    values: list[str | int] = field(default_factory=list)

    def add(self, condition: str, *values: str | int) -> None:
        self.conditions.append(condition)
        self.values.extend(values)

    @property
    def where(self) -> str:
        return f"WHERE {' AND '.join(self.conditions)}" if self.conditions else ""


def to_sql(query: Query) -> Sql:
    """Tables and conditions of everything that the query finds."""
    sql = Sql()
    wanted, unwanted = match_expressions(query.text)
    if wanted:
        sql.tables = "texts CROSS JOIN pictures ON pictures.number = texts.rowid"
        sql.add("texts MATCH ?", f"({wanted}) NOT ({unwanted})" if unwanted else wanted)
    elif unwanted:
        sql.add("number NOT IN (SELECT rowid FROM texts WHERE texts MATCH ?)", unwanted)
    for column in ("checkpoint", "sampler", "tool"):
        if value := getattr(query, column):
            sql.add(f"pictures.{column} = ?", value)
    if query.starred:
        sql.add("starred = 1")
    if query.collection:
        sql.add("content IN (SELECT content FROM marks.members WHERE collection = ?)", query.collection)
    return sql


def order(query: Query, sql: Sql) -> str:
    """ORDER BY of the query; by the full-text table's own order where that is the same, which needs no sorting."""
    sort = SORTS[query.sort]
    direction = "DESC" if sort.descending else "ASC"
    number = "texts.rowid" if "texts" in sql.tables else "number"
    if sort.column == "number":
        return f"ORDER BY {number} {direction}"
    return f"ORDER BY pictures.{sort.column} {direction}, number {direction}"


def add_cursor(query: Query, sql: Sql, cursor: str) -> None:
    """Only what comes behind the cursor. Raises `InvalidRequest` when it is not one of ours."""
    key, number = _decoded(cursor)
    sort = SORTS[query.sort]
    sign = "<" if sort.descending else ">"
    if sort.column == "number":
        sql.add(f"{'texts.rowid' if 'texts' in sql.tables else 'number'} {sign} ?", number)
    else:
        sql.add(f"(pictures.{sort.column}, number) {sign} (?, ?)", key, number)


def cursor_behind(query: Query, row: Mapping[str, int]) -> str:
    """Opaque: the place behind a picture in the order of the query."""
    text = json.dumps([row[SORTS[query.sort].column], row["number"]])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[int, int]:
    try:
        key, number = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError):
        key = number = None
    if type(key) is not int or type(number) is not int or max(abs(key), abs(number)) >= 2**63:
        raise InvalidRequest("This is no place in the gallery. Leave the cursor out to begin at the first page.")
    return key, number


def match_expressions(text: str) -> tuple[str, str]:
    """What must occur and what must not, as FTS5 expressions; "" for nothing. No input is a syntax error."""
    wanted: list[str] = []
    unwanted: list[str] = []
    for minus, name, phrase, word in TERM.findall(text.replace("\0", " ")):
        column = FIELDS.get(name.casefold(), "")
        words = phrase or word if column or not name else f"{name} {phrase or word}"
        if not any(character.isalnum() for character in words):
            continue  # punctuation is not in the index
        quoted = '"' + words.replace('"', '""') + '"'
        term = quoted if column in WHOLE or phrase else f"{quoted} *"
        (unwanted if minus else wanted).append(f"{column} : {term}" if column else term)
    return " AND ".join(wanted), " OR ".join(unwanted)
