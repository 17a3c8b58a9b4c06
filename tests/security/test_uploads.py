"""Uploads: whatever comes in is a picture of our own making, or a sentence that says why it is none."""

import base64
import contextlib
import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.farm import wait_until
from tests.security.conftest import Place
from webui.app import App
from webui.inputs import KEPT_SECONDS


def file(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def drawn(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, "red")
    picture.paste("blue", (size[0] // 2, 0, *size))
    return picture.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claims(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel, all zeros, packed a thousand times."""
    rows = zlib.compress(bytes(min(((width + 7) // 8 + 1) * height, 10_000_000)), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def sent(client: TestClient, content: bytes) -> Any:
    return client.post("/api/v1/inputs", content=content)


def kept(client: TestClient, content: bytes) -> Image.Image:
    answer = sent(client, content)
    assert answer.status_code == 201, answer.text
    with Image.open(io.BytesIO(client.get(f"/api/v1/inputs/{answer.json()['id']}").content)) as picture:
        picture.load()
        return picture


def is_refused(answer: Any) -> bool:
    return bool(answer.status_code == 422 and answer.json()["error"]["text"])


@pytest.mark.row("U1")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_cut_off_anywhere_is_refused_in_a_sentence(client: TestClient, kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8))
    whole = file(noise, kind)
    for sixteenth in range(16):
        answer = sent(client, whole[: len(whole) * sixteenth // 16])
        assert is_refused(answer), f"{sixteenth}/16: {answer.text}"
        assert "/" not in answer.json()["error"]["text"], "no path of this machine"
    assert sent(client, whole).status_code == 201


@pytest.mark.row("U3")
@pytest.mark.parametrize("size", [(13_000, 13_000), (9_500, 9_500), (65_535, 65_535), (2**31 - 1, 2**31 - 1)])
def test_a_claim_of_too_many_pixels_is_refused_before_any_is_made(client: TestClient, size: tuple[int, int]) -> None:
    content = claims(*size)
    began = time.perf_counter()
    assert is_refused(sent(client, content))
    assert time.perf_counter() - began < 2


@pytest.mark.row("U4")
@pytest.mark.parametrize("size", [(1, 1_000_000), (16_384, 8), (1, 1)])
def test_a_picture_of_an_odd_shape_is_taken_as_it_is_or_refused(client: TestClient, size: tuple[int, int]) -> None:
    answer = sent(client, file(Image.new("1", size)))
    assert answer.status_code == 201 or is_refused(answer)
    if answer.status_code == 201:
        values = {"image": answer.json()["id"], "num_inference_steps": 1, "width": 64, "height": 64}
        assert client.post("/api/v1/jobs", json={"kind": "img2img", "values": values}).status_code == 201


@pytest.mark.row("U5")
@pytest.mark.parametrize(
    "hostile",
    [
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b" " * 60_000_000, 9)),
        chunk(b"iTXt", b"easel\0\1\0\0\0" + zlib.compress(b" " * 60_000_000, 9)),
        chunk(b"iCCP", b"x\0\0" + zlib.compress(b" " * 60_000_000, 9)),
        chunk(b"tEXt", b"parameters\0" + b"x" * 30_000_000),
        chunk(b"tEXt", b"k\0v") * 10_000,
    ],
    ids=["zTXt", "iTXt", "iCCP", "tEXt", "chunks"],
)
def test_bombs_beside_the_pixels_are_passed_over(client: TestClient, hostile: bytes) -> None:
    whole = file(drawn())
    content = whole[:33] + hostile + whole[33:]
    for path in ("/api/v1/inputs", "/api/v1/picture-info"):
        assert client.post(path, content=content).status_code in (200, 201, 422)
    encoded = base64.b64encode(content).decode()
    assert client.post("/sdapi/v1/png-info", json={"image": encoded}).status_code in (200, 422)


@pytest.mark.row("U7")
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(client: TestClient, kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), (number % 256, 0, 0)) for number in range(500 if kind == "GIF" else 60)]
    content = file(
        drawn(size=(16, 16)), kind, save_all=True, append_images=frames, **({} if kind == "GIF" else {"lossless": True})
    )
    began = time.perf_counter()
    picture = kept(client, content)
    assert time.perf_counter() - began < 2
    red, _, blue = picture.convert("RGB").getpixel((2, 2))  # type: ignore[misc]
    assert red > 200 > 60 > blue


UPRIGHT = {1: (0, 1), 2: (1, 0), 3: (1, 0), 4: (0, 1), 5: (0, 1), 6: (0, 1), 7: (1, 0), 8: (1, 0)}
"""EXIF orientation -> places of red and blue along the longer side of what was kept."""


@pytest.mark.row("U8")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_kept_upright(client: TestClient, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = kept(client, file(drawn(), exif=exif))
    assert picture.size == ((32, 48) if orientation >= 5 else (48, 32))
    first, last = picture.getpixel((1, 1)), picture.getpixel((picture.width - 2, picture.height - 2))
    colours = {(255, 0, 0): 0, (0, 0, 255): 1}
    assert (colours[first], colours[last]) == UPRIGHT[orientation]  # type: ignore[index]


@pytest.mark.row("U9")
@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("I", "PNG"),
     ("I;16", "PNG"), ("F", "TIFF"), ("LAB", "TIFF"), ("RGB", "BMP"), ("CMYK", "TIFF")],
)  # fmt: skip
def test_every_way_of_storing_pixels_becomes_rgb(client: TestClient, mode: str, kind: str) -> None:
    picture = (
        drawn("L").convert("I")
        if mode in ("I", "I;16")
        else Image.new("LAB", (48, 32))
        if mode == "LAB"
        else drawn(mode)
    )
    answer = sent(client, file(picture.convert(mode), kind))
    assert answer.status_code == 201 or is_refused(answer)
    if answer.status_code == 201:
        assert kept(client, file(picture.convert(mode), kind)).mode == "RGB"


@pytest.mark.row("U9")
@pytest.mark.parametrize("profile", [b"", b"nonsense", bytes(10_000)])
def test_a_broken_colour_profile_costs_no_picture(client: TestClient, profile: bytes) -> None:
    assert kept(client, file(drawn(), icc_profile=profile)).getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.row("U11")
@pytest.mark.parametrize("mask", ["black", "white", "other size", "one pixel", "clear"])
def test_every_mask_gives_a_picture_or_a_sentence(client: TestClient, mask: str) -> None:
    drawn_mask = {
        "black": Image.new("L", (64, 64), 0), "white": Image.new("L", (64, 64), 255),
        "other size": Image.new("L", (33, 70), 255), "one pixel": Image.new("L", (1, 1), 255),
        "clear": Image.new("RGBA", (64, 64), (0, 0, 0, 0)),
    }[mask]  # fmt: skip
    image, painted = (sent(client, file(each)).json()["id"] for each in (drawn(size=(64, 64)), drawn_mask))
    values = {"image": image, "mask": painted, "width": 64, "height": 64, "num_inference_steps": 1}
    answer = client.post("/api/v1/jobs", json={"kind": "inpaint", "values": values})
    assert answer.status_code == 201 or is_refused(answer)
    theirs = {"init_images": [base64.b64encode(file(drawn(size=(64, 64)))).decode()], "steps": 1,
              "mask": base64.b64encode(file(drawn_mask)).decode(), "width": 64, "height": 64}  # fmt: skip
    assert client.post("/sdapi/v1/img2img", json=theirs).status_code in (200, 422)


@pytest.mark.row("U13")
def test_a_picture_that_nobody_uses_goes_after_a_month_and_one_that_a_job_names_stays(
    client: TestClient, app: App
) -> None:
    used, unused, fresh = (
        sent(client, file(Image.new("RGB", (64, 64), c))).json()["id"] for c in ("#111", "#222", "#333")
    )
    values = {"image": used, "num_inference_steps": 1, "width": 64, "height": 64}
    assert client.post("/api/v1/jobs", json={"kind": "img2img", "values": values}).status_code == 201
    folder = app.settings.data_dir / "inputs"
    old = time.time() - KEPT_SECONDS - 60
    for name in (used, unused):
        os.utime(folder / f"{name}.png", (old, old))
    app.inputs.sweep(app.store.named_pictures)
    assert [name for name in (used, unused, fresh) if (folder / f"{name}.png").exists()] == [used, fresh]


@pytest.mark.row("U16")
@pytest.mark.parametrize("name", ["../../x.png", "a\0b.png", "x" * 4000 + ".png", "a\nb.png", "x.png.html"])
def test_the_name_of_an_uploaded_file_means_nothing(client: TestClient, app: App, name: str) -> None:
    headers = {"content-disposition": f"attachment; filename={name!r}"}
    answer = client.post("/api/v1/inputs", content=file(drawn()), headers=headers)
    assert answer.status_code == 201
    assert {path.name for path in (app.settings.data_dir / "inputs").glob(f"{answer.json()['id']}*")} == {
        f"{answer.json()['id']}.png"
    }


@pytest.mark.row("U17")
def test_uploads_that_end_half_way_leave_nothing_behind(place: Place, app: App) -> None:
    folder = app.settings.data_dir / "inputs"
    before = set(folder.glob("*"))
    for _ in range(50):
        with place.connect() as connection, contextlib.suppress(OSError):
            head = f"POST /api/v1/inputs HTTP/1.1\r\nHost: 127.0.0.1:{place.port}\r\nContent-Length: 100000\r\n\r\n"
            connection.sendall(head.encode() + b"\x89PNG" + bytes(2000))
    wait_until(lambda: not list(Path(folder).glob("*.part")), "uploads to be given up")
    assert set(folder.glob("*")) == before
