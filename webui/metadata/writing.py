"""Pictures as files with their parameters inside: PNG, JPEG and WebP, each with the infotext and our JSON.

Nothing else goes in: no EXIF, GPS or comment of a picture that a request began with.
"""

import io
import json
import zlib
from typing import Literal

from PIL import Image, PngImagePlugin

from webui.branches import difference
from webui.errors import InvalidRequest
from webui.metadata import exif
from webui.metadata.containers import JPEG_MARKER, JPEG_PREFIX, JSON_KEY, TEMPLATES, TEXT_KEY, WEBP_CHUNK, texts_of
from webui.request_groups import public_options
from webui.requests import PictureRequest, to_values

NOT_IN_PICTURE = ("preview", "batch_count", "batch_size", "seed", "image", "mask", "wordings")
"""What does not describe one picture (its own seed is written instead), and ids of private uploads."""
TELLING_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")
MAX_SEGMENT = 65_533
"""Bytes of a JPEG segment's data (its two length bytes count themselves)."""


def encode_png(image: Image.Image, request: PictureRequest, picture: int, parameters: str) -> bytes:
    """The picture as PNG with both texts inside. Level 1: three times as fast as the default, 10 % larger."""
    texts = PngImagePlugin.PngInfo()
    if parameters.isascii():
        texts.add_text(TEXT_KEY, parameters)
    else:  # tEXt is Latin-1 only
        texts.add_itxt(TEXT_KEY, parameters)
    texts.add_itxt(JSON_KEY, _own(request, picture), zip=True)
    buffer = io.BytesIO()
    _bare(image).save(buffer, "PNG", pnginfo=texts, compress_level=1)
    return buffer.getvalue()


def encode_jpeg(image: Image.Image, request: PictureRequest, picture: int, parameters: str, quality: int = 95) -> bytes:
    """The picture as JPEG of quality 1..100 with both texts inside; see `_jpeg` for very long infotexts."""
    return _jpeg(image, parameters, _own(request, picture), quality)


def encode_webp(
    image: Image.Image,
    request: PictureRequest,
    picture: int,
    parameters: str,
    quality: int = 90,
    *,
    lossless: bool = False,
) -> bytes:
    """The picture as WebP of quality 1..100, or lossless, with both texts inside."""
    return _webp(image, parameters, _own(request, picture), quality, lossless=lossless)


def convert(png: bytes, file_format: Literal["JPEG", "WEBP"], quality: int = 90, *, lossless: bool = False) -> bytes:
    """One of our PNG files as "JPEG" or "WEBP" with the same two texts. Raises `InvalidRequest` for no picture."""
    texts = texts_of(png).found
    parameters, own = texts.get(TEXT_KEY, ""), texts.get(JSON_KEY, "")
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidRequest("This is not a PNG, JPEG or WebP picture that can be read.") from error
    if file_format == "JPEG":
        return _jpeg(image, parameters, own, quality)
    return _webp(image, parameters, own, quality, lossless=lossless)


def without_texts(png: bytes) -> bytes:
    """One of our PNG files without a word in it, every pixel as it was (PNG specification, section 11.3)."""
    kept, at = [png[:8]], 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        if png[at + 4 : at + 8] not in TELLING_CHUNKS:
            kept.append(png[at:end])
        at = end
    return b"".join(kept)


def _own(request: PictureRequest, picture: int) -> str:
    said = request.worded(picture)
    own = {name: value for name, value in to_values(said).items() if name not in NOT_IN_PICTURE}
    own |= {"kind": request.kind, "seed": request.seed_of(picture), "extensions": public_options(request)}
    own["branch_from"] = difference(said, picture)
    if request.variation_strength:
        own["variation_seed"] = request.variation_seed_of(picture)
    if request.wordings:
        own[TEMPLATES] = {name: getattr(request, name) for name in request.wordings}
    return json.dumps(own, ensure_ascii=False)


def _bare(image: Image.Image) -> Image.Image:
    """Without what Pillow would write by itself: profiles, comments and EXIF of the file that the image came from."""
    bare = image.copy()
    bare.info.clear()
    return bare


def _jpeg(image: Image.Image, parameters: str, own: str, quality: int) -> bytes:
    """EXIF has room for 64 KiB in a JPEG file: an infotext that is longer is left out, our JSON never."""
    buffer = io.BytesIO()
    _bare(image).save(buffer, "JPEG", quality=quality, exif=exif.user_comment(parameters, MAX_SEGMENT))
    written = buffer.getvalue()
    packed, room = _packed(own), MAX_SEGMENT - len(JPEG_PREFIX)
    parts = [packed[at : at + room] for at in range(0, len(packed), room)]
    segments = b"".join(_segment(JPEG_PREFIX + part) for part in parts)
    after = _after_first_segments(written)
    return written[:after] + segments + written[after:]


def _segment(data: bytes) -> bytes:
    return bytes((0xFF, JPEG_MARKER)) + (len(data) + 2).to_bytes(2) + data


def _after_first_segments(jpeg: bytes) -> int:
    """Position behind JFIF and EXIF, which readers expect to come first."""
    position = 2
    while jpeg[position : position + 2] in (b"\xff\xe0", b"\xff\xe1"):
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4])
    return position


def _webp(image: Image.Image, parameters: str, own: str, quality: int, *, lossless: bool) -> bytes:
    """With EXIF the file is of the extended kind, which may end with chunks of one's own (RFC 9649, section 2.7)."""
    buffer = io.BytesIO()
    _bare(image).save(buffer, "WEBP", quality=quality, lossless=lossless, exif=exif.user_comment(parameters))
    packed = _packed(own)
    chunk = WEBP_CHUNK + len(packed).to_bytes(4, "little") + packed + bytes(len(packed) % 2)
    content = buffer.getvalue()[8:] + chunk
    return b"RIFF" + len(content).to_bytes(4, "little") + content


def _packed(own: str) -> bytes:
    return zlib.compress(own.encode("utf-8", "replace")) if own else b""
