"""What a dataset is on the disk: a folder of pictures with their words, boxes, classes and control pictures.

Reads and checks; changes nothing, knows no torch and nothing of training. The layout:

    cat.png  cat.txt  cat.control.png     a picture, its caption (.txt or .caption), its control picture
    dogs/rex.jpg                          the first folder below is the class of what is in it
    metadata.jsonl                        one JSON object per line: file_name, and any of text, label,
                                          boxes = [{"label": "a cat", "box": [left, top, right, bottom]}], in 0..1
"""

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from webui.errors import MissingTrainingData, UnusablePicture
from webui.pictures import SUFFIXES, Size, check_picture, picture_size
from webui.sentences import Sentence

METADATA = "metadata.jsonl"
CAPTIONS = (".txt", ".caption")
"""Endings of caption files; the first that is there counts."""
CONTROL = ".control.png"
LONGEST_CAPTION = 20_000
"""Bytes. No text encoder reads so much; a longer file is no caption."""
LONGEST_METADATA = 2**28
NOT_OURS = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""What operating systems leave in folders, besides hidden files."""
THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Box:
    """Where something is in a picture: shares of width and height from the left and the top, 0 to 1."""

    label: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, kw_only=True)
class Example:
    """A picture and everything that is known about it."""

    path: Path
    size: Size
    """(width, height) of the upright picture in pixels."""
    caption: str = ""
    boxes: tuple[Box, ...] = ()
    label: str | None = None
    """Name of its class."""
    control: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Everything usable of a folder, in the order of the names, and what was wrong with the rest."""

    examples: tuple[Example, ...]
    problems: tuple[Sentence, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that occur, sorted."""
        return tuple(sorted({example.label for example in self.examples if example.label is not None}))


def read_dataset(folder: Path, *, thorough: bool = True) -> Dataset:
    """Everything in `folder` and its folders that can be learnt from; what cannot becomes a sentence.

    Every picture is decoded once to find damaged ones; not `thorough`, only its beginning is looked at.
    Raises `MissingTrainingData` when nothing is left.
    """
    files = _Files.of(folder)
    problems = files.problems
    described = _read_metadata(folder, files.pictures, problems)
    examples = []
    for name, size in _sizes(files.pictures, thorough, problems):
        path = files.pictures[name]
        known = described.get(name, _Description())
        caption = known.text if known.text is not None else _read_caption(files, name, problems)
        control = _usable_control(files.controls.get(_stem(name)), thorough, problems)
        label = known.label or (PurePosixPath(name).parts[0] if "/" in name else None)
        example = Example(path=path, size=size, caption=caption, boxes=known.boxes, label=label, control=control)
        examples.append(example)
    _tell_left_over(files, problems)
    if not examples:
        raise _nothing(folder, problems)
    if without := sum(not example.caption for example in examples):
        told = Sentence("{without} of {count} pictures have no caption.", without=without, count=len(examples))
        problems.append(told)
    return Dataset(examples=tuple(examples), problems=tuple(problems))


def _nothing(folder: Path, problems: list[Sentence]) -> MissingTrainingData:
    if not problems:
        return MissingTrainingData(
            "There is no picture in {folder}. Put pictures there, ending in {endings}.",
            folder=str(folder),
            endings=", ".join(SUFFIXES),
        )
    return MissingTrainingData(
        "No picture in {folder} can be used. The first reason of {count}: {reason}",
        folder=str(folder),
        count=len(problems),
        reason=problems[0],
    )


@dataclass(frozen=True)
class _Files:
    """The files of a dataset by their names relative to its folder, "/" between folders; captions by stem."""

    pictures: dict[str, Path] = field(default_factory=dict)
    captions: dict[str, Path] = field(default_factory=dict)
    controls: dict[str, Path] = field(default_factory=dict)
    problems: list[Sentence] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> "_Files":
        files = cls()
        for path in _walk(folder):
            name = path.relative_to(folder).as_posix()
            shown = name.encode("utf-8", "replace").decode()
            if shown != name:
                files.problems.append(Sentence("{name} is left out: its name is no UTF-8 text.", name=shown))
            else:
                files._sort_in(path, name)
        return files

    def _sort_in(self, path: Path, name: str) -> None:
        ending = path.suffix.lower()
        if name == METADATA:
            return
        if not path.is_file():
            self.problems.append(Sentence("{name} is left out: it is no ordinary file.", name=name))
        elif name.lower().endswith(CONTROL):
            self.controls[name[: -len(CONTROL)]] = path
        elif ending in SUFFIXES:
            self.pictures[name] = path
        elif ending in CAPTIONS:
            stem = _stem(name)
            if stem not in self.captions or ending == CAPTIONS[0]:
                self.captions[stem] = path
        else:
            told = Sentence("{name} is left out: pictures end in {endings}.", name=name, endings=", ".join(SUFFIXES))
            self.problems.append(told)


def _walk(folder: Path) -> Iterator[Path]:
    """Files below `folder` in the order of their names; hidden ones and links to other folders are passed by."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield from (Path(parent, name) for name in sorted(names) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in NOT_OURS


def _stem(name: str) -> str:
    """ "dogs/rex" for "dogs/rex.jpg"."""
    return PurePosixPath(name).with_suffix("").as_posix()


def _sizes(pictures: Mapping[str, Path], thorough: bool, problems: list[Sentence]) -> Iterator[tuple[str, Size]]:
    look = check_picture if thorough else picture_size

    def attempt(path: Path) -> Size | Sentence:
        try:
            return look(path)
        except UnusablePicture as error:
            return error.sentence

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:  # Pillow decodes outside the interpreter lock
        for name, found in zip(pictures, pool.map(attempt, pictures.values()), strict=True):
            if isinstance(found, Sentence):
                problems.append(found)
            else:
                yield name, found


def _usable_control(path: Path | None, thorough: bool, problems: list[Sentence]) -> Path | None:
    if path is None:
        return None
    try:
        (check_picture if thorough else picture_size)(path)
    except UnusablePicture as error:
        problems.append(error.sentence)
        return None
    return path


def _read_caption(files: _Files, name: str, problems: list[Sentence]) -> str:
    path = files.captions.get(_stem(name))
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_CAPTION + 1)
        if len(content) > LONGEST_CAPTION:
            told = Sentence(
                "{name} is not used: it has more than {limit} bytes.", name=path.name, limit=LONGEST_CAPTION
            )
            problems.append(told)
            return ""
        return " ".join(content.decode("utf-8-sig").split())
    except UnicodeDecodeError:
        problems.append(Sentence("{name} is not used: it is no UTF-8 text. Save it as UTF-8.", name=path.name))
    except OSError as error:
        reason = error.strerror or str(error)
        problems.append(Sentence("{name} cannot be read: {reason}.", name=path.name, reason=reason))
    return ""


