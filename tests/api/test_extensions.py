"""Extensions over HTTP: who may decide what, and options from a request to the queue."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.extensions.builder import UI_EXAMPLE, trust
from tests.extensions.test_desk import light, replace_in, zipped
from tests.header_only import write_checkpoint
from tests.scripted_engine import ScriptedEngineFactory
from webui.api import mount_api
from webui.app import App, create_app
from webui.settings import Settings

V1 = "/api/v1/extensions"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extensions")
    (folder / "extensions").mkdir()
    write_checkpoint(folder / "models/checkpoints/one", title="One")
    return folder


@pytest.fixture(scope="module")
def app(home: Path) -> Iterator[App]:
    settings = Settings(
        data_dir=home / "data", models_dir=home / "models", outputs_dir=home / "outputs",
        extensions_dir=home / "extensions",
    )  # fmt: skip
    app = create_app(settings, engine_factory=ScriptedEngineFactory())
    app.start()
    yield app
    app.close()


@pytest.fixture(scope="module")
def client(app: App) -> TestClient:
    fastapi = FastAPI()
    mount_api(fastapi, app)
    return TestClient(fastapi, raise_server_exceptions=False)


@pytest.fixture
def operator(app: App) -> dict[str, str]:
    return {"X-Easel-Operator": app.settings.operator_token}


def test_only_the_operator_installs_enables_updates_and_removes(client: TestClient, home: Path):
    light(home / "extensions" / "film_grain")
    asked = [
        ("POST", V1, {"json": {"source": str(home)}}),
        ("POST", f"{V1}/upload", {"content": b"x"}),
        ("POST", f"{V1}/film_grain/enable", {}),
        ("POST", f"{V1}/film_grain/update", {}),
        ("GET", f"{V1}/film_grain/requirements", {}),
        ("POST", f"{V1}/film_grain/requirements", {}),
        ("DELETE", f"{V1}/film_grain", {}),
    ]
    for method, path, more in asked:
        for headers in ({}, {"X-Easel-Operator": "guess"}):
            answer = client.request(method, path, headers=headers, **more)
            assert (answer.status_code, answer.json()["error"]["kind"]) == (403, "NotOperator"), path
    assert client.post(f"{V1}/film_grain/disable").status_code == 200, "whoever may draw may switch off"


def test_an_extension_lives_from_upload_to_removal(client: TestClient, home: Path, operator: dict[str, str]):
    folder = light(home / "sand", ui=UI_EXAMPLE)
    archive = zipped(folder, home / "sand.zip").read_bytes()
    review = client.post(f"{V1}/upload", content=archive, headers=operator)
    assert review.status_code == 201
    assert review.json()["enabled"] is False
    assert client.get(f"{V1}/sand").json()["digest"] == review.json()["digest"]
    replace_in(folder / "extension.toml", '"1.0"', '"1.1"')
    archive = zipped(folder, home / "sand.zip").read_bytes()
    assert client.post(f"{V1}/upload", content=archive, headers=operator).status_code == 409
    updated = client.post(f"{V1}/upload?name=sand", content=archive, headers=operator)
    assert updated.json()["version"] == "1.1"
    assert client.delete(f"{V1}/sand", headers=operator).json() == {"name": "sand"}
    assert "sand" not in [card["name"] for card in client.get(V1).json()["extensions"]]


def test_a_hostile_upload_is_refused_in_words(client: TestClient, operator: dict[str, str]):
    answer = client.post(f"{V1}/upload", content=b"no zip at all", headers=operator)
    assert answer.status_code == 422
    assert "damaged or no .zip" in answer.json()["error"]["text"]


def test_options_are_listed_checked_and_reach_the_job(client: TestClient, home: Path):
    light(home / "extensions" / "film_grain")
    trust(home, "film_grain")
    listed = client.get("/api/v1/parameters/txt2img").json()["extensions"]
    assert [option["name"] for option in listed["film_grain"]] == ["amount"]
    assert (listed["film_grain"][0]["minimum"], listed["film_grain"][0]["maximum"]) == (0.0, 1.0)

    def submit(options: object) -> dict[str, object]:
        values = {"prompt": "x", "extensions": {"film_grain": options}}
        answer: dict[str, object] = client.post("/api/v1/jobs", json={"kind": "txt2img", "values": values}).json()
        return answer

    assert submit({"amount": 0.5})["request"]["extensions"] == {"film_grain": {"amount": 0.5}}  # type: ignore[index]
    assert submit({"amount": 0})["request"]["extensions"] == {}  # type: ignore[index]
    assert "from 0.0 to 1.0" in str(submit({"amount": 7})["error"])
    assert "Known: amount" in str(submit({"size": 7})["error"])


def test_a_job_that_waits_survives_the_removal_of_its_extension(client: TestClient, app: App, home: Path):
    light(home / "extensions" / "film_grain")
    trust(home, "film_grain")
    values = {"prompt": "x", "extensions": {"film_grain": {"amount": 0.5}}}
    job = client.post("/api/v1/jobs", json={"kind": "txt2img", "values": values}).json()
    app.extensions.disable("film_grain")
    deadline = time.monotonic() + 60
    while (state := client.get(f"/api/v1/jobs/{job['id']}").json()["state"]) in ("queued", "running"):
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    assert state == "done"
