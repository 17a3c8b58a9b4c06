"""Brings the index up to date with the outputs folder: what is new, what has moved, what is gone.

A folder is listed again only when its own time has changed, so a look at a hundred folders takes a millisecond. A file
is read once. One that has moved is known by its content and stays the picture it was.
"""

import datetime
import hashlib
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from webui.errors import UserError
from webui.gallery.database import Database
from webui.metadata import read
from webui.pictures import picture_size

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif")
"""What a browser shows."""
BATCH = 50
"""Files read between two writes."""
EDGE = 64 * 2**10
"""Bytes at either end of a file that make its content id."""
RECENT_NS = 2 * 10**9
"""A folder that has changed so lately may change again without its time telling."""
LARGEST_SEED = 2**63 - 1
NO_SEED = -1
SECOND_US = 10**6

Item = TypeVar("Item")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class File:
    """A file as a folder lists it; `folder` relative to the outputs folder, with forward slashes, "" for itself."""

    folder: str
    name: str
    bytes: int
    mtime_ns: int

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name

    @property
    def key(self) -> tuple[str, str]:
        return self.folder, self.name


@dataclass(frozen=True, kw_only=True)
class Described:
    """What the index says about a file."""

    content: str
    width: int
    height: int
    tool: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    checkpoint: str = ""
    sampler: str = ""
    seed: int = NO_SEED


@dataclass
class Survey:
    """What has changed since the last look."""

    new: list[File] = field(default_factory=list)
    gone: set[tuple[str, str]] = field(default_factory=set)
    folders: dict[str, int] = field(default_factory=dict)
    """Folders that were listed -> their time, 0 for one to be listed again next time."""
    gone_folders: list[str] = field(default_factory=list)


