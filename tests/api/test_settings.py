"""/settings and /system: everything explains itself, changes hold at once, and a network needs the operator."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.header_only import write_checkpoint
from tests.scripted_engine import ScriptedEngineFactory
from webui.api import mount_api
from webui.app import App, create_app
from webui.options import GROUPS, Options
from webui.settings import Settings

V1 = "/api/v1"


def change(client: TestClient, **values: Any) -> Any:
    answer = client.patch(f"{V1}/settings", json={"values": values})
    assert answer.status_code == 200, answer.text
    return {each["name"]: each["value"] for each in answer.json()["settings"]}


@pytest.fixture(autouse=True)
def as_at_first(app: App) -> Iterator[None]:
    yield
    app.options.change(**Options().for_page())


def drawn(client: TestClient, app: App, **values: Any) -> dict[str, Any]:
    """A finished job."""
    body = {"kind": "txt2img", "values": {"width": 64, "height": 64, "num_inference_steps": 4, **values}}
    answer = client.post(f"{V1}/jobs", json=body)
    assert answer.status_code in (200, 201, 202), answer.text
    deadline = time.monotonic() + 60
    while (job := app.job(answer.json()["id"]))["state"] not in ("done", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert job["state"] == "done", job
    return job


def test_every_setting_is_told_with_words_limits_and_default(client: TestClient) -> None:
    told = {each["name"]: each for each in client.get(f"{V1}/settings").json()["settings"]}
    assert list(told) == [name for names in GROUPS.values() for name in names]
    assert told["picture_quality"] | {"help": ""} == {
        "name": "picture_quality", "group": "saving", "type": "integer", "label": "Quality", "help": "", "value": 80,
        "default": 80, "minimum": 1, "maximum": 100, "step": 1, "choices": None, "suggestions": None,
    }  # fmt: skip
    assert told["theme"]["choices"] == ["system", "light", "dark"]
    assert told["hidden_tabs"]["type"] == "names"


def test_a_change_holds_and_is_told_to_every_page(client: TestClient, app: App) -> None:
    pages = app.hub.subscribe()
    assert change(client, theme="dark", hidden_tabs=["train"])["hidden_tabs"] == ["train"]
    assert app.options.current.theme == "dark"
    while (frame := pages.get(timeout=10)) is not None and frame["kind"] != "options":
        pass
    assert frame is not None
    assert frame["options"]["theme"] == "dark"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"picture_quality": 0}, "a whole number from 1 to 100"),
        ({"picture_quality": "80"}, "a whole number"),
        ({"hidden_tabs": "train"}, "a list of names"),
        ({"hidden_tabs": ["settings"]}, "Known: img2img"),
        ({"file_pattern": "[sed]"}, "Known: seed"),
        ({"default_checkpoint": "two"}, "Known: one"),
        ({"nothing": 1}, "Unknown field 'nothing'"),
        ({"sound": None}, "true or false"),
    ],
)
def test_a_wrong_value_is_a_sentence_and_changes_nothing(
    client: TestClient, app: App, values: dict[str, Any], says: str
) -> None:
    answer = client.patch(f"{V1}/settings", json={"values": {"theme": "dark", **values}})
    assert answer.status_code == 422
    assert says in answer.json()["error"]["text"]
    assert app.options.current == Options()


def test_pictures_are_saved_as_it_is_set(client: TestClient, app: App) -> None:
    change(client, picture_format="JPEG", folder_pattern="[model_name]", file_pattern="[prompt_words]")
    job = drawn(client, app, prompt="빨간 사과", checkpoint="one")
    answer = client.get(job["pictures"][0]["url"])
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content.startswith(b"\xff\xd8\xff")
    assert "%EB%B9%A8%EA%B0%84%20%EC%82%AC%EA%B3%BC.jpg" in answer.headers["content-disposition"]
    assert [path.name for path in (app.settings.outputs_dir / "one").iterdir()] == ["00001-빨간 사과.jpg"]


def test_without_live_previews_no_job_draws_any(client: TestClient, app: App) -> None:
    assert drawn(client, app, preview="Full")["request"]["preview"] == "Full"
    change(client, live_previews=False)
    assert drawn(client, app, preview="Full")["request"]["preview"] == "Off"


def test_the_engines_are_told_what_they_are_to_keep(client: TestClient, app: App) -> None:
    told = []
    worker = app.scheduler.workers[0]
    worker.tune = told.append  # type: ignore[method-assign]
    try:
        change(client, model_memory=20, preview_every=5)
    finally:
        del worker.tune  # type: ignore[method-assign]
    assert [(tuning.model_memory, tuning.preview_every) for tuning in told] == [(0.2, 5)]


@pytest.mark.parametrize(
    ("theirs", "value", "ours"),
    [
        ("samples_format", "webp", {"picture_format": "WebP"}),
        ("jpeg_quality", 33, {"picture_quality": 33}),
        ("webp_lossless", True, {"webp_lossless": True}),
        ("enable_pnginfo", False, {"write_metadata": False}),
        ("directories_filename_pattern", "[model_name]", {"folder_pattern": "[model_name]"}),
        ("samples_filename_pattern", "[seed]-[cfg]", {"file_pattern": "[seed]-[cfg]"}),
        ("save_images_add_number", False, {"number_files": False}),
        ("live_previews_enable", False, {"live_previews": False}),
        ("show_progress_every_n_steps", 4, {"preview_every": 4}),
        ("show_progress_in_title", False, {"title_progress": False}),
        ("disable_token_counters", True, {"count_tokens": False}),
        ("localization", "ko", {"language": "ko"}),
        ("localization", "None", {"language": "browser"}),
        ("hidden_tabs", ["Train"], {"hidden_tabs": ("train",)}),
        ("hidden_tabs", ["Models"], {"hidden_tabs": ("models",)}),
        ("quicksettings_list", ["sd_model_checkpoint", "sd_vae"], {"quick_settings": ("vae",)}),
        ("keyedit_precision_attention", 0.2, {"weight_step": 0.2}),
        ("keyedit_precision_extra", 0.2, {"tag_weight_step": 0.2}),
        ("send_seed", False, {"send_seed": False}),
        ("send_size", False, {"send_size": False}),
    ],
)
def test_automatic1111s_names_mean_the_same_settings(
    client: TestClient, app: App, theirs: str, value: object, ours: dict[str, Any]
) -> None:
    assert client.post("/sdapi/v1/options", json={theirs: value}).status_code == 200
    assert {name: getattr(app.options.current, name) for name in ours} == ours
    assert client.get("/sdapi/v1/options").json()[theirs] == value


@pytest.mark.parametrize(
    "body", [{"nothing": 1}, {"samples_format": "bmp"}, {"jpeg_quality": 300, "localization": "ko"}, {"hidden_tabs": 3}]
)
def test_what_automatic1111s_clients_get_wrong_changes_nothing(client: TestClient, app: App, body: Any) -> None:
    assert client.post("/sdapi/v1/options", json=body).status_code == 422
    assert app.options.current == Options()


# The System tab.


def test_the_system_tells_of_machine_engines_and_jobs(client: TestClient, app: App) -> None:
    job = drawn(client, app)
    told = client.get(f"{V1}/system").json()
    assert told["versions"]["Easel"]
    assert 0 < told["memory"]["server"] < told["memory"]["total"]
    assert told["memory"]["engines"][0] > 0
    assert {place["name"] for place in told["folders"]} == {"models", "outputs", "data", "extensions"}
    assert told["workers"][0]["attention"] == "none"
    assert told["jobs"][0]["id"] == job["id"]
    assert told["jobs"][0]["timings"]["total"] >= 0


def test_the_log_is_told_from_its_end(client: TestClient, app: App) -> None:
    logs = app.settings.data_dir / "logs"
    logs.mkdir(exist_ok=True)
    (logs / "easel.log").write_text("\n".join(f"line {n}" for n in range(50_000)))
    assert client.get(f"{V1}/system/log?lines=2").json() == {"lines": ["line 49998", "line 49999"]}


def test_unloading_gives_the_checkpoint_back_and_restarting_makes_a_new_process(client: TestClient, app: App) -> None:
    drawn(client, app)
    worker = app.scheduler.workers[0]
    client.post(f"{V1}/system/unload")
    deadline = time.monotonic() + 30
    while app.status()["workers"][0]["checkpoint"] is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    before = worker.pid
    client.post(f"{V1}/system/restart")
    while worker.pid in (None, before):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    drawn(client, app)


# Open to a network.


@pytest.fixture
def exposed(tmp_path: Path) -> Iterator[tuple[App, TestClient]]:
    write_checkpoint(tmp_path / "models/checkpoints/one")
    folders: dict[str, Any] = {f"{name}_dir": tmp_path / name for name in ("data", "models", "outputs")}
    app = create_app(Settings(**folders, listen=True), engine_factory=ScriptedEngineFactory())
    fastapi = FastAPI()
    mount_api(fastapi, app)
    yield app, TestClient(fastapi)
    app.close()


def test_with_listen_changes_need_the_operators_token(exposed: tuple[App, TestClient]) -> None:
    app, client = exposed
    body = {"values": {"theme": "dark"}}
    operator = {"X-Easel-Operator": app.settings.operator_token}
    assert client.patch(f"{V1}/settings", json=body).status_code == 403
    assert client.patch(f"{V1}/settings", json=body, headers={"X-Easel-Operator": b"\xfc"}).status_code == 403
    assert client.post("/sdapi/v1/options", json={"localization": "ko"}).status_code == 403
    for method, path in (("POST", "restart"), ("POST", "unload"), ("GET", "log"), ("GET", "report")):
        assert client.request(method, f"{V1}/system/{path}").status_code == 403, path
    assert app.options.current == Options()
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "one"}).status_code == 200
    assert client.get(f"{V1}/settings").json()["needs_operator"] is True
    assert client.patch(f"{V1}/settings", json=body, headers=operator).status_code == 200
    assert client.post("/sdapi/v1/options", json={"localization": "ko"}, headers=operator).status_code == 200
    assert json.loads((app.settings.data_dir / "options.json").read_text())["theme"] == "dark"
