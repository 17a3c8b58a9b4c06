"""Texts in picture files, found without decoding the picture: PNG chunks, JPEG segments, WebP chunks.

The files are walked by hand, because a reader must not give up a picture over one damaged text, nor unpack a bomb:
whatever is too long is passed over and named. What the texts mean is the readers' matter.
"""

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from webui.errors import InvalidRequest
from webui.metadata import exif

TEXT_KEY = "parameters"
"""PNG text chunk that AUTOMATIC1111 and every tool after it reads; EXIF texts are found under it too."""
JSON_KEY = "easel"
TEMPLATES = "templates"
"""In our JSON: prompt -> how it was written, of those with wildcards or alternatives."""
MAX_TEXT = 1_000_000
"""Bytes of one text, unpacked. Longer ones are not read: no real one comes near."""
MAX_TOTAL = 4 * MAX_TEXT
MAX_PARTS = 10_000
"""Chunks or segments of a file that are looked at."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
WEBP_CHUNK = b"EASL"
JPEG_MARKER = 0xEA
"""APP10, which nobody else uses; our JSON stands in as many of its segments as it needs."""
JPEG_PREFIX = b"Easel\0"
_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


@dataclass
class Texts:
    """What a file says: texts by their key, the first of each, and the keys whose text was too long or damaged."""

    found: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    may_hide: bool = False
    """Whether the pixels may hide a text: those of PNG in RGB or RGBA, and of WebP."""

    @property
    def is_full(self) -> bool:
        """Nothing more is unpacked: a file may hold thousands of packed texts that are thrown away."""
        return len(self.found) + len(self.unread) >= 100 or sum(map(len, self.found.values())) > MAX_TOTAL - MAX_TEXT

    def add(self, key: str, text: str | None) -> None:
        if text is None or len(text) > MAX_TEXT or sum(map(len, self.found.values())) + len(text) > MAX_TOTAL:
            if key not in self.unread and len(self.unread) < 100:
                self.unread.append(key)
        elif key not in self.found and len(self.found) < 100:
            self.found[key] = text


def texts_of(source: Path | bytes) -> Texts:
    """The texts of a PNG, JPEG or WebP file. Raises `InvalidRequest` for any other file, and for none."""
    try:
        with _opened(source) as file:
            begin = file.read(16)
            if begin.startswith(PNG_SIGNATURE):
                return _of_png(file)
            if begin.startswith(JPEG_SIGNATURE):
                return _of_jpeg(file)
            if begin[:4] == b"RIFF" and begin[8:12] == b"WEBP":
                return _of_webp(file)
    except OSError as error:
        raise InvalidRequest("The picture cannot be read: {reason}.", reason=error.strerror or str(error)) from error
    raise InvalidRequest("This is not a PNG, JPEG or WebP picture that can be read.")


@contextmanager
def _opened(source: Path | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    else:
        with source.open("rb") as file:
            yield file


def unpacked(data: bytes) -> bytes | None:
    """zlib data unpacked; None when it is damaged, cut off or larger than `MAX_TEXT`."""
    unpacker = zlib.decompressobj()
    try:
        result = unpacker.decompress(data, MAX_TEXT)
    except zlib.error:
        return None
    return result if unpacker.eof else None


def _of_png(file: BinaryIO) -> Texts:
    """PNG specification, sections 5.3 (chunks) and 11.3.3 (tEXt, zTXt, iTXt); eXIf is section 11.3.4.5."""
    texts = Texts()
    file.seek(len(PNG_SIGNATURE))
    for _ in range(MAX_PARTS):
        header = file.read(8)
        length, kind = int.from_bytes(header[:4]), header[4:]
        if len(header) < 8 or kind == b"IEND":
            break
        if kind == b"IHDR" and length == 13:
            texts.may_hide = file.read(length)[9:10] in (b"\x02", b"\x06")
        elif kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            data = file.read(min(length, MAX_TEXT + 200))
            file.seek(length - len(data), io.SEEK_CUR)
            _add_png_text(texts, kind, data, is_whole=len(data) == length)
        else:
            file.seek(length, io.SEEK_CUR)
        file.seek(4, io.SEEK_CUR)
    return texts


def _add_png_text(texts: Texts, kind: bytes, data: bytes, *, is_whole: bool) -> None:
    if kind == b"eXIf":
        if is_whole:
            _add_exif(texts, data)
        return
    keyword, _, rest = data[:200].partition(b"\0")
    key, rest = keyword.decode("latin-1"), data[len(keyword) + 1 :]
    if not 1 <= len(keyword) <= 79:
        return
    if key in texts.found:
        return
    if not is_whole or (kind != b"tEXt" and texts.is_full):
        texts.add(key, None)
    elif kind == b"tEXt":
        texts.add(key, _latin_or_utf8(rest))
    elif kind == b"zTXt":
        plain = unpacked(rest[1:])
        texts.add(key, None if plain is None else _latin_or_utf8(plain))
    else:
        texts.add(key, _international(rest))


def _international(rest: bytes) -> str | None:
    """Text of an iTXt chunk from its compression flag on."""
    is_compressed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    if len(parts) < 3:
        return None
    plain = unpacked(parts[2]) if is_compressed else parts[2]
    return None if plain is None else plain.decode("utf-8", "replace")


def _latin_or_utf8(data: bytes) -> str:
    """Latin-1, says the specification. Many tools write UTF-8, and Latin-1 text is next to never valid UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _of_jpeg(file: BinaryIO) -> Texts:
    """Segments up to the picture itself (ITU T.81, annex B)."""
    texts, own = Texts(), bytearray()
    file.seek(2)
    for _ in range(MAX_PARTS):
        marker = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (_START_OF_SCAN, _END_OF_IMAGE):
            break
        if marker[1] == 0xFF:  # fill byte
            file.seek(-1, io.SEEK_CUR)
            continue
        if marker[1] in _WITHOUT_LENGTH:
            continue
        data = file.read(max(int.from_bytes(file.read(2)) - 2, 0))
        if marker[1] == _APP1 and data.startswith(exif.PREFIX):
            _add_exif(texts, data)
        elif marker[1] == JPEG_MARKER and data.startswith(JPEG_PREFIX) and len(own) < MAX_TEXT:
            own += data.removeprefix(JPEG_PREFIX)
    if own:
        _add_own(texts, bytes(own))
    return texts


def _of_webp(file: BinaryIO) -> Texts:
    """RIFF chunks (RFC 9649, section 2.3)."""
    texts = Texts(may_hide=True)
    file.seek(12)
    for _ in range(MAX_PARTS):
        header = file.read(8)
        if len(header) < 8:
            break
        kind, length = header[:4], int.from_bytes(header[4:], "little")
        data = file.read(min(length, 3 * MAX_TEXT)) if kind in (b"EXIF", WEBP_CHUNK) else b""
        if kind == b"EXIF":
            _add_exif(texts, data)
        elif kind == WEBP_CHUNK:
            _add_own(texts, data)
        file.seek(length - len(data) + length % 2, io.SEEK_CUR)
    return texts


def _add_own(texts: Texts, data: bytes) -> None:
    plain = unpacked(data)
    texts.add(JSON_KEY, None if plain is None else plain.decode("utf-8", "replace"))


def _add_exif(texts: Texts, data: bytes) -> None:
    for key, text in exif.texts(data).items():
        texts.add(key, text)
