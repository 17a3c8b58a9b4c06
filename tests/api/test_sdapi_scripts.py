"""Selectable scripts through AUTOMATIC1111's API, with a script of the test's own; the orders of the shipped ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.extensions.builder import trust
from tests.header_only import write_checkpoint
from tests.scripted_engine import ScriptedEngineFactory
from webui.api import mount_api
from webui.api.sdapi.generation import always_on
from webui.api.sdapi.scripts import options_of
from webui.app import App, create_app
from webui.errors import InvalidRequest, UnknownName
from webui.settings import Settings

SMALL = {"width": 64, "height": 64, "steps": 2, "seed": 5}
SCRIPT = """
from typing import Annotated

from webui.extension import Cell, Param, ScriptHooks, UserError, changed, options


@options
class Options:
    times: Annotated[int, Param(1, 9, label="Times", help="How often.")] = 2
    word: Annotated[str, Param(label="Word", help="What is added.")] = ""


class Script(ScriptHooks[Options]):
    kinds = ("txt2img",)

    def following(self, request, finished):
        if finished:
            return ()
        words = f"{request.prompt} {self.options.word}".strip()
        return [Cell(request=changed(request, prompt=words, seed=request.seed + n)) for n in range(self.options.times)]
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    home: Path = tmp_path_factory.mktemp("scripts")
    write_checkpoint(home / "models/checkpoints/one", title="One")
    folder = home / "extensions/repeat"
    folder.mkdir(parents=True)
    manifest = {"name": "repeat", "version": "1.0", "title": "Repeat It", "description": "Again and again."}
    lines = [f'{name} = "{value}"\n' for name, value in manifest.items()]
    (folder / "extension.toml").write_text("".join([*lines, "api = 1\n"]), "utf-8")
    (folder / "script.py").write_text(SCRIPT, "utf-8")
    trust(home, "repeat")
    folders: dict[str, Any] = {f"{name}_dir": home / name for name in ("data", "models", "outputs", "extensions")}
    app = create_app(Settings(**folders), engine_factory=ScriptedEngineFactory())
    app.start()
    yield app
    app.close()


@pytest.fixture(scope="module")
def client(app: App) -> TestClient:
    fastapi = FastAPI()
    mount_api(fastapi, app)
    return TestClient(fastapi, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "count", "prompt"), [([], 2, "x"), ([3, "y"], 3, "x y"), ([{"times": 1, "word": "z"}], 1, "x z")]
)
def test_a_script_makes_its_pictures_and_answers_all_of_them(
    client: TestClient, app: App, arguments: list[Any], count: int, prompt: str
) -> None:
    body = {"prompt": "x", "script_name": "repeat it", "script_args": arguments, **SMALL}
    answer = client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"]) == count
    assert float(answer.headers["x-process-time"]) > 0
    assert [job["request"]["prompt"] for job in app.jobs(limit=count)] == [prompt] * count


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"script_name": "no such"}, "repeat it"),
        ({"script_name": "Repeat It", "script_args": [1, "x", 3]}, "times, word"),
        ({"script_name": "Repeat It", "script_args": [100]}, "Times"),
        ({"script_name": "Repeat It", "script_args": [{"often": 1}]}, "times"),
        ({"script_name": "Repeat It", "script_args": [1, "raise"]}, "defect"),
    ],
)
def test_a_script_that_cannot_be_run_says_why(client: TestClient, body: dict[str, Any], told: str) -> None:
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", **SMALL, **body, "steps": 4})
    assert answer.status_code in (422, 500)
    assert told in answer.json()["detail"] or answer.json()["error"] == "JobFailed"


def test_scripts_are_listed_by_title_with_their_arguments(client: TestClient) -> None:
    listed = client.get("/sdapi/v1/scripts").json()
    assert "repeat it" in listed["txt2img"]
    assert "repeat it" not in listed["img2img"]
    (told,) = [each for each in client.get("/sdapi/v1/script-info").json() if each["name"] == "repeat it"]
    assert (told["is_alwayson"], told["is_img2img"]) == (False, False)
    assert [argument["label"] for argument in told["args"]] == ["Times", "Word"]
    assert told["args"][0] == {"label": "Times", "value": 2, "minimum": 1, "maximum": 9, "step": None, "choices": None}


