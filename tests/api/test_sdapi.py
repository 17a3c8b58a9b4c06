"""AUTOMATIC1111's API, driven by the client that its users have (webuiapi from PyPI), unchanged."""

import asyncio
import base64
import io
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from webuiapi import WebUIApi

from tests.header_only import write_checkpoint
from webui.api import mount_api
from webui.api.sdapi.names import checkpoint_named
from webui.app import App
from webui.metadata import encode_png, infotext
from webui.requests import TextToImage


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    fastapi = FastAPI()
    mount_api(fastapi, app)
    with TestClient(fastapi, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def api(app: App) -> Iterator[WebUIApi]:
    """The real client at a real port."""
    fastapi = FastAPI()
    mount_api(fastapi, app)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(fastapi, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield WebUIApi(port=listener.getsockname()[1])
        server.should_exit = True
        thread.join()


def picture(size: tuple[int, int] = (64, 64), colour: str = "red") -> Image.Image:
    return Image.new("RGB", size, colour)


def encoded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


SMALL = {"width": 64, "height": 64, "steps": 2}


@pytest.mark.row("A7")
def test_the_client_draws_from_words(api: WebUIApi, app: App) -> None:
    result = api.txt2img(prompt="a cat", negative_prompt="dog", seed=5, cfg_scale=6.5, n_iter=2, **SMALL)
    assert [image.size for image in result.images] == [(64, 64), (64, 64)]
    info = result.info
    assert (info["seed"], info["all_seeds"], info["cfg_scale"], info["steps"]) == (5, [5, 6], 6.5, 2)
    assert (info["prompt"], info["negative_prompt"], len(info["infotexts"])) == ("a cat", "dog", 2)
    assert result.parameters["prompt"] == "a cat"
    assert app.jobs(limit=1)[0]["request"]["sampler"] == "Euler a"


@pytest.mark.row("A7")
def test_the_client_draws_several_at_once(api: WebUIApi) -> None:
    async def both() -> list[Any]:
        jobs = [api.txt2img(prompt=prompt, use_async=True, **SMALL) for prompt in ("one", "two")]
        return list(await asyncio.gather(*jobs))

    assert [result.info["prompt"] for result in asyncio.run(both())] == ["one", "two"]


def test_defaults_are_those_of_the_api_and_not_of_the_page(client: TestClient, app: App) -> None:
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "width": 64, "height": 64}).json()
    assert (answer["parameters"]["steps"], answer["parameters"]["cfg_scale"]) == (50, 7.0)
    assert app.jobs(limit=1)[0]["request"]["sampler"] == "Euler"


@pytest.mark.row("A7")
def test_the_client_draws_from_a_picture(api: WebUIApi, app: App) -> None:
    result = api.img2img(images=[picture((96, 64))], prompt="a cat", denoising_strength=0.4, resize_mode=1, **SMALL)
    assert len(result.images) == 1
    job = app.jobs(limit=1)[0]
    assert (job["kind"], job["request"]["strength"], job["request"]["resize_mode"]) == (
        "img2img",
        0.4,
        "Crop and resize",
    )
    assert result.parameters["init_images"] is None, "pictures are not echoed"


@pytest.mark.row("A7")
def test_the_client_paints_into_a_mask(api: WebUIApi, app: App) -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(200, (0, 0, 32, 64))
    api.img2img(images=[picture()], mask_image=mask, inpainting_fill=2, inpainting_mask_invert=1, prompt="x", **SMALL)
    request = app.jobs(limit=1)[0]["request"]
    assert request["masked_content"] == "latent noise"
    assert request["mask_mode"] == "Inpaint not masked"
    assert request["inpaint_area"] == "Only masked", "the API's default"
    with Image.open(io.BytesIO(app.inputs.read(request["mask"]))) as kept:
        assert kept.getpixel((0, 0)) == (255, 255, 255), "200 is more than half and becomes white"


def test_a_mask_may_lie_in_the_alpha_channel_and_have_another_size(client: TestClient, app: App) -> None:
    mask = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (0, 0, 16, 32))
    body = {"init_images": [encoded(picture())], "mask": "data:image/png;base64," + encoded(mask), **SMALL}
    assert client.post("/sdapi/v1/img2img", json=body).status_code == 200
    with Image.open(io.BytesIO(app.inputs.read(app.jobs(limit=1)[0]["request"]["mask"]))) as kept:
        assert kept.size == (64, 64)
        assert (kept.getpixel((31, 0)), kept.getpixel((32, 0))) == ((255,) * 3, (0,) * 3)


