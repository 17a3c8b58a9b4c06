"""The few texts of EXIF data that tools keep parameters in: read from both byte orders, written as piexif writes them.

EXIF 2.32 on top of TIFF 6.0. Only the wanted tags are looked at, so that entries that all point to the same megabyte
cost nothing. Damaged data gives no texts, never an error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PREFIX = b"Exif\0\0"
"""Stands before the TIFF data in JPEG files, and in some WebP files."""
USER_COMMENT = 0x9286
_EXIF_POINTER = 0x8769
_NAMES: Mapping[int, str] = {
    0x010E: "Description",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x927C: "fooocus_scheme",
    USER_COMMENT: "parameters",
}
"""Tag -> key under which its text is found; MakerNote holds the name of Fooocus' scheme."""
_GRAPH_TAGS = (0x010E, 0x010F, 0x0110)
"""Where ComfyUI writes "prompt:{...}" and "workflow:{...}" in WebP files."""
_MAX_ENTRIES = 200
_ASCII, _UNDEFINED, _BYTE = 2, 7, 1
_UNICODE_CODE, _ASCII_CODE = b"UNICODE\0", b"ASCII\0\0\0"


def texts(data: bytes) -> dict[str, str]:
    """Texts of TIFF data, with or without its "Exif" prefix, by key."""
    tiff = _Tiff.of(data.removeprefix(PREFIX))
    if tiff is None:
        return {}
    found: dict[str, str] = {}
    for tag, value in tiff.entries():
        text = _comment(value, tiff.order) if tag == USER_COMMENT else _plain(value)
        key = _NAMES[tag]
        if tag in _GRAPH_TAGS and text.startswith(("prompt:", "workflow:")):
            key, _, text = text.partition(":")
        if text:
            found.setdefault(key, text)
    return found


@dataclass(frozen=True)
class _Tiff:
    data: bytes
    order: str
    """ "little" or "big"."""

    @classmethod
    def of(cls, data: bytes) -> "_Tiff | None":
        orders = {b"II*\0": "little", b"MM\0*": "big"}
        return cls(data, orders[data[:4]]) if data[:4] in orders else None

    def number(self, position: int, size: int) -> int:
        part = self.data[position : position + size]
        return int.from_bytes(part, "little" if self.order == "little" else "big")

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Wanted tags with their data, of the first directory and of the EXIF directory that it points to."""
        pointer = 0
        for tag, kind, value in self._directory(self.number(4, 4)):
            if tag == _EXIF_POINTER:
                pointer = int.from_bytes(value, "little" if self.order == "little" else "big")
            elif tag in _NAMES and kind in (_ASCII, _UNDEFINED, _BYTE):
                yield tag, value
        if pointer:
            for tag, kind, value in self._directory(pointer):
                if tag in _NAMES and kind in (_ASCII, _UNDEFINED, _BYTE):
                    yield tag, value

    def _directory(self, position: int) -> Iterator[tuple[int, int, bytes]]:
        """(tag, type, data) of the entries; of each wanted tag only the first."""
        seen: set[int] = set()
        for entry in range(min(self.number(position, 2), _MAX_ENTRIES)):
            at = position + 2 + 12 * entry
            tag, kind, count = self.number(at, 2), self.number(at + 2, 2), self.number(at + 4, 4)
            if at + 12 > len(self.data) or tag in seen or tag not in (*_NAMES, _EXIF_POINTER):
                continue
            seen.add(tag)
            size = 4 if tag == _EXIF_POINTER else count
            begin = at + 8 if size <= 4 else self.number(at + 8, 4)
            if begin + size <= len(self.data):  # else it is cut off
                yield tag, kind, self.data[begin : begin + size]


def _comment(value: bytes, order: str) -> str:
    """Text of a UserComment: eight bytes name its character code, "UNICODE" is UTF-16.

    The code says nothing of the byte order: A1111 writes big-endian in any file, others follow the file's own order.
    """
    code, rest = value[:8], value[8:]
    if code == _UNICODE_CODE:
        return _utf16(rest, order)
    if code in (_ASCII_CODE, bytes(8)):
        return _plain(rest)
    return _plain(value)  # Fooocus writes no code at all


def _utf16(data: bytes, order: str) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").strip("\0")
    # Parameters are mostly ASCII letters and digits: their zero bytes come first in big-endian text.
    first, second = data[::2].count(0), data[1::2].count(0)
    is_big = order == "big" if first == second else first > second
    return data.decode("utf-16-be" if is_big else "utf-16-le", "replace").strip("\0")


def _plain(value: bytes) -> str:
    try:
        return value.decode("utf-8").strip("\0")
    except UnicodeDecodeError:
        return value.decode("latin-1").strip("\0")


def user_comment(text: str, most: int | None = None) -> bytes:
    """EXIF data, with its prefix, that holds nothing but the text: big-endian, UTF-16, as AUTOMATIC1111 writes it.

    Above `most` bytes plain ASCII text is written as ASCII, half as long; b"" when that does not fit either.
    """
    written = _directory_of(_UNICODE_CODE + text.encode("utf-16-be", "replace"))
    if most is not None and len(written) > most and text.isascii():
        written = _directory_of(_ASCII_CODE + text.encode("ascii"))
    return written if most is None or len(written) <= most else b""


def _directory_of(comment: bytes) -> bytes:
    """A first directory with one entry, the pointer to the EXIF directory, which has one entry, the comment."""
    header = b"MM\0*" + (8).to_bytes(4)
    first = (1).to_bytes(2) + _entry(_EXIF_POINTER, 4, 1, 26) + bytes(4)
    second = (1).to_bytes(2) + _entry(USER_COMMENT, _UNDEFINED, len(comment), 44) + bytes(4)
    return PREFIX + header + first + second + comment


def _entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return tag.to_bytes(2) + kind.to_bytes(2) + count.to_bytes(4) + value.to_bytes(4)
