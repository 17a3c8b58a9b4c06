"""Files: nothing but pictures leaves, nothing is found by a path, names come from nobody's words."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from tests.farm import wait_until
from webui.app import App
from webui.settings import ROOT

OUT = ("/etc/passwd", "/etc/no-such-file")
"""A file that is there and one that is not."""


def spellings(path: str) -> list[str]:
    """Ways of asking Gradio for a file outside its folders."""
    bare = path.lstrip("/")
    up = "../" * 12
    return [
        path, up + bare, up.replace("/", "%2f") + bare, "%2e%2e/" * 12 + bare, "%252e%252e%252f" * 12 + bare,
        "....//" * 12 + bare, ("..\\" * 12 + bare).replace("\\", "%5c"), f"{path}%00.png", "%c0%ae%c0%ae/" * 12 + bare,
    ]  # fmt: skip


@pytest.mark.row("F1")
@pytest.mark.parametrize("number", range(9))
def test_no_spelling_of_a_path_leads_out_and_none_tells_what_is_there(client: TestClient, number: int) -> None:
    there, missing = (client.get(f"/gradio_api/file={spellings(path)[number]}") for path in OUT)
    assert there.status_code in (403, 404)
    assert there.status_code == missing.status_code
    assert there.text.replace("passwd", "no-such-file") == missing.text


@pytest.mark.row("F2")
def test_own_files_are_not_served(client: TestClient, app: App) -> None:
    own = (ROOT / "launch.py", ROOT / "webui/settings.py", app.settings.database, app.settings.data_dir / "lock")
    for path in own:
        assert path.exists()
        for asked in (str(path), path.name, f"./{path.name}"):
            assert client.get(f"/gradio_api/file={quote(asked)}").status_code in (403, 404), asked


@pytest.mark.row("F3")
@pytest.mark.parametrize(
    "name", [r"C:\Windows\win.ini", r"\windows\win.ini", r"\\host\share\x", "//host/x", r"\\.\pipe\x", "CON", "NUL"]
)
def test_names_of_other_systems_lead_nowhere(client: TestClient, name: str) -> None:
    assert client.get(f"/gradio_api/file={quote(name, safe='/')}").status_code in (403, 404)


IDS = ["-1", "0", "1", "1.5", "٣", "9" * 400, "1' OR '1'='1", "x;DROP TABLE jobs", "0" * 32, "%00", "a" * 5000]


@pytest.mark.row("F5")
@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("route", ["pictures/{}", "pictures/{}/info", "gallery/{}/file", "gallery/{}/thumbnail",
                                   "inputs/{}", "jobs/{}", "gallery/exports/{}"])  # fmt: skip
def test_an_id_that_nobody_gave_out_is_not_found(client: TestClient, route: str, name: str) -> None:
    assert client.get("/api/v1/" + route.format(quote(name))).status_code == 404


@pytest.mark.row("F6")
def test_what_is_no_picture_is_neither_listed_nor_served(client: TestClient, outputs: Path, app: App) -> None:
    hostile = "<script>alert(1)</script>"
    for name in ("x.html", "x.svg", "fake.png", "fake.jpg", "fake.webp"):
        outputs.mkdir(exist_ok=True)
        (outputs / name).write_text(hostile)
    app.gallery.refresh()
    listed = client.get("/api/v1/gallery?limit=500").json()["pictures"]
    assert [each for each in listed if "fake" in each["url"] or each["width"] == 0] == []
    for path in ("/gradio_api/file=" + quote(str(outputs / "x.html")), "/outputs/x.html", "/file/x.svg"):
        answer = client.get(path)
        assert hostile not in answer.text


@pytest.mark.row("F9")
@pytest.mark.parametrize(
    "name", ["../../easel.sqlite3", "/etc/passwd", "C:\\x", "00001-1.png", "2026-01-01/00001-1.png"]
)
def test_nothing_is_deleted_moved_or_renamed_by_path(client: TestClient, app: App, name: str) -> None:
    before = sorted(path for path in app.settings.data_dir.parent.rglob("*") if "sqlite" not in path.name)
    for path, body in (
        ("gallery/trash", {"ids": [name]}),
        ("gallery/restore", {"ids": [name]}),
        ("gallery/star", {"ids": [name], "starred": True}),
    ):
        answer = client.post(f"/api/v1/{path}", json=body)
        assert answer.status_code in (200, 404, 422)
        if answer.status_code == 200 and path != "gallery/star":
            assert answer.json()["ids"] == []
    for path in ("datasets", "gallery/collections", "extensions"):
        assert client.delete(f"/api/v1/{path}/{quote(name, safe='')}").status_code in (403, 404, 422)
    assert sorted(path for path in app.settings.data_dir.parent.rglob("*") if "sqlite" not in path.name) == before


@pytest.mark.row("F10")
@pytest.mark.parametrize("name", ["../../webui/app", "/etc/passwd", "one/../../../secret", "one\0", "..\\one"])
@pytest.mark.parametrize("shelf", ["checkpoints", "loras", "..", "%2e%2e"])
def test_models_outside_their_folders_have_no_preview(client: TestClient, shelf: str, name: str) -> None:
    for what in ("preview", "metadata"):
        answer = client.get(f"/api/v1/models/{shelf}/{what}", params={"name": name})
        assert answer.status_code == 404


@pytest.mark.row("F11")
@pytest.mark.parametrize(
    "words", ["../../evil", "/abs", "CON", "x" * 5000, "a\nb", "🎨\u202egnp", "%n%s", "{0.real}", "[seed]"]
)
def test_names_of_files_come_from_nobodys_words(client: TestClient, outputs: Path, words: str) -> None:
    values = {"prompt": words, "negative_prompt": words, "num_inference_steps": 1, "width": 64, "height": 64}
    job = client.post("/api/v1/jobs", json={"values": values}).json()["id"]
    wait_until(lambda: client.get(f"/api/v1/jobs/{job}").json()["state"] == "done", "the picture")
    picture = client.get(f"/api/v1/jobs/{job}").json()["pictures"][0]
    told = client.get(picture["url"]).headers["content-disposition"]
    assert re.fullmatch(r"inline; filename\*=UTF-8''\d{5}-\d+\.png", told)
    assert any(path.name in told for path in outputs.rglob("*.png"))


@pytest.mark.row("F13")
def test_no_route_takes_a_path(client: TestClient) -> None:
    document = client.get("/api/v1/openapi.json").json()
    asked = {
        (path, parameter["name"])
        for path, methods in document["paths"].items()
        for told in methods.values()
        for parameter in told.get("parameters", [])
        if parameter["name"].lower() in ("path", "folder", "dir", "directory", "file", "filename", "url")
    }
    assert asked == {("/api/v1/datasets/{name}/files", "file")}, "a name and no path: see U16"
    fields = {
        (name, field)
        for name, schema in document["components"]["schemas"].items()
        for field in schema.get("properties", {})
        if field in ("path", "folder", "source", "filename")
    }
    assert fields == {("Origin", "source")}, "the operator's alone"
    assert client.post("/api/v1/extensions", json={"source": "/etc"}).status_code == 403
