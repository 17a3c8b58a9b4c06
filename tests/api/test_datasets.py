"""/api/v1/datasets as a client sees it, and what an upload can and cannot do to the disk."""

import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from webui import unpacking
from webui.app import App
from webui.gate import Gate
from webui.settings import Settings


@pytest.fixture
def cats(client: TestClient, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty dataset of this test alone."""
    name = f"cats {abs(hash(request.node.name)) % 10**8}"
    assert client.post("/api/v1/datasets", json={"name": name}).status_code == 201
    yield name
    client.delete(f"/api/v1/datasets/{name}")


def png(colour: str = "red", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def archive(files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda info: None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            opened.writestr(info, content)
    return buffer.getvalue()


def add(client: TestClient, dataset: str, file: str, content: bytes) -> Any:
    return client.post(f"/api/v1/datasets/{dataset}/files", params={"file": file}, content=content)


def look(client: TestClient, dataset: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/datasets/{dataset}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def files_of(app: App, dataset: str) -> list[str]:
    folder = app.settings.datasets_dir / dataset
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_an_uploaded_picture_is_listed_with_its_caption_size_and_a_thumbnail(client: TestClient, cats: str) -> None:
    assert add(client, cats, "고양이.png", png(size=(400, 200))).json() == {"added": 1, "problems": []}
    assert add(client, cats, "고양이.txt", b"a red cat\n").json()["added"] == 1
    told = look(client, cats)
    (item,) = told["items"]
    assert (item["file"], item["caption"], item["width"], item["height"]) == ("고양이.png", "a red cat", 400, 200)
    assert (told["pictures"], told["captioned"], told["problems"]) == (1, 1, [])
    url = f"/api/v1/datasets/{cats}/pictures/{item['id']}/thumbnail"
    answer = client.get(url)
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (256, 128)
    assert client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    summary = next(each for each in client.get("/api/v1/datasets").json()["datasets"] if each["name"] == cats)
    assert (summary["pictures"], summary["captioned"], summary["problem_count"]) == (1, 1, 0)


def test_a_caption_can_be_changed_wherever_it_is_kept(client: TestClient, app: App, cats: str) -> None:
    add(client, cats, "a.png", png("red"))
    add(client, cats, "b.png", png("blue"))
    lines = b'{"file_name": "b.png", "text": "old", "label": "sky", "more": 1}\n'
    add(client, cats, "metadata.jsonl", lines)
    ids = {item["file"]: item["id"] for item in look(client, cats)["items"]}
    for file, caption in (("a.png", "  a red\n square "), ("b.png", "파란 하늘")):
        answer = client.put(f"/api/v1/datasets/{cats}/pictures/{ids[file]}", json={"caption": caption})
        assert answer.json()["caption"] == " ".join(caption.split())
    assert {item["file"]: item["caption"] for item in look(client, cats)["items"]} == {
        "a.png": "a red square", "b.png": "파란 하늘"
    }  # fmt: skip
    folder = app.settings.datasets_dir / cats
    assert (folder / "a.txt").read_text("utf-8") == "a red square\n"
    assert json.loads((folder / "metadata.jsonl").read_text("utf-8")) == {
        "file_name": "b.png", "text": "파란 하늘", "label": "sky", "more": 1
    }  # fmt: skip
    long = client.put(f"/api/v1/datasets/{cats}/pictures/{ids['a.png']}", json={"caption": "x" * 20_001})
    assert (long.status_code, long.json()["error"]["kind"]) == (422, "InvalidRequest")


def test_a_removed_picture_takes_its_words_along_and_nothing_else(client: TestClient, app: App, cats: str) -> None:
    for name, content in {
        "a.png": png("red"), "a.txt": b"a", "a.control.png": png("white"), "b.png": png("blue"), "b.txt": b"b",
        "metadata.jsonl": b'{"file_name": "a.png", "label": "x"}\n{"file_name": "b.png", "label": "y"}\n',
    }.items():  # fmt: skip
        assert add(client, cats, name, content).status_code == 201
    (gone,) = (item["id"] for item in look(client, cats)["items"] if item["file"] == "a.png")
    assert client.delete(f"/api/v1/datasets/{cats}/pictures/{gone}").status_code == 200
    assert files_of(app, cats) == ["b.png", "b.txt", "metadata.jsonl"]
    assert look(client, cats)["problems"] == []
    assert client.get(f"/api/v1/datasets/{cats}/pictures/{gone}/thumbnail").status_code == 404


def test_a_zip_brings_pictures_captions_and_classes_and_leaves_its_own_folder_out(
    client: TestClient, app: App, cats: str
) -> None:
    content = archive({
        "my cats/tom/1.png": png("red"), "my cats/tom/1.txt": b"tom", "my cats/kit/1.png": png("blue"),
        "my cats/notes.pdf": b"%PDF", "my cats/.DS_Store": b"x", "__MACOSX/my cats/._1.png": b"x",
        "my cats/tom/bad.png": b"no picture",
    })  # fmt: skip
    content = archive({name: body for name, body in _entries(content).items() if not name.startswith("__MACOSX")})
    answer = add(client, cats, "cats.zip", content).json()
    assert answer["added"] == 3
    assert sorted(problem["text"].split()[0] for problem in answer["problems"]) == ["bad.png", "notes.pdf"]
    assert files_of(app, cats) == ["kit/1.png", "tom/1.png", "tom/1.txt"]
    assert {item["label"] for item in look(client, cats)["items"]} == {"tom", "kit"}


def _entries(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def as_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("../out.png", png(), "outside"),
        ("a/../../out.png", png(), "outside"),
        ("/tmp/out.png", png(), "outside"),
        ("C:\\out.png", png(), "outside"),
        ("a\\..\\out.png", png(), "outside"),
        ("c:out.png", png(), "outside"),
        ("bomb.png", bytes(16 * 2**20), "unpacks to more"),
    ],
    ids=["up", "up again", "absolute", "drive", "backslashes", "relative drive", "bomb"],
)
@pytest.mark.row("F14")
def test_a_hostile_zip_is_refused_as_a_whole(
    client: TestClient, app: App, cats: str, name: str, content: bytes, words: str
) -> None:
    answer = add(client, cats, "bad.zip", archive({"good.png": png(), name: content}))
    assert answer.status_code == 422
    assert words in answer.json()["error"]["text"]
    assert files_of(app, cats) == []
    assert not (app.settings.data_dir / "out.png").exists()
    assert list((app.settings.datasets_dir / ".uploads").iterdir()) == []


def test_a_zip_with_a_link_is_refused_and_one_that_is_none_says_so(client: TestClient, app: App, cats: str) -> None:
    answer = add(client, cats, "link.zip", archive({"link.png": b"/etc/passwd"}, as_link))
    assert (answer.status_code, "link" in answer.json()["error"]["text"]) == (422, True)
    for content in (b"", b"PK\3\4 cut off", b"no zip at all", archive({"a.png": png()})[:-30]):
        answer = add(client, cats, "broken.zip", content)
        assert (answer.status_code, "damaged" in answer.json()["error"]["text"]) == (422, True)
    assert files_of(app, cats) == []


def test_a_zip_of_too_many_or_too_large_files_is_refused(
    client: TestClient, cats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MOST_FILES", 3)
    answer = add(client, cats, "many.zip", archive({f"{n}.png": png() for n in range(4)}))
    assert "more than 3 files" in answer.json()["error"]["text"]
    monkeypatch.setattr(unpacking, "MOST_BYTES", 10)
    answer = add(client, cats, "large.zip", archive({"1.png": png()}))
    assert "more than it may" in answer.json()["error"]["text"]


@pytest.mark.parametrize(
    "name", ["../a.png", "a/b.png", "..", ".hidden.png", "a\\b.png", "con.png", "a\0.png", "x" * 130 + ".png", "a.png."]
)
@pytest.mark.row("U16")
def test_a_file_name_is_never_a_path(client: TestClient, app: App, cats: str, name: str) -> None:
    answer = add(client, cats, name, png())
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "InvalidRequest")
    assert files_of(app, cats) == []


@pytest.mark.parametrize("name", ["a.svg", "a.html", "a.py", "a", "a.jsonl", "a.safetensors"])
def test_a_file_that_is_neither_picture_nor_caption_is_refused_with_what_is_possible(
    client: TestClient, app: App, cats: str, name: str
) -> None:
    answer = add(client, cats, name, b"<svg/>")
    assert answer.status_code == 422
    assert ".png" in answer.json()["error"]["text"]
    assert files_of(app, cats) == []


def test_a_damaged_picture_is_refused_at_once_by_its_own_name(client: TestClient, app: App, cats: str) -> None:
    answer = add(client, cats, "cut.png", png(size=(300, 300))[:-40])
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "UnusablePicture")
    assert answer.json()["error"]["text"].startswith("cut.png")
    assert files_of(app, cats) == []


def test_another_picture_of_the_same_name_is_not_overwritten_and_the_same_again_is_fine(
    client: TestClient, cats: str
) -> None:
    assert add(client, cats, "a.png", png("red")).json()["added"] == 1
    assert add(client, cats, "a.png", png("red")).json()["added"] == 0
    assert add(client, cats, "a.png", png("blue")).status_code == 409
    assert add(client, cats, "a.txt", b"one").json()["added"] == 1
    assert add(client, cats, "a.txt", b"two").json()["added"] == 1
    assert look(client, cats)["items"][0]["caption"] == "two"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "x" * 80, "con", "a.", "é"])
@pytest.mark.row("F9")
def test_a_dataset_name_is_never_a_path(client: TestClient, app: App, name: str) -> None:
    before = list(app.settings.data_dir.rglob("*"))
    answer = client.post("/api/v1/datasets", json={"name": name})
    assert answer.status_code == 422
    assert list(app.settings.data_dir.rglob("*")) == before


@pytest.mark.parametrize("name", ["nothing", "..", "..%2F..", ".uploads", "%2Fetc"])
def test_a_dataset_that_is_not_there_is_not_found_and_nothing_is_removed(client: TestClient, name: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/files?file=a.png"), ("GET", "/pictures/x/thumbnail")):
        assert 400 <= client.request(method, f"/api/v1/datasets/{name}{path}", content=b"").status_code < 500


def test_two_datasets_cannot_have_the_same_name_in_another_case(client: TestClient, cats: str) -> None:
    answer = client.post("/api/v1/datasets", json={"name": cats.upper()})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (409, "Conflict")


def test_an_empty_dataset_is_listed_without_problems_and_one_of_rubbish_says_why(
    client: TestClient, app: App, cats: str
) -> None:
    assert (look(client, cats)["pictures"], look(client, cats)["problems"]) == (0, [])
    (app.settings.datasets_dir / cats / "a.png").write_bytes(b"no picture")
    told = look(client, cats)
    assert told["pictures"] == 0
    assert "a.png" in told["problems"][0]["text"]


def test_pages_of_a_long_dataset(client: TestClient, cats: str) -> None:
    for n in range(5):
        add(client, cats, f"{n}.png", png())
    page = client.get(f"/api/v1/datasets/{cats}", params={"offset": 3, "limit": 10}).json()
    assert [item["file"] for item in page["items"]] == ["3.png", "4.png"]
    assert page["pictures"] == 5
    assert client.get(f"/api/v1/datasets/{cats}", params={"limit": 0}).status_code == 422


def test_a_disk_that_takes_nothing_is_told_in_one_sentence(client: TestClient, app: App, cats: str) -> None:
    uploads = app.settings.datasets_dir / ".uploads"
    if uploads.exists():
        uploads.rmdir()
    uploads.write_text("a file where the folder should be")
    try:
        answer = add(client, cats, "a.png", png())
    finally:
        uploads.unlink()
    assert (answer.status_code, answer.json()["error"]["kind"]) == (507, "CannotSaveDataset")


def test_a_deleted_dataset_is_gone(client: TestClient, app: App) -> None:
    client.post("/api/v1/datasets", json={"name": "gone"})
    add(client, "gone", "a.png", png())
    assert client.delete("/api/v1/datasets/gone").status_code == 200
    assert not (app.settings.datasets_dir / "gone").exists()
    assert list((app.settings.datasets_dir / ".deleted").iterdir()) == []


def test_deleting_a_linked_dataset_removes_the_link_alone(client: TestClient, app: App, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.png").write_bytes(png())
    (app.settings.datasets_dir / "linked").symlink_to(tmp_path / "mine")
    assert look(client, "linked")["pictures"] == 1
    assert client.delete("/api/v1/datasets/linked").status_code == 200
    assert (tmp_path / "mine" / "a.png").exists()
    assert client.get("/api/v1/datasets/linked").status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "length", "status"),
    [
        ("POST", "/api/v1/datasets/cats/files", 3 * 2**30, 404),
        ("POST", "/api/v1/datasets/cats/files", 5 * 2**30, 413),
        ("POST", "/api/v1/datasets/cats/files/x", 3 * 2**30, 413),
        ("PUT", "/api/v1/datasets/cats/files", 3 * 2**30, 413),
        ("POST", "/api/v1/jobs", 3 * 2**30, 413),
    ],
)
def test_the_gate_lets_large_bodies_through_to_datasets_only(
    tmp_path: Path, method: str, path: str, length: int, status: int
) -> None:
    gate = TestClient(Gate(FastAPI(), Settings(data_dir=tmp_path, port=80)), base_url="http://127.0.0.1")
    assert gate.request(method, path, headers={"Content-Length": str(length)}).status_code == status
