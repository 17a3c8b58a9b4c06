"""/api/v1/gallery and /api/v1/picture-info."""

import base64
import io
import zipfile

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.test_v1 import finished, submit
from tests.gallery.pictures import draw, of_a1111, of_easel, of_text, png, save
from webui.app import App

GALLERY = "/api/v1/gallery"


@pytest.fixture(scope="module", autouse=True)
def others(app: App) -> None:
    save(app.settings.outputs_dir / "theirs" / "x.png", of_a1111("a lighthouse", 42))
    save(app.settings.outputs_dir / "theirs" / "y.png", of_easel(43, prompt="a lighthouse at night", checkpoint="one"))


def found(client: TestClient, **query: object) -> list[dict[str, object]]:
    answer = client.get(GALLERY, params=query)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    pictures: list[dict[str, object]] = answer.json()["pictures"]
    return pictures


def test_a_picture_of_a_job_is_in_the_gallery_under_its_own_id(client: TestClient) -> None:
    job = finished(client, submit(client, prompt="a lamp")["id"])
    [made] = job["pictures"]
    first = found(client)[0]
    assert first["id"] == made["id"]
    assert client.get(first["url"]).content == client.get(made["url"]).content
    small = client.get(first["thumbnail"])
    assert (small.headers["content-type"], small.headers["cache-control"][:7]) == ("image/webp", "private")
    assert "path" not in str(client.get(f"{GALLERY}/{made['id']}").json())


def test_a_deleted_picture_leaves_its_job_and_comes_back(client: TestClient) -> None:
    job = finished(client, submit(client, prompt="a vase")["id"])
    picture = job["pictures"][0]["id"]
    found(client)
    assert client.post(f"{GALLERY}/trash", json={"ids": [picture]}).json() == {"ids": [picture]}
    assert client.get(f"/api/v1/jobs/{job['id']}").json()["pictures"] == []
    assert [each["id"] for each in client.get(f"{GALLERY}/trash").json()["pictures"]] == [picture]
    assert client.post(f"{GALLERY}/restore", json={"ids": [picture]}).json() == {"ids": [picture]}
    assert [each["id"] for each in client.get(f"/api/v1/jobs/{job['id']}").json()["pictures"]] == [picture]
    client.post(f"{GALLERY}/trash", json={"ids": [picture]})
    assert client.delete(f"{GALLERY}/trash").json() == {"deleted": 1}
    assert client.get(f"/api/v1/jobs/{job['id']}").json()["pictures"] == []
    assert client.get(f"{GALLERY}/{picture}").status_code == 404


def test_search_star_and_collections(client: TestClient) -> None:
    theirs, ours = sorted(found(client, q="lighthouse"), key=lambda each: str(each["tool"]))
    assert (theirs["tool"], theirs["seed"], ours["tool"]) == ("AUTOMATIC1111", 42, "Easel")
    client.post(f"{GALLERY}/star", json={"ids": [theirs["id"]], "starred": True})
    assert [each["id"] for each in found(client, starred=True)] == [theirs["id"]]
    collection = client.post(f"{GALLERY}/collections", json={"name": "Coast"})
    assert collection.status_code == 201
    address = f"{GALLERY}/collections/{collection.json()['id']}"
    assert client.post(f"{address}/pictures", json={"ids": [theirs["id"], ours["id"]]}).status_code == 200
    assert client.put(address, json={"name": "Shore"}).json()["name"] == "Shore"
    facets = client.get(f"{GALLERY}/facets").json()
    assert facets["collections"] == [{"id": collection.json()["id"], "name": "Shore", "pictures": 2}]
    assert {"name": "deliberate_v2", "pictures": 1} in facets["checkpoints"]
    assert client.get(f"{GALLERY}/{ours['id']}").json()["collections"] == [collection.json()["id"]]
    assert client.delete(address).status_code == 200
    assert client.get(f"{GALLERY}/collections").json() == {"collections": []}


def test_details_say_everything_and_know_the_checkpoint(client: TestClient) -> None:
    theirs, ours = sorted(found(client, q="lighthouse"), key=lambda each: str(each["tool"]))
    info = client.get(f"{GALLERY}/{theirs['id']}").json()["info"]
    assert info["values"]["sampler"] == "Euler a"
    assert "checkpoint" not in info["values"]
    assert "deliberate_v2" in [each["value"] for each in info["unmapped"]]
    assert client.get(f"{GALLERY}/{ours['id']}").json()["info"]["values"]["checkpoint"] == "one"