@dataclass
class Changes:
    added: int = 0
    removed: list[str] = field(default_factory=list)
    """Contents that were in the index and are gone."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


class Indexer:
    """Reads the folder into the index. One thread at a time calls `refresh`; `add` may be called beside it."""

    def __init__(self, database: Database, outputs_dir: Path, known_id: Callable[[str], str | None]) -> None:
        self._database = database
        self._root = outputs_dir
        self._known_id = known_id
        """Path -> the id by which the picture is known elsewhere."""

    def refresh(self, progress: Progress = lambda done, total: None, *, thorough: bool = False) -> Changes:
        """Look for changes and take them over. `thorough` looks into folders whose time has not changed, too."""
        survey, changes = self._survey(thorough), Changes()
        files = sorted(survey.new, key=lambda file: -file.mtime_ns)  # what people look at first
        done = 0
        for batch in _batches(files, BATCH):
            changes.added += self.add(batch)
            done += len(batch)
            progress(done, len(files))
        changes.removed = self._remove(survey.gone)
        with self._database.write() as sql:
            sql.executemany("INSERT OR REPLACE INTO folders VALUES (?, ?)", survey.folders.items())
            sql.executemany("DELETE FROM folders WHERE path = ?", [(folder,) for folder in survey.gone_folders])
        return changes

    def add(self, files: Iterable[File], *, as_id: str | None = None) -> int:
        """Take files into the index, in place of what it says about them; the number of those that are pictures.

        `as_id`: the id that a single file gets, because it had it before.
        """
        described = [(file, self._describe(file)) for file in files]
        with self._database.write() as sql:
            for file, facts in described:
                if facts is None:
                    sql.execute(
                        "INSERT OR REPLACE INTO unusable VALUES (?, ?, ?, ?)", (*file.key, file.bytes, file.mtime_ns)
                    )
                elif not self._moved(sql, file, facts):
                    self._insert(sql, file, facts, as_id)
        return sum(facts is not None for _, facts in described)

    def file_at(self, folder: str, name: str) -> File:
        """Raises OSError."""
        stat = (self._root / folder / name).stat()
        return File(folder, name, stat.st_size, stat.st_mtime_ns)

    # Looking.

    def _survey(self, thorough: bool) -> Survey:
        known = {row["path"]: row["mtime_ns"] for row in self._database.all("SELECT path, mtime_ns FROM folders")}
        survey, waiting, seen = Survey(), ["", *known], set[str]()
        if not self._root.is_dir():  # a disk that is not there today is no reason to forget
            return survey
        while waiting:
            folder = waiting.pop()
            if folder in seen:
                continue
            seen.add(folder)
            try:
                mtime_ns = (self._root / folder).stat().st_mtime_ns
                if thorough or known.get(folder) != mtime_ns:
                    is_settled = time.time_ns() - mtime_ns > RECENT_NS
                    waiting += self._list(folder, survey)
                    survey.folders[folder] = mtime_ns if is_settled else 0
            except OSError as error:
                log.debug("%s cannot be listed: %s", folder, error)
                survey.gone_folders.append(folder)
                survey.gone |= self._indexed(folder).keys()
        return survey

    def _list(self, folder: str, survey: Survey) -> list[str]:
        """Compare one folder with the index; returns the folders in it. Links are not followed."""
        indexed, inside = self._indexed(folder), []
        with os.scandir(self._root / folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not is_text(entry.name):
                    log.debug("%r in %s is left out of the gallery: its name is not Unicode", entry.name, folder)
                    continue
                if entry.is_dir(follow_symlinks=False):
                    inside.append(f"{folder}/{entry.name}" if folder else entry.name)
                elif entry.name.lower().endswith(SUFFIXES) and entry.is_file(follow_symlinks=False):
                    stat = entry.stat(follow_symlinks=False)
                    if indexed.pop((folder, entry.name), None) != (stat.st_size, stat.st_mtime_ns):
                        survey.new.append(File(folder, entry.name, stat.st_size, stat.st_mtime_ns))
        survey.gone |= indexed.keys()
        return inside

    def _indexed(self, folder: str) -> dict[tuple[str, str], tuple[int, int]]:
        """What the index knows of one folder, files that are no pictures too."""
        columns = "folder, name, bytes, mtime_ns"
        rows = self._database.all(
            f"SELECT {columns} FROM pictures WHERE folder = ?1 "
            f"UNION ALL SELECT {columns} FROM unusable WHERE folder = ?1",
            (folder,),
        )
        return {(row["folder"], row["name"]): (row["bytes"], row["mtime_ns"]) for row in rows}

    def _describe(self, file: File) -> Described | None:
        """What the file says; None for what is no picture."""
        path = self._root / file.path
        try:
            width, height = picture_size(path)
            return describe(path, content_id(path), width, height)
        except (OSError, UserError) as error:
            log.debug("%s is left out of the gallery: %s", file.path, error)
            return None

    # Writing.

    def _moved(self, sql: sqlite3.Connection, file: File, facts: Described) -> bool:
        """Whether it is a picture of the index at a new place."""
        for row in sql.execute(
            "SELECT number, folder, name FROM pictures WHERE content = ?", (facts.content,)
        ).fetchall():
            place = (row["folder"], row["name"])
            if place != file.key and not (self._root / row["folder"] / row["name"]).exists():
                self._drop(sql, file)
                sql.execute(
                    "UPDATE pictures SET folder = ?, name = ?, mtime_ns = ? WHERE number = ?",
                    (*file.key, file.mtime_ns, row["number"]),
                )
                return True
        return False

    def _insert(self, sql: sqlite3.Connection, file: File, facts: Described, as_id: str | None) -> None:
        old = self._drop(sql, file)
        number = _free_number(sql, file.mtime_ns // 1000)
        starred = sql.execute("SELECT count(*) FROM marks.stars WHERE content = ?", (facts.content,)).fetchone()[0]
        sql.execute(
            "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(number, as_id or old or self._id_of(sql, file), *file.key, facts.content, file.bytes, file.mtime_ns),
                *(facts.width, facts.height, facts.width * facts.height, facts.tool, facts.prompt),
                *(facts.checkpoint, facts.sampler, facts.seed, starred),
            ),
        )
        seed = "" if facts.seed == NO_SEED else str(facts.seed)
        sql.execute(
            "INSERT INTO texts (rowid, prompt, negative_prompt, checkpoint, sampler, seed, date, tool) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(number, facts.prompt, facts.negative_prompt, facts.checkpoint, facts.sampler),
                *(seed, _date(file.mtime_ns), facts.tool),
            ),
        )

    def _id_of(self, sql: sqlite3.Connection, file: File) -> str:
        """That of the job's picture, or a new one."""
        known = self._known_id(file.path)
        is_taken = known and sql.execute("SELECT 1 FROM pictures WHERE id = ?", (known,)).fetchone()
        return secrets.token_hex(10) if is_taken or not known else known

    def _drop(self, sql: sqlite3.Connection, file: File) -> str | None:
        """Forget what stands at a place; the id it had."""
        sql.execute("DELETE FROM unusable WHERE folder = ? AND name = ?", file.key)
        row = sql.execute(
            "DELETE FROM pictures WHERE folder = ? AND name = ? RETURNING number, id", file.key
        ).fetchone()
        if row is None:
            return None
        sql.execute("DELETE FROM texts WHERE rowid = ?", (row["number"],))
        return str(row["id"])

    def _remove(self, gone: Iterable[tuple[str, str]]) -> list[str]:
        """Forget files that are not there any more; one that has come back meanwhile stays."""
        contents = []
        for batch in _batches(gone, 500):
            with self._database.write() as sql:
                for folder, name in batch:
                    if (self._root / folder / name).exists():
                        continue
                    row = sql.execute(
                        "SELECT content FROM pictures WHERE folder = ? AND name = ?", (folder, name)
                    ).fetchone()
                    self._drop(sql, File(folder, name, 0, 0))
                    contents += [row["content"]] if row else []
        return contents


