"""The server halves of extensions that ship: what they put into a form, and control pictures on request."""

import io

import gradio as gr
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from extensions.controlnet import ui as controlnet
from extensions.lora import ui as lora
from extensions.regional import ui as regional
from webui.extension import Panel, ServerContext
from webui.settings import ROOT


@pytest.fixture
def context(tmp_path):
    return ServerContext(
        name="controlnet", models_dir=tmp_path, data_dir=tmp_path, folder=ROOT / "extensions/controlnet"
    )


@pytest.fixture
def client(context):
    app = FastAPI()
    app.include_router(controlnet.routes(context))
    return TestClient(app)


def drawing():
    content = io.BytesIO()
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[16:48, 24:72] = 255
    Image.fromarray(picture).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("module", [controlnet, lora, regional])
def test_each_form_gets_an_element_of_its_own(module, context):
    panel = Panel(kind="txt2img", controls={}, prompt_id="txt2img_prompt", context=context)
    with gr.Blocks() as page:
        module.panel(panel)
    (element,) = [block for block in page.blocks.values() if isinstance(block, gr.HTML)]
    assert "txt2img" in element.html_template
    assert "{" not in element.html_template


def test_a_preprocessor_shows_what_it_makes_of_a_picture(client):
    answer = client.post("/map?preprocessor=canny&resolution=64", content=drawing())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    made = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert made.shape == (64, 128, 3)
    assert sorted(np.unique(made)) == [0, 255]


def test_a_threshold_changes_the_map(client):
    strict, loose = (
        client.post(f"/map?preprocessor=scribble_xdog&resolution=64&a={a}", content=drawing()).content for a in (64, 1)
    )
    assert strict != loose


@pytest.mark.parametrize(
    ("address", "content", "told"),
    [
        ("/map?preprocessor=canny", b"no picture", "This is no picture that can be read. Use PNG, JPEG or WebP."),
        ("/map?preprocessor=openpose", drawing(), "Unknown preprocessor 'openpose'. Known: none, canny"),
    ],
)
def test_what_cannot_be_shown_is_told_in_words(client, address, content, told):
    answer = client.post(address, content=content)
    assert answer.status_code == 422
    assert answer.json()["error"]["text"].startswith(told)


@pytest.mark.parametrize("query", ["resolution=1", "resolution=100000", "a=nan", "b=1e9"])
def test_impossible_values_are_refused(client, query):
    assert client.post(f"/map?preprocessor=canny&{query}", content=drawing()).status_code == 422


def test_a_picture_that_would_fill_the_memory_is_refused(client):
    content = io.BytesIO()
    Image.new("1", (8000, 8000)).save(content, "PNG")
    answer = client.post("/map?preprocessor=invert", content=content.getvalue())
    assert answer.status_code == 422
    assert "too large" in answer.json()["error"]["text"]
