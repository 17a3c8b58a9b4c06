"""/api/v1/inputs: pictures that jobs begin with."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from webui.app import App


def file(mode: str = "RGB", format_: str = "PNG", colour: object = "red", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (40, 30), colour).save(buffer, format_, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.row("M9")
def test_a_picture_is_kept_and_comes_back_with_nothing_but_its_pixels(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010E] = "secret"
    kept = client.post("/api/v1/inputs", content=file("RGB", "JPEG", exif=exif))
    assert kept.status_code == 201
    assert (kept.json()["width"], kept.json()["height"]) == (30, 40)
    answer = client.get(f"/api/v1/inputs/{kept.json()['id']}")
    assert answer.headers["content-type"] == "image/png"
    assert b"secret" not in answer.content
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.size, picture.mode, picture.info) == ((30, 40), "RGB", {})


@pytest.mark.row("U15")
def test_the_same_pixels_are_the_same_picture_whatever_the_file(client: TestClient, app: App) -> None:
    ids = {
        client.post("/api/v1/inputs", content=content).json()["id"]
        for content in (file(), file(compress_level=0), file("P", colour=0), file("RGB", "BMP", "black"))
    }
    assert len(ids) == 2, "red and black"
    folder = app.settings.data_dir / "inputs"
    assert not list(folder.glob("*.part")), "nothing is left of the uploads"


def test_transparency_lies_over_white(client: TestClient) -> None:
    name = client.post("/api/v1/inputs", content=file("RGBA", colour=(255, 0, 0, 0))).json()["id"]
    with Image.open(io.BytesIO(client.get(f"/api/v1/inputs/{name}").content)) as picture:
        assert picture.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("content", [b"", b"<html>", file()[:60], b"GIF89a" + bytes(50)])
@pytest.mark.row("U1")
def test_what_is_no_picture_is_refused_in_a_sentence(client: TestClient, app: App, content: bytes) -> None:
    before = sorted((app.settings.data_dir / "inputs").glob("*"))
    answer = client.post("/api/v1/inputs", content=content)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "UnusableInput")
    assert sorted((app.settings.data_dir / "inputs").glob("*")) == before


@pytest.mark.parametrize("name", ["0" * 32, "..%2F..%2Fsecret", "x", "0" * 31 + "G"])
@pytest.mark.row("F5")
def test_an_id_that_is_not_there_is_told(client: TestClient, name: str) -> None:
    assert client.get(f"/api/v1/inputs/{name}").status_code == 404


def test_a_folder_that_takes_nothing_is_told(client: TestClient, app: App) -> None:
    folder = app.settings.data_dir / "inputs"
    aside = folder.with_name("aside")
    if folder.exists():
        folder.rename(aside)
    folder.touch()
    try:
        answer = client.post("/api/v1/inputs", content=file())
        assert (answer.status_code, answer.json()["error"]["kind"]) == (507, "CannotSaveInput")
    finally:
        folder.unlink()
        if aside.exists():
            aside.rename(folder)


@pytest.mark.row("U17")
def test_unfinished_uploads_are_gone_after_a_restart(client: TestClient, app: App) -> None:
    client.post("/api/v1/inputs", content=file())
    left = app.settings.data_dir / "inputs" / "1234.part"
    left.touch()
    app.inputs.sweep()
    assert not left.exists()
    assert list(left.parent.glob("*.png"))


@pytest.mark.row("U15")
def test_the_same_picture_may_come_from_many_at_once(app: App, tmp_path: Path) -> None:
    path = tmp_path / "same.png"
    path.write_bytes(file(colour="teal"))
    with ThreadPoolExecutor(8) as pool:
        ids = {kept.id for kept in pool.map(lambda _: app.inputs.receive(path), range(32))}
    assert len(ids) == 1
    assert app.inputs.read(ids.pop()).startswith(b"\x89PNG")
