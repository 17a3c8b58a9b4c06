"""ControlNet and other extensions through AUTOMATIC1111's API, with the classes of its client `webuiapi` unchanged."""

import base64
import io
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from webuiapi import ControlNetUnit, WebUIApi

from tests.header_only import write_tensors
from webui.api import mount_api
from webui.app import App

SMALL = {"width": 64, "height": 64, "steps": 2}
BLACK, WHITE = Image.new("L", (64, 64), 0), Image.new("L", (64, 64), 255)


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    shapes = {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), "conv_in.weight": (320, 4, 3, 3)}
    folder = app.settings.models_dir / "controlnets"
    folder.mkdir(exist_ok=True)
    for name in ("canny", "tile"):
        write_tensors(folder / f"{name}.safetensors", shapes)
    app.refresh_models()
    fastapi = FastAPI()
    mount_api(fastapi, app)
    with TestClient(fastapi, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def api(client: TestClient) -> Iterator[WebUIApi]:
    """The real client at a real port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(client.app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield WebUIApi(port=listener.getsockname()[1])
        server.should_exit = True
        thread.join()


def drawing() -> Image.Image:
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste("black", (16, 16, 48, 48))
    return picture


def encoded(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def options(app: App) -> dict[str, Any]:
    found: dict[str, Any] = app.jobs(limit=1)[0]["request"]["extensions"]["controlnet"]
    return found


def model(app: App, name: str = "canny") -> str:
    return next(each for each in app.library.shelf("controlnets") if each.startswith(name))


# The client writes its units into a default argument that later calls share: hence alwayson_scripts={}.


def test_units_of_the_client_steer_a_picture(api: WebUIApi, app: App) -> None:
    first = ControlNetUnit(
        image=drawing(), module="canny", model=f"{model(app)} [0123abcd]", weight=0.8, control_mode=2
    )
    second = ControlNetUnit(image=drawing(), model=model(app, "tile"), resize_mode="Just Resize", guidance_end=0.5,
                            hr_option="Low res only", pixel_perfect=True)  # fmt: skip
    result = api.txt2img(prompt="x", controlnet_units=[first, second], seed=3, **SMALL, alwayson_scripts={})
    assert len(result.images) == 2, "the picture, and what canny made of the first unit's"
    told = options(app)
    assert (told["unit1_enabled"], told["unit1_preprocessor"], told["unit1_model"]) == (True, "canny", model(app))
    assert (told["unit1_weight"], told["unit1_control_mode"]) == (0.8, "ControlNet is more important")
    assert (told["unit1_resize_mode"], told["unit1_threshold_a"]) == ("Resize and fill", 64)
    assert (told["unit2_resize_mode"], told["unit2_end"], told["unit2_passes"]) == ("Just resize", 0.5, "Low res only")
    assert told["unit2_pixel_perfect"] is True
    assert app.inputs.read(told["unit1_image"])
    edges = result.images[1].convert("L").getextrema()
    assert edges == (0, 255)


def test_a_picture_to_begin_with_is_the_unit_s_where_it_has_none(api: WebUIApi, app: App) -> None:
    unit = ControlNetUnit(module="canny", model=model(app))
    result = api.img2img(images=[drawing()], controlnet_units=[unit], **SMALL, alwayson_scripts={})
    assert len(result.images) == 2
    assert "unit1_image" not in options(app)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ({"control_mode": 1}, {"unit1_control_mode": "My prompt is more important"}),
        ({"resize_mode": 2}, {"unit1_resize_mode": "Resize and fill"}),
        ({"resize_mode": "Scale to Fit (Inner Fit)", "weight": 0.5}, {"unit1_weight": 0.5}),
        ({"guidance": 0.4, "lowvram": True}, {"unit1_end": 0.4}),
        ({"processor_res": -1, "threshold_a": 999}, {}),
        ({"hr_option": "HiResFixOption.HIGH_RES_ONLY".replace("HIGH_RES_ONLY", "High res only")},
         {"unit1_passes": "High res only"}),
        ({"image": None, "input_image": encoded(BLACK.convert("RGB"))}, {}),
        ({"image": {"image": encoded(drawing()), "mask": encoded(BLACK)}}, {}),
    ],
)  # fmt: skip
def test_older_spellings_mean_the_same(
    client: TestClient, app: App, unit: dict[str, Any], expected: dict[str, Any]
) -> None:
    whole = {"image": encoded(drawing()), "model": model(app), **unit}
    body = {"alwayson_scripts": {"controlnet": {"args": [whole, {"enabled": False}]}}, **SMALL}
    answer = client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 200, answer.text
    told = options(app)
    assert told["unit1_enabled"] is True
    assert "unit2_enabled" not in told
    assert {name: told[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("scripts", "told"),
    [
        ({"ControlNet": {"args": [{"model": "nothing"}]}}, "canny"),
        ({"ControlNet": {"args": [{"model": "canny", "module": "openpose"}]}}, "softedge_gradient"),
        ({"ControlNet": {"args": [{"model": "canny", "control_mode": "Loud"}]}}, "Balanced"),
        ({"ControlNet": {"args": [{"model": "canny", "unheard_of": 1}]}}, "processor_res"),
        ({"ControlNet": {"args": [{"model": "canny", "loopback": True}]}}, "loopback"),
        ({"ControlNet": {"args": [{"model": "canny", "weight": 9}]}}, "weight"),
        ({"ControlNet": {"args": [{"model": "canny", "mask": encoded(WHITE)}]}}, "mask"),
        ({"ControlNet": {"args": [{"model": "canny"}] * 4}}, "3"),
        ({"ControlNet": {"args": [True]}}, "object"),
        ({"Dynamic Thresholding": {"args": [True]}}, "controlnet"),
        ({"Refiner": {"args": [True, "nothing", 0.8]}}, "one"),
        ({"Sampler": {"args": [1, 2, 3, 4, 5]}}, "schedule"),
        ({"ControlNet": {"args": "x"}}, "args"),
    ],
)
def test_what_no_extension_takes_is_refused_with_what_is_possible(
    client: TestClient, scripts: dict[str, Any], told: str
) -> None:
    answer = client.post("/sdapi/v1/txt2img", json={"alwayson_scripts": scripts, **SMALL})
    assert answer.status_code == 422
    assert told in answer.json()["detail"]


def test_scripts_that_are_fields_here_are_filled_in(client: TestClient, app: App) -> None:
    scripts = {
        "Sampler": {"args": [3, "Heun", "Karras"]},
        "Seed": {"args": [5, True, 9, 0.25]},
        "Comments": {"args": []},
        "Soft inpainting": {"args": [False]},
    }
    answer = client.post(
        "/sdapi/v1/txt2img", json={**SMALL, "alwayson_scripts": {k: v for k, v in scripts.items() if "oft" not in k}}
    )
    assert answer.status_code == 200, answer.text
    request = app.jobs(limit=1)[0]["request"]
    assert (request["num_inference_steps"], request["sampler"], request["schedule"]) == (3, "Heun", "Karras")
    assert (request["seed"], request["variation_seed"], request["variation_strength"]) == (5, 9, 0.25)
    soft = {"init_images": [encoded(drawing())], "mask": encoded(WHITE), **SMALL}
    answer = client.post(
        "/sdapi/v1/img2img", json={**soft, "alwayson_scripts": {"Soft inpainting": {"args": [True, 2.0]}}}
    )
    assert answer.status_code == 200, answer.text
    request = app.jobs(limit=1)[0]["request"]
    assert (request["soft_inpainting"], request["soft_schedule_bias"]) == (True, 2.0)


def test_the_lists_of_controlnet_are_those_that_clients_read(api: WebUIApi, client: TestClient, app: App) -> None:
    assert api.controlnet_version() >= 2
    assert api.controlnet_model_list() == list(app.library.shelf("controlnets"))
    assert {"none", "canny", "invert"} <= set(api.controlnet_module_list())
    detail = client.get("/controlnet/module_list").json()["module_detail"]["canny"]
    assert [slider["name"] for slider in detail["sliders"]] == [
        "Preprocessor Resolution", "Low threshold", "High threshold",
    ]  # fmt: skip
    assert client.get("/controlnet/settings").json() == {"control_net_unit_count": 3}
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert types["Canny"]["default_option"] == "canny"
    assert types["Canny"]["default_model"] == model(app)
    assert types["All"]["default_model"] == "None"


def test_the_client_sees_what_a_preprocessor_makes(api: WebUIApi, client: TestClient) -> None:
    result = api.controlnet_detect([drawing()], module="canny", processor_res=128, threshold_a=50, threshold_b=100)
    (edges,) = result.images
    assert (edges.size, edges.convert("L").getextrema(), result.info) == ((128, 128), (0, 255), "Success")
    picture = encoded(drawing())
    for body in (
        {"controlnet_module": "openpose", "controlnet_input_images": [picture]},
        {"controlnet_module": "canny"},
        {"controlnet_module": "inpaint_global_harmonious", "controlnet_input_images": [picture]},
        {"controlnet_module": "canny", "controlnet_input_images": ["nonsense!"]},
    ):
        answer = client.post("/controlnet/detect", json=body)
        assert answer.status_code == 422
        assert set(answer.json()) == {"error", "detail", "body", "errors"}


def test_scripts_are_listed_with_their_arguments(client: TestClient, api: WebUIApi) -> None:
    assert "controlnet" in api.get_scripts()["txt2img"]
    told = client.get("/sdapi/v1/script-info").json()
    (controlnet,) = [each for each in told if each["name"] == "controlnet" and not each["is_img2img"]]
    assert controlnet["is_alwayson"]
    assert {"label", "value", "minimum", "maximum", "step", "choices"} == set(controlnet["args"][0])


def test_while_the_extension_is_disabled_there_is_no_controlnet(client: TestClient, app: App) -> None:
    app.extensions.disable("controlnet")
    try:
        assert client.get("/controlnet/version").status_code == 404
        body = {"alwayson_scripts": {"controlnet": {"args": [{"model": "canny"}]}}, **SMALL}
        assert client.post("/sdapi/v1/txt2img", json=body).status_code == 422
    finally:
        app.extensions.enable("controlnet")
