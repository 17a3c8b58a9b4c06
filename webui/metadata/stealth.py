"""Texts hidden in the lowest bits of a picture's pixels ("stealth PNG info"): reading only.

Bits run down the columns, from the left: a signature of 15 characters, the payload's length in bits as 32 bits, the
payload, plain or gzip. Whoever writes them changes the pixels, so Easel never does.
"""

import io
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webui.metadata.containers import MAX_TEXT

MAX_PIXELS = 16 * 2**20
"""Larger pictures are not decoded only to look for a text."""
_SIGNATURE = 15
_KINDS = {
    b"stealth_pnginfo": ("alpha", False), b"stealth_pngcomp": ("alpha", True),
    b"stealth_rgbinfo": ("rgb", False), b"stealth_rgbcomp": ("rgb", True),
}  # fmt: skip
Bits = NDArray[np.uint8]


def hidden_text(source: Path | bytes) -> str:
    """The hidden text of a PNG or WebP picture, "" when there is none or the picture is damaged or too large."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=("PNG", "WEBP")) as image:
            if image.mode not in ("RGB", "RGBA") or image.width * image.height > MAX_PIXELS:
                return ""
            pixels = np.asarray(image)
    except Exception:  # decoders of damaged files raise whatever they stumble over
        return ""
    for channels in ("alpha", "rgb") if pixels.shape[2] == 4 else ("rgb",):
        data = _payload(pixels, channels)
        if data is not None:
            return data.decode("utf-8", "replace")
    return ""


def _payload(pixels: NDArray[np.uint8], channels: str) -> bytes | None:
    head = _bytes(pixels, channels, 0, _SIGNATURE + 4)
    of_channels, is_packed = _KINDS.get(head[:_SIGNATURE], ("", False))
    length = int.from_bytes(head[_SIGNATURE:]) // 8
    if of_channels != channels or not 0 < length <= MAX_TEXT:
        return None
    data = _bytes(pixels, channels, _SIGNATURE + 4, length)
    return _gunzipped(data) if is_packed else data


def _bytes(pixels: NDArray[np.uint8], channels: str, first: int, count: int) -> bytes:
    """`count` bytes from byte `first` on; only the columns that hold them are looked at."""
    depth = 1 if channels == "alpha" else 3
    per_column = pixels.shape[0] * depth
    begin, end = first * 8 // per_column, -(-(first + count) * 8 // per_column)
    columns = pixels[:, begin:end, 3:] if channels == "alpha" else pixels[:, begin:end, :3]
    bits: Bits = np.bitwise_and(columns, np.uint8(1)).transpose(1, 0, 2).reshape(-1)
    skipped = first * 8 - begin * per_column
    return np.packbits(bits[skipped : skipped + count * 8]).tobytes()


def _gunzipped(data: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        result = unpacker.decompress(data, MAX_TEXT)
    except zlib.error:
        return None
    return result if unpacker.eof else None