def test_arguments_in_automatic1111s_order_become_named_options() -> None:
    plot = ["Steps", "2,3", [], "Sampler", "", ["Euler", "Heun"], 0, "", None, True, False, False, True]
    assert options_of("X/Y/Z plot", (), plot) == {
        "x_axis": "Steps", "x_values": "2,3", "y_axis": "Sampler", "y_values": "Euler, Heun", "z_axis": "",
        "z_values": "", "draw_legend": True, "include_sub_grids": False, "keep_open_seeds": True,
    }  # fmt: skip
    assert options_of("Loopback", (), [3, 0.4, "Lazy", "None"]) == {"loops": 3, "final_strength": 0.4, "curve": "Lazy"}
    assert options_of("SD upscale", (), [None, 32, "Lanczos", 2.0]) == {
        "overlap": 32,
        "upscaler": "Lanczos",
        "scale": 2.0,
    }
    for title, arguments, told in (
        ("X/Y/Z plot", [4], "Name the axis"),
        ("Loopback", [3, 0.4, "Lazy", "CLIP"], "script_args of Loopback"),
        ("Loopback", [1, 1, 1, 1, 1], "takes 4 arguments"),
    ):
        with pytest.raises(InvalidRequest, match=told):
            options_of(title, (), arguments)


@pytest.mark.parametrize("path", ["train/embedding", "create/hypernetwork", "unload-checkpoint", "server-restart"])
def test_what_is_done_in_another_way_says_in_which(client: TestClient, path: str) -> None:
    answer = client.post(f"/sdapi/v1/{path}", json={})
    assert answer.status_code == 501
    assert path in answer.json()["detail"]


def test_what_describes_pictures_names_the_weights_that_are_missing(client: TestClient) -> None:
    answer = client.post("/sdapi/v1/interrogate", json={"image": "", "model": "clip"})
    assert (answer.status_code, "model_base_caption" in answer.json()["detail"]) == (501, True)
    assert client.post("/sdapi/v1/interrogate", json={"image": "", "model": "x"}).status_code == 422


def test_what_a_flag_switches_off_has_no_effect(client: TestClient, app: App) -> None:
    names = always_on(app)
    assert names.values({"Refiner": {"args": [False, "x", 0.8]}}) == {}
    assert names.values({"Refiner": {"args": [True, "None", 0.8]}}) == {"refiner": "", "refiner_switch_at": 0.8}
    assert names.values({"Refiner": {"args": [True, "one [0123456789]", 0.7]}})["refiner"] == "one"
    with pytest.raises(UnknownName):
        names.values({"Refiner": {"args": [True, "nothing", 0.8]}})
    assert names.values({"Seed": {"args": [5, False, 6, 0.5, 512, 512]}}) == {"seed": 5}
    assert names.values({"Seed": {"args": [5, True, 6, 0.5]}}) == {
        "seed": 5, "variation_seed": 6, "variation_strength": 0.5,
    }  # fmt: skip


def test_arguments_that_are_lists_are_lists_and_keep_their_commas() -> None:
    names = ("x_axis", "x_values")
    plot = ["Prompt S/R", "", ["a, b", "c"]]
    assert options_of("X/Y/Z plot", names, plot) == {"x_axis": "Prompt S/R", "x_values": '"a, b", c'}
    with pytest.raises(InvalidRequest):
        options_of("X/Y/Z plot", names, ["Steps", "", 5])


def test_the_info_tells_the_words_that_were_drawn(client: TestClient) -> None:
    body = {"prompt": "a {red|blue|green} cat", "seed": 1, "n_iter": 4, "steps": 2, "width": 64, "height": 64}
    info = json.loads(client.post("/sdapi/v1/txt2img", json=body).json()["info"])
    assert len(info["all_prompts"]) == 4
    assert not [prompt for prompt in info["all_prompts"] if "{" in prompt]
    assert info["prompt"] == info["all_prompts"][0]
