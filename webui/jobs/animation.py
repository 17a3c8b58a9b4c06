"""A strip as one moving picture: GIF, WebP, APNG or MP4, the finished picture last. Knows no files and no jobs."""

import io
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from webui.errors import InvalidRequest, UnknownName

LONGEST_SIDE = 512
"""Pixels; previews are smaller and the finished picture is usually larger."""
LAST_SHOWN = 1.5
"""Seconds for which the finished picture stays."""
CODEC = "vp09"
"""VP9 in MP4: OpenCV's own build can write it everywhere, and browsers play it; there is no H.264 in it."""


def animation(name: str, jpegs: Iterable[bytes], finished: bytes, fps: int) -> tuple[bytes, str]:
    """The file and its media type. `name` is a key of `FORMATS`, `finished` the picture's own file.

    Raises `UnknownName`, or `InvalidRequest` when this machine cannot write it.
    """
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    with Image.open(io.BytesIO(finished)) as opened:
        last = opened.convert("RGB")
    last.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    frames = [*(_frame(jpeg, last.size) for jpeg in jpegs), last]
    write, media_type = FORMATS[name]
    return write(frames, fps), media_type


def _frame(jpeg: bytes, size: tuple[int, int]) -> Image.Image:
    with Image.open(io.BytesIO(jpeg)) as opened:
        return opened.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def _pillow(file_format: str, **options: object) -> Callable[[Sequence[Image.Image], int], bytes]:
    def write(frames: Sequence[Image.Image], fps: int) -> bytes:
        times = [round(1000 / fps)] * (len(frames) - 1) + [round(1000 * LAST_SHOWN)]
        buffer = io.BytesIO()
        rest = list(frames[1:])
        frames[0].save(buffer, file_format, save_all=True, append_images=rest, duration=times, loop=0, **options)
        return buffer.getvalue()

    return write


def _mp4(frames: Sequence[Image.Image], fps: int) -> bytes:
    """OpenCV writes to paths only. Sides are made even, as the codec's colours are of half the size."""
    import cv2  # here and not above: a server that starts need not wait for it
    import numpy as np

    width, height = (max(2, side - side % 2) for side in frames[0].size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "strip.mp4"
        video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODEC), fps, (width, height))
        if not video.isOpened():
            raise InvalidRequest("OpenCV on this machine cannot write MP4. Take GIF or WebP instead.")
        for frame in [*frames, *[frames[-1]] * round(LAST_SHOWN * fps)]:
            video.write(np.asarray(frame.resize((width, height)))[:, :, ::-1])
        video.release()
        return path.read_bytes()


FORMATS: Mapping[str, tuple[Callable[[Sequence[Image.Image], int], bytes], str]] = {
    "gif": (_pillow("GIF", optimize=True), "image/gif"),
    "webp": (_pillow("WEBP", quality=85, method=3), "image/webp"),
    "png": (_pillow("PNG"), "image/apng"),
    "mp4": (_mp4, "video/mp4"),
}
"""File name ending -> how it is written, and its media type."""