def test_a_second_pass_a_variation_and_a_refiner_are_translated(api: WebUIApi, app: App, client: TestClient) -> None:
    api.txt2img(
        prompt="x", enable_hr=True, hr_scale=1.5, hr_upscaler="Latent (bicubic)", hr_second_pass_steps=3,
        denoising_strength=0.6, hr_scheduler="karras", hr_prompt="y", subseed=9, subseed_strength=0.25, tiling=True,
        seed_resize_from_w=128, seed_resize_from_h=192, **SMALL,
    )  # fmt: skip
    request = app.jobs(limit=1)[0]["request"]
    assert (request["hires"], request["hires_scale"], request["hires_upscaler"]) == (True, 1.5, "Latent (bicubic)")
    assert (request["hires_steps"], request["hires_strength"], request["hires_prompt"]) == (3, 0.6, "y")
    assert (request["hires_sampler"], request["hires_schedule"]) == ("Use same sampler", "Karras")
    assert (request["variation_seed"], request["variation_strength"], request["tiling"]) == (9, 0.25, True)
    assert (request["seed_resize_width"], request["seed_resize_height"]) == (128, 192)
    refined = {"prompt": "x", "refiner_checkpoint": "one", "refiner_switch_at": 0.6, **SMALL}
    assert client.post("/sdapi/v1/txt2img", json=refined).status_code == 200
    request = app.jobs(limit=1)[0]["request"]
    assert (request["refiner"], request["refiner_switch_at"]) == ("one", 0.6)
    wrong = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "enable_hr": True, "hr_upscaler": "No Such", **SMALL})
    assert wrong.status_code == 422
    assert "Lanczos" in wrong.json()["detail"]


@pytest.mark.row("A7")
def test_the_client_enlarges_pictures(api: WebUIApi, app: App) -> None:
    assert len(api.extra_single_image(picture(), upscaler_1="Lanczos", upscaling_resize=3).images) == 1
    request = app.jobs(limit=1)[0]["request"]
    assert (request["upscaler"], request["scale"], request["size_mode"]) == ("Lanczos", 3, "Scale by")
    several = api.extra_batch_images([picture(), picture(colour="blue")], upscaler_1="Nearest", resize_mode=1)
    assert len(several.images) == 2
    with pytest.raises(RuntimeError, match="Lanczos"):
        api.extra_single_image(picture(), upscaler_1="R-ESRGAN 4x+")
    with pytest.raises(RuntimeError, match="gfpgan"):
        api.extra_single_image(picture(), gfpgan_visibility=0.5)


def test_styles_settings_and_an_infotext_count(client: TestClient, app: App) -> None:
    client.put("/api/v1/styles", json={"name": "oil", "prompt": "oil of {prompt}"})
    body = {
        "prompt": "x", "styles": ["oil"], "steps": 3, "width": 64, "height": 64,
        "override_settings": {"sd_model_checkpoint": "ONE", "CLIP_stop_at_last_layers": 2},
        "infotext": "y\nSteps: 9, Sampler: Heun, CFG scale: 4.5, Seed: 77, Size: 128x128",
    }  # fmt: skip
    assert client.post("/sdapi/v1/txt2img", json=body).status_code == 200
    request = app.jobs(limit=1)[0]["request"]
    assert (request["prompt"], request["checkpoint"], request["clip_skip"]) == ("oil of x", "one", 2)
    assert (request["num_inference_steps"], request["width"]) == (3, 64), "what the client names comes first"
    assert (request["sampler"], request["seed"], request["guidance_scale"]) == ("Heun", 77, 4.5)


def test_an_infotext_fills_only_what_the_client_did_not_name(client: TestClient, app: App) -> None:
    text = (
        "y\nSteps: 9, Sampler: Heun, CFG scale: 4.5, Seed: 77, Size: 64x64, Model: one, Denoising strength: 0.4, "
        "Hires upscale: 1.5, Hires steps: 2, Hires upscaler: Latent"
    )
    assert client.post("/sdapi/v1/txt2img", json={"infotext": text, "hr_second_pass_steps": 4}).status_code == 200
    request = app.jobs(limit=1)[0]["request"]
    assert (request["prompt"], request["hires"], request["hires_scale"]) == ("y", True, 1.5)
    assert (request["hires_strength"], request["hires_steps"]) == (0.4, 4)
    begun = "y\nSteps: 9, Sampler: Heun, Seed: 77, Size: 64x64, Denoising strength: 0.4, Mask blur: 9"
    body = {"init_images": [encoded(picture())], "mask": encoded(picture()), "infotext": begun, "steps": 2}
    assert client.post("/sdapi/v1/img2img", json=body).status_code == 200
    request = app.jobs(limit=1)[0]["request"]
    assert (request["strength"], request["mask_blur"], request["num_inference_steps"]) == (0.4, 9, 2)
    away = {"infotext": "y\nSteps: 9, Sampler: Heun, Seed: 7, Model: elsewhere"}
    assert "one" in client.post("/sdapi/v1/txt2img", json=away).json()["detail"]
    named = {**away, "override_settings": {"sd_model_checkpoint": "one"}, **SMALL}
    assert client.post("/sdapi/v1/txt2img", json=named).status_code == 200, "the client says which instead"


def test_pictures_in_base64_may_have_line_breaks(client: TestClient) -> None:
    broken = base64.encodebytes(base64.b64decode(encoded(picture()))).decode()
    assert client.post("/sdapi/v1/img2img", json={"init_images": [broken], **SMALL}).status_code == 200


def test_arguments_of_scripts_that_do_not_run_cost_no_picture(client: TestClient) -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "script_args": deep, **SMALL})
    assert (answer.status_code, len(answer.json()["images"])) == (200, 1)


