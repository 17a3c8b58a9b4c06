"""The beginning of a model file: a safetensors header or a JSON object, read within limits; no tensor is touched.

Whatever else lies there under that name (a web page, a Git-LFS pointer, an archive) is told in one sentence.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.errors import CheckpointError
from webui.sentences import Sentence, Value

MAX_HEADER = 32 * 2**20
"""No real safetensors header is larger; a bigger number is a damaged or hostile file."""
MAX_JSON = 4 * 2**20
"""Of a configuration, and of what other tools write beside a model."""
LENGTH = 8
"""Bytes of the number in front of the header, little-endian."""

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> its shape."""

IT = Sentence("it")
"""How a sentence calls the file that it is about, where only one can be meant."""


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself."""

    shapes: Shapes
    metadata: Mapping[str, str]
    entries: Mapping[str, Any]
    """As they stand in the file: dtype, shape and data_offsets of every tensor."""
    data_start: int
    """Where the tensors begin, in bytes."""


def read_header(path: Path, name: Value = IT) -> Header:
    """Read a safetensors header and compare it with the file's size. Raises `CheckpointError` or OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH)
        length = int.from_bytes(start, "little") if len(start) == LENGTH else 0
        if not 2 <= length <= min(MAX_HEADER, size - LENGTH):
            raise _no_header(name, start + file.read(504), size, length)
        header = _parse(file.read(length))
    if header is None:
        raise _damaged(name)
    metadata = header.pop("__metadata__", None)
    try:
        shapes = {key: tuple(map(int, entry["shape"])) for key, entry in header.items()}
        whole = LENGTH + length + max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise _damaged(name) from None
    if not shapes:
        raise CheckpointError("{name} holds no tensor at all. Download it again.", name=name)
    if size < whole:
        raise CheckpointError(
            "{name} is cut off or damaged: {size} of {whole} bytes are there. Download it again.",
            name=name, size=f"{size:,}", whole=f"{whole:,}",
        )  # fmt: skip
    if size > whole:
        raise _damaged(name)
    texts = metadata if isinstance(metadata, dict) else {}
    texts = {key: value for key, value in texts.items() if isinstance(value, str)}
    return Header(shapes, texts, header, LENGTH + length)


def check_safetensors(path: Path) -> None:
    """Raise `CheckpointError` unless header and size of a safetensors file fit together. Reads the header only."""
    read_header(path, f"{path.parent.name}/{path.name}")


def read_number(path: Path, header: Header, key: str) -> int | None:
    """The value of an integer tensor of one element, None when there is no such tensor."""
    entry = header.entries.get(key, {})
    size = {"I64": 8, "I32": 4}.get(entry.get("dtype"))
    if size is None or header.shapes[key] not in ((), (1,)):
        return None
    with path.open("rb") as file:
        file.seek(header.data_start + int(entry["data_offsets"][0]))
        return int.from_bytes(file.read(size), "little", signed=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint. Raises `CheckpointError` naming the file and what to do."""
    name = path.name if path.name == "model_index.json" else f"{path.parent.name}/{path.name}"
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JSON)
    except FileNotFoundError:
        raise CheckpointError("{name} is missing. Copy the folder again, completely.", name=name) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(
            "{name} cannot be read ({reason}). Check its permissions.", name=name, reason=reason
        ) from error
    value = _parse(content)
    if value is None:
        found = disguise(content[:512]) or Sentence("not a JSON object")
        raise CheckpointError("{name} is {found}. Copy the folder again.", name=name, found=found)
    return value


def read_neighbour(path: Path) -> dict[str, Any]:
    """A JSON object that another tool wrote beside a model; nothing when there is none or it is not one."""
    try:
        with path.open("rb") as file:
            return _parse(file.read(MAX_JSON)) or {}
    except OSError:
        return {}


def disguise(start: bytes) -> Sentence | None:
    """What a file is that begins like this, when that is no model."""
    if start.startswith(b"version https://git-lfs"):
        return Sentence("a Git-LFS pointer")
    if start.lstrip()[:1] == b"<" and is_text(start):
        return Sentence("an HTML page")
    return next((found for magic, found in MAGIC if start.startswith(magic)), None)


def is_text(start: bytes) -> bool:
    """Whether these bytes are what people and web servers write. The last letter may be cut in two."""
    text = start.decode("utf-8", errors="replace").rstrip("\ufffd")
    return bool(text) and all(letter.isprintable() or letter in "\r\n\t\ufeff" for letter in text)


MAGIC = (
    (b"GGUF", Sentence("a GGUF file")),
    (b"\x89PNG", Sentence("a picture")),
    (b"\xff\xd8\xff", Sentence("a picture")),
    (b"RIFF", Sentence("a picture")),
    (b"\x1f\x8b", Sentence("a packed archive")),
    (b"7z\xbc\xaf", Sentence("a packed archive")),
    (b"Rar!", Sentence("a packed archive")),
    (b"%PDF", Sentence("a PDF")),
)
"""First bytes -> what begins with them."""
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""First bytes of what torch.save writes: a zip archive, or a bare pickle."""


def _no_header(name: Value, start: bytes, size: int, length: int) -> CheckpointError:
    if not size:
        return CheckpointError("{name} is damaged: it is empty. Download it again.", name=name)
    if start.startswith(PICKLES):
        return CheckpointError(
            "{name} is a pickle of torch called .safetensors. If you trust where it comes from, call it .ckpt.",
            name=name,
        )
    if found := disguise(start) or (Sentence("a text") if is_text(start) else None):
        return CheckpointError("{name} is {found}, not a model file. Download it again.", name=name, found=found)
    if not start.strip(b"\0"):
        return CheckpointError("{name} begins with zeros: a download that did not finish. Load it again.", name=name)
    if length <= MAX_HEADER:
        return CheckpointError("{name} is cut off within its header. Download it again.", name=name)
    return _damaged(name)


def _damaged(name: Value) -> CheckpointError:
    return CheckpointError("{name} is damaged: its header does not fit its size. Download it again.", name=name)


def _parse(content: bytes) -> dict[str, Any] | None:
    """A JSON object; None for everything else."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