def describe(path: Path, content: str, width: int, height: int) -> Described:
    """What the picture says about itself. Raises OSError; a format without metadata says nothing."""
    try:
        said = read(path, hidden=False)
    except UserError:
        return Described(content=content, width=width, height=height)
    seed = said.values.get("seed", NO_SEED)
    return Described(
        content=content,
        width=width,
        height=height,
        tool=said.tool,
        prompt=str(said.values.get("prompt", "")),
        negative_prompt=str(said.values.get("negative_prompt", "")),
        checkpoint=str(said.values.get("checkpoint") or said.fields.get("Model", "")),
        sampler=str(said.values.get("sampler") or said.fields.get("Sampler", "")),
        seed=seed if isinstance(seed, int) and 0 <= seed <= LARGEST_SEED else NO_SEED,
    )


def is_text(name: str) -> bool:
    """Whether a name can be written down. A file system takes any bytes; SQLite and JSON take Unicode only."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def content_id(path: Path) -> str:
    """BLAKE2 of the file's length and of 64 KiB at either end: the same for a copy, another for any real picture.

    Not of the whole file: a hundred thousand of them would have to be read from end to end. Raises OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=16)
        digest.update(file.read(EDGE))
        if size > EDGE:
            file.seek(max(EDGE, size - EDGE))
            digest.update(file.read(EDGE))
    return digest.hexdigest()


def _free_number(sql: sqlite3.Connection, wanted: int) -> int:
    """The time in microseconds, or a free number soon behind it: a hundred thousand files may have the same second."""
    wanted = min(max(wanted, -(2**62)), 2**62)
    if sql.execute("SELECT 1 FROM pictures WHERE number = ?", (wanted,)).fetchone() is None:
        return wanted
    within_second = "SELECT max(number) FROM pictures WHERE number >= ? AND number < ?"
    last = sql.execute(within_second, (wanted, wanted + SECOND_US)).fetchone()[0]
    first_gap = (
        "SELECT number + 1 FROM pictures AS here WHERE number >= ? AND NOT EXISTS "
        "(SELECT 1 FROM pictures WHERE number = here.number + 1) ORDER BY number LIMIT 1"
    )
    return int(sql.execute(first_gap, (last,)).fetchone()[0])


def _date(mtime_ns: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(mtime_ns / 1e9).date().isoformat()
    except (ValueError, OSError, OverflowError):  # a file system may say anything
        return ""


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
