"""Metadata: what is written into a picture and read back, and what hostile text does."""

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from webui.errors import InvalidRequest
from webui.metadata import encode_png, infotext, parse_infotext, read
from webui.requests import build, to_values

PICTURE = Image.new("RGB", (8, 8), "red")


def request(**values):
    return build("txt2img", {"seed": 5, "checkpoint": "easel", **values})


def test_infotext_is_written_as_automatic1111_writes_it():
    text = infotext(
        request(prompt="a cat", negative_prompt="dog", guidance_scale=7.0), 1, model_hash="0123456789", version="0.1"
    )
    assert text == (
        "a cat\nNegative prompt: dog\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Seed: 6, Size: 512x512, "
        "Model hash: 0123456789, Model: easel, RNG: CPU, Version: easel 0.1"
    )


def test_values_with_commas_and_colons_are_quoted_and_come_back():
    text = infotext(request(checkpoint='a, "b": c'), 0, model_hash="x", version="0")
    assert 'Model: "a, \\"b\\": c"' in text
    assert parse_infotext(text)["checkpoint"] == 'a, "b": c'


@pytest.mark.parametrize("prompt", ["a cat", "빨간 사과, 고양이", "two\nlines: a, b", "Ünïcode 🎨"])
def test_a_picture_gives_back_the_request_that_made_it(prompt):
    made = request(prompt=prompt, negative_prompt="x", batch_size=3, width=128, guidance_scale=4.5)
    png = encode_png(PICTURE, made, 2, infotext(made, 2, model_hash="x", version="0"))
    found = read(png)
    assert found.is_ours
    again = build("txt2img", found.values)
    assert to_values(again) == to_values(made) | {"seed": 7, "batch_size": 1}


def test_a_picture_of_another_tool_is_read_from_its_infotext():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a fox\nNegative prompt: blurry\nSteps: 30, Sampler: Euler a, CFG scale: 6.5, Seed: 1, "
                  'Size: 768x512, Model: v1-5, Lora hashes: "a: b, c: d", Version: v1.10.1')  # fmt: skip
    buffer = io.BytesIO()
    PICTURE.save(buffer, "PNG", pnginfo=info)
    found = read(buffer.getvalue())
    assert not found.is_ours
    assert found.values == {
        "prompt": "a fox", "negative_prompt": "blurry", "num_inference_steps": 30, "sampler": "Euler a",
        "guidance_scale": 6.5, "seed": 1, "width": 768, "height": 512, "checkpoint": "v1-5",
    }  # fmt: skip


def test_a_last_line_with_fewer_than_three_fields_belongs_to_the_prompt():
    assert parse_infotext("a cat\nSteps: 3, Seed: 1")["prompt"] == "a cat\nSteps: 3, Seed: 1"


def test_something_that_is_no_picture_is_refused_in_words():
    with pytest.raises(InvalidRequest, match="not a PNG"):
        read(b"<html>")


@pytest.mark.parametrize("text", [" " * 500_000, "a: b, " * 80_000, ":" * 500_000, 'k: "' * 100_000, "[" * 500_000])
def test_hostile_infotext_is_read_in_linear_time(text):
    began = time.perf_counter()
    parse_infotext(text)
    assert time.perf_counter() - began < 5  # the family's regular expression needs minutes for these


@given(st.text(max_size=300))
def test_any_infotext_is_read_without_an_error(text):
    parse_infotext(text)