def test_downloads(client: TestClient) -> None:
    ids = [each["id"] for each in found(client, q="lighthouse")]
    export = client.post(f"{GALLERY}/exports", json={"ids": ids}).json()
    answer = client.get(export["url"])
    assert answer.headers["content-type"] == "application/zip"
    assert sorted(zipfile.ZipFile(io.BytesIO(answer.content)).namelist()) == ["x.png", "y.png"]
    bare = client.get(f"{GALLERY}/{ids[0]}/bare")
    assert b"lighthouse" not in bare.content
    assert "42" not in bare.headers["content-disposition"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "?sort=best", None, 422),
        ("GET", "?cursor=..", None, 422),
        ("GET", "?limit=100000", None, 422),
        ("GET", "/nothing", None, 404),
        ("GET", "/nothing/thumbnail", None, 404),
        ("GET", "/..%2F..%2Fsecret/file", None, 404),
        ("GET", "/nothing/bare", None, 404),
        ("GET", "/exports/nothing", None, 404),
        ("POST", "/trash", {"ids": []}, 422),
        ("POST", "/trash", {"ids": ["nothing"]}, 200),
        ("POST", "/collections", {"name": ""}, 422),
        ("POST", "/collections/nothing/pictures", {"ids": ["x"]}, 404),
        ("PUT", "/collections/nothing", {"name": "x"}, 404),
    ],
)
@pytest.mark.row("F9")
def test_what_is_not_there_or_impossible_is_told(
    client: TestClient, method: str, path: str, body: object, status: int
) -> None:
    answer = client.request(method, GALLERY + path, json=body)
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]["text"]


def test_a_picture_and_a_text_tell_how_a_picture_was_made(client: TestClient) -> None:
    answer = client.post("/api/v1/picture-info", content=of_a1111("a lighthouse", 42)).json()
    assert (answer["tool"], answer["values"]["seed"], answer["told"]) == ("AUTOMATIC1111", 42, None)
    again = client.post("/api/v1/text-info", json={"text": answer["parameters"]}).json()
    assert again == answer
    ours = client.post("/api/v1/picture-info", content=of_easel(5, checkpoint="one")).json()
    assert (ours["tool"], ours["values"]["checkpoint"], ours["unmapped"]) == ("Easel", "one", [])
    named = client.post("/api/v1/text-info", json={"text": "x\nSteps: 3, Seed: 4, CFG scale: 5, Model: One"}).json()
    assert named["values"]["checkpoint"] == "one"


@pytest.mark.parametrize("field", ["Model", "Sampler", "Extensions"])
def test_half_a_character_in_a_text_is_replaced(client: TestClient, field: str) -> None:
    """JSON can spell it and no answer can hold it."""
    text = f'a lamp\nSteps: 20, CFG scale: 7, Seed: 1, {field}: "{{\\"a\\": \\"\\\\ud800 \\ud83d\\ude00 \\udfff\\"}}"'
    picture = of_text(text)
    answers = [
        client.post("/api/v1/picture-info", content=picture),
        client.post("/api/v1/text-info", json={"text": text}),
        client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(picture).decode()}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert all("\ufffd" in answer.text or "\\ufffd" in answer.text for answer in answers)
    assert "\U0001f600" in answers[0].json()["fields"][field]


def test_a_text_that_is_no_unicode_is_refused(client: TestClient) -> None:
    body = b'{"text": "half a character: \\ud800"}'
    answer = client.post("/api/v1/text-info", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_a_picture_that_says_nothing_and_a_file_that_is_none_are_told(client: TestClient, app: App) -> None:
    answer = client.post("/api/v1/picture-info", content=png(draw())).json()
    assert (answer["tool"], answer["values"]) == ("", {})
    assert "recognised" in answer["told"]["text"]
    plain = client.post("/api/v1/text-info", json={"text": "just a prompt"}).json()
    assert (plain["tool"], plain["values"]["prompt"]) == ("", "just a prompt")
    refused = client.post("/api/v1/picture-info", content=b"GIF89a")
    assert (refused.status_code, refused.json()["error"]["kind"]) == (422, "InvalidRequest")
    assert not list((app.settings.data_dir / "inputs").glob("*"))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "GIF")
    save(app.settings.outputs_dir / "theirs" / "z.gif", buffer.getvalue())
    [gif] = [each for each in found(client) if each["prompt"] == "" and each["width"] == 8]
    assert "recognised" in client.get(f"{GALLERY}/{gif['id']}").json()["info"]["told"]["text"]