def _tell_left_over(files: _Files, problems: list[Sentence]) -> None:
    """Captions and control pictures that belong to nothing are most likely misspelt."""
    stems = {_stem(name) for name in files.pictures}
    for stem, path in [*files.captions.items(), *files.controls.items()]:
        if stem not in stems:
            problems.append(Sentence("{name} is not used: there is no picture of that name.", name=path.name))


@dataclass(frozen=True)
class _Description:
    """What a line of metadata.jsonl says about a picture; None where it says nothing."""

    text: str | None = None
    boxes: tuple[Box, ...] = ()
    label: str | None = None


def _read_metadata(folder: Path, pictures: Mapping[str, Path], problems: list[Sentence]) -> dict[str, _Description]:
    path = folder / METADATA
    described: dict[str, _Description] = {}
    if not path.is_file():
        return described
    if path.stat().st_size > LONGEST_METADATA:
        told = Sentence("{name} is not used: it has more than {limit} bytes.", name=METADATA, limit=LONGEST_METADATA)
        problems.append(told)
        return described
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        place = f"{METADATA}:{number}"
        try:
            name, description = _read_line(json.loads(line.decode("utf-8-sig")), place, problems)
        except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
            problems.append(Sentence("{place} is not used: it is no JSON object with a file_name.", place=place))
            continue
        if name not in pictures:
            told = Sentence("{place} is not used: there is no picture {name}.", place=place, name=name[:200])
            problems.append(told)
        elif name in described:
            problems.append(Sentence("{place} is not used: {name} has a line already.", place=place, name=name))
        else:
            described[name] = description
    return described


def _read_line(values: Any, place: str, problems: list[Sentence]) -> tuple[str, _Description]:
    """The picture's name and what is said about it. Raises ValueError when it is not even named."""
    if not isinstance(values, dict) or not isinstance(values.get("file_name"), str):
        raise ValueError
    text, label, boxes = values.get("text"), values.get("label"), values.get("boxes") or []
    if text is not None and (not isinstance(text, str) or len(text) > LONGEST_CAPTION):
        problems.append(Sentence("{place}: text is not used, it is no caption.", place=place))
        text = None
    kept = [_box(told) for told in (boxes if isinstance(boxes, list) else [boxes])]
    if wrong := sum(box is None for box in kept):
        told = Sentence(
            "{place}: {wrong} of {count} boxes are not used. A box is a label and left, top, right, bottom between 0 "
            "and 1, left before right and top before bottom.",
            place=place,
            wrong=wrong,
            count=len(kept),
        )
        problems.append(told)
    name = PurePosixPath(values["file_name"].replace("\\", "/")).as_posix()
    return name, _Description(
        text=None if text is None else " ".join(text.split()),
        boxes=tuple(box for box in kept if box is not None),
        label=str(label) if isinstance(label, str | int) else None,
    )


def _box(told: Any) -> Box | None:
    """None when it is not one: wrong shape, not numbers, outside the picture or inside out."""
    if not isinstance(told, dict) or not isinstance(told.get("label"), str):
        return None
    corners = told.get("box")
    if not isinstance(corners, list) or [type(each) in (int, float) for each in corners] != [True] * 4:
        return None
    left, top, right, bottom = corners
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        return None
    return Box(label=told["label"], left=float(left), top=float(top), right=float(right), bottom=float(bottom))
