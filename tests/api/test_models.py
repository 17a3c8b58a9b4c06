"""/api/v1/models: looking, keeping, and what only the operator may do."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.header_only import LORA, write_tensors
from webui.app import App

ODD = "a b&c#?%20"


@pytest.fixture(scope="module")
def lora(app: App) -> Path:
    path = write_tensors(app.settings.models_dir / "loras" / f"{ODD}.safetensors", LORA)
    app.refresh_models()
    return path


def named(**more: object) -> dict[str, Any]:
    return {"params": {"name": ODD}, **more}


def test_models_are_searched_and_told_of(client: TestClient, lora: Path) -> None:
    found = client.get("/api/v1/models/search", params={"q": "B&C", "shelf": "loras"}).json()
    assert [model["name"] for model in found["models"]] == [ODD]
    told = client.get("/api/v1/models/loras/passport", **named()).json()
    assert (told["kind"], told["family"], told["precision"]) == ("lora", "sd1", "fp16")
    assert client.get("/api/v1/models/search", params={"sort": "x"}).status_code == 422
    assert client.get("/api/v1/models/loras/passport", params={"name": "../x"}).status_code == 404


def test_notes_and_defaults_are_kept(client: TestClient, lora: Path) -> None:
    kept = client.put("/api/v1/models/loras/notes", **named(json={"notes": "n", "tags": ["t"]})).json()
    assert (kept["notes"], kept["tags"]) == ("n", ["t"])
    answer = client.put(
        "/api/v1/models/checkpoints/defaults", params={"name": "one"}, json={"values": {"clip_skip": 2}}
    )
    assert answer.json()["kept_defaults"] == {"clip_skip": 2}
    listed = client.get("/api/v1/checkpoints").json()["checkpoints"]
    assert next(each for each in listed if each["name"] == "one")["defaults"] == {
        "width": 128, "height": 128, "guidance_scale": 3.0, "clip_skip": 2,
    }  # fmt: skip
    assert client.put("/api/v1/models/loras/defaults", **named(json={"values": {}})).status_code == 422
    client.put("/api/v1/models/checkpoints/defaults", params={"name": "one"}, json={})


def test_a_preview_needs_a_picture_of_the_gallery(client: TestClient, lora: Path) -> None:
    assert client.put("/api/v1/models/loras/preview", **named(json={"picture": "nothing"})).status_code == 404


def test_hashes_are_made_on_demand(client: TestClient, lora: Path) -> None:
    state = client.post("/api/v1/models/loras/hash", **named()).json()
    assert state.keys() == {"sha256", "done", "total", "problem"}
    assert client.get("/api/v1/models/loras/hash", params={"name": "nothing"}).status_code == 404


def test_only_the_operator_throws_models_away(client: TestClient, app: App, lora: Path) -> None:
    assert client.post("/api/v1/models/loras/trash", **named()).status_code == 403
    assert lora.exists()
    operator = {"X-Easel-Operator": app.settings.operator_token}
    thrown = client.post("/api/v1/models/loras/trash", **named(headers=operator)).json()["id"]
    assert not lora.exists()
    assert client.post("/api/v1/models/restore", json={"id": thrown}).status_code == 403
    assert [each["name"] for each in client.get("/api/v1/models/trash", headers=operator).json()["trash"]] == [ODD]
    assert client.post("/api/v1/models/restore", json={"id": thrown}, headers=operator).status_code == 200
    assert lora.exists()


def test_impossible_merges_are_refused_before_they_are_queued(client: TestClient) -> None:
    answer = client.post(
        "/api/v1/jobs", json={"kind": "merge-models", "values": {"primary": "one", "secondary": "two"}}
    )
    assert answer.status_code == 422
    assert "Known: one" in answer.json()["error"]["text"]
