"""Archives from outside, unpacked safely: no way out of the folder, no links, no bombs.

Knows nothing of what is in them. An archive that tries something is refused as a whole.
"""

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from webui.errors import InvalidRequest
from webui.sentences import Sentence

ENDING = ".zip"
MOST_FILES = 50_000
MOST_BYTES = 8 * 2**30
MOST_BYTES_OF_A_FILE = 256 * 2**20
MOST_RATIO = 200
"""Pictures hardly shrink and captions are short; what shrinks more than this is made to fill a disk."""
FREE_RATIO_BYTES = 2**20
"""Below this size any ratio is fine."""
DEEPEST = 5
ENCRYPTED = 0x1
"""Bit of a file's flags in the archive's index."""
BLOCK = 2**20


def unpack(archive: Path, folder: Path, *, most_bytes: int | None = None) -> list[Sentence]:
    """Unpack a .zip into `folder`, which is made; a single folder around everything is left out.

    `most_bytes`: how much it may become, where that is less than `MOST_BYTES`.

    Returns what was wrong with single files. Raises `InvalidRequest` for what is no .zip or a hostile one, `OSError`
    when the disk does not take it.
    """
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            return _unpack(opened, archive.name, folder, MOST_BYTES if most_bytes is None else most_bytes)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise InvalidRequest("{name} cannot be unpacked: it is damaged or no .zip file.", name=archive.name) from error


def _unpack(opened: zipfile.ZipFile, name: str, folder: Path, left: int) -> list[Sentence]:
    entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise InvalidRequest("{name} holds more than {most} files.", name=name, most=f"{MOST_FILES:,}")
    paths = [_safe_path(entry, name) for entry in entries]
    roots = {path.parts[0] for path in paths}
    around = 1 if len(roots) == 1 and all(len(path.parts) > 1 for path in paths) else 0
    problems: list[Sentence] = []
    for entry, path in zip(entries, paths, strict=True):
        inside = PurePosixPath(*path.parts[around:])
        if _is_left_behind(inside):
            continue
        if entry.flag_bits & ENCRYPTED:
            problems.append(Sentence("{name} is left out: it is encrypted.", name=inside.name))
        elif len(inside.parts) > DEEPEST:
            problems.append(Sentence("{name} is left out: it lies too many folders deep.", name=inside.name))
        else:
            try:
                left -= _write(opened, entry, folder / inside, left, name)
            except (FileExistsError, NotADirectoryError):
                problems.append(Sentence("{name} is left out: its name occurs twice.", name=inside.name))
    return problems


def _safe_path(entry: zipfile.ZipInfo, name: str) -> PurePosixPath:
    path = PurePosixPath(entry.filename)
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    is_elsewhere = path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename
    if is_link or is_elsewhere or not path.parts:
        raise InvalidRequest(
            "{name} is refused as a whole: its file '{file}' is a link or lies outside. Make a plain .zip of a folder.",
            name=name,
            file=entry.filename[:120],
        )
    return path


def _is_left_behind(path: PurePosixPath) -> bool:
    """What operating systems put into archives by themselves."""
    return any(part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini") for part in path.parts)


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, left: int, name: str) -> int:
    """The number of bytes, counted and not believed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    most = min(left, MOST_BYTES_OF_A_FILE, max(FREE_RATIO_BYTES, entry.compress_size * MOST_RATIO))
    written = 0
    with opened.open(entry) as source, target.open("xb") as file:
        while block := source.read(BLOCK):
            written += len(block)
            if written > most:
                raise InvalidRequest(
                    "{name} is refused as a whole: it unpacks to more than it may, at '{file}'.",
                    name=name,
                    file=entry.filename[:120],
                )
            file.write(block)
    return written