def test_a_checkpoint_s_name_may_hold_brackets(app: App) -> None:
    write_checkpoint(app.settings.checkpoints_dir / "dream [v8]", title="Dream")
    app.refresh_models()
    try:
        assert checkpoint_named(app.library, "dream [v8]") == "dream [v8]"
        assert checkpoint_named(app.library, "dream [v8] [0123456789]") == "dream [v8]"
    finally:
        shutil.rmtree(app.settings.checkpoints_dir / "dream [v8]")
        app.refresh_models()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"sampler_name": "Nonsense"}, "DPM++ 2M"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"restore_faces": True}, "restore_faces"),
        ({"override_settings": {"nothing": 1}}, "CLIP_stop_at_last_layers"),
        ({"override_settings": {"sd_model_checkpoint": "no such"}}, "one"),
        ({"alwayson_scripts": {"Some Script": {"args": [True]}}}, "Some Script"),
        ({"width": 100_000}, "2,048"),
        ({"steps": "many"}, "steps"),
        ({"styles": ["no such"]}, "no such"),
    ],
)
@pytest.mark.row("A7")
def test_what_is_not_possible_is_refused_and_says_what_is(client: TestClient, body: dict[str, Any], told: str) -> None:
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", **body})
    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert set(answer.json()) == {"error", "detail", "body", "errors"}


@pytest.mark.parametrize(
    "images", [None, [], ["nonsense!"], ["http://127.0.0.1/x.png"], [base64.b64encode(b"GIF89a").decode()]]
)
@pytest.mark.row("U1")
def test_a_picture_that_is_none_is_refused(client: TestClient, images: list[str] | None) -> None:
    answer = client.post("/sdapi/v1/img2img", json={"init_images": images, **SMALL})
    assert answer.status_code in (404, 422)
    assert answer.json()["detail"]


def test_progress_tells_the_step_and_shows_the_preview_and_interrupt_ends_it(api: WebUIApi) -> None:
    assert api.get_progress()["progress"] == 0
    answers: list[Any] = []
    body = {"prompt": "slow", "width": 64, "height": 64, "steps": 150, "n_iter": 50}
    drawing = threading.Thread(target=lambda: answers.append(api.session.post(f"{api.baseurl}/txt2img", json=body)))
    drawing.start()
    deadline = time.monotonic() + 60
    while not (told := api.get_progress())["current_image"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 0 < told["progress"] < 1
    assert (told["state"]["job_count"], told["state"]["sampling_steps"]) == (50, 150)
    with Image.open(io.BytesIO(base64.b64decode(told["current_image"]))) as preview:
        preview.load()
    api.interrupt()
    drawing.join(20)
    assert answers[0].status_code == 200
    assert len(answers[0].json()["images"]) < 50
    assert json.loads(answers[0].json()["info"])["prompt"] == "slow"


def test_a_picture_says_how_it_was_made(api: WebUIApi) -> None:
    request = TextToImage(prompt="a cat", seed=3)
    text = infotext(request, 0, model_hash="0123456789", version="1")
    with Image.open(io.BytesIO(encode_png(picture(), request, 0, text))) as made:
        told = api.png_info(made)
    assert told.info == text
    assert (told.parameters["Prompt"], told.parameters["Seed"]) == ("a cat", "3")
    assert api.png_info(picture()).info == ""


def test_lists_have_the_shapes_that_clients_read(api: WebUIApi) -> None:
    assert "DPM++ 2M" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()
    assert api.util_get_model_names() == ["one"]
    assert {"name": "Latent (nearest-exact)"} in api.get_latent_upscale_modes()
    assert [upscaler["name"] for upscaler in api.get_upscalers()] == ["None", "Lanczos", "Nearest"]
    for ask in (
        *(api.get_sd_vae, api.get_hypernetworks, api.get_face_restorers, api.get_realesrgan_models, api.get_loras),
        *(api.get_prompt_styles, api.get_embeddings, api.get_memory, api.get_cmd_flags, api.get_scripts),
        api.refresh_checkpoints,
    ):
        ask()


@pytest.mark.row("A9")
def test_the_model_can_be_chosen_for_everybody_and_nothing_else_is_changed(api: WebUIApi, app: App) -> None:
    api.util_set_model("one")
    assert app.options.current.default_checkpoint == "one"
    assert api.util_get_current_model() == "one"
    sha256 = app.library.passports()["one"].sha256  # made, so that it is known from now on
    assert api.util_get_current_model() == f"one [{sha256[:10]}]"
    for name in (sha256[:10], sha256, f"one [{sha256[:10]}]"):
        assert api.session.post(f"{api.baseurl}/options", json={"sd_model_checkpoint": name}).status_code == 200
    assert api.get_sd_models()[0]["hash"] == sha256[:10]
    answer = api.session.post(f"{api.baseurl}/options", json={"sd_model_checkpoint": "one", "outdir_samples": "/etc"})
    assert answer.status_code == 422


def test_what_easel_does_not_have_says_so(api: WebUIApi) -> None:
    with pytest.raises(RuntimeError, match="describes pictures"):
        api.interrogate(picture())
