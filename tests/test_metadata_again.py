"""Loading one of our own pictures and generating again gives the same pixels, out of every kind of file."""

import io

import numpy as np
import pytest
from PIL import Image

from webui.metadata import convert, read
from webui.registry import SAMPLERS
from webui.requests import TextToImage, build

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def engine(tiny_models_dir):
    from tests.engine.helpers import new_engine

    return new_engine(tiny_models_dir)


def drawn(engine, wanted):
    from tests.engine.helpers import run
    from webui.events import Image as PictureEvent

    return [event.png for event in run(engine, wanted) if isinstance(event, PictureEvent)]


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.row("M11")
def test_a_picture_of_a_batch_comes_back_from_its_file(engine, sampler):
    wanted = TextToImage(
        prompt="a (red:1.2) cat, 고양이", negative_prompt="dog", width=64, height=72, num_inference_steps=4, seed=11,
        guidance_scale=3.3, sampler=sampler, batch_size=2, preview="Off", schedule="Karras", eta=0.7, s_noise=1.01,
    )  # fmt: skip
    second = drawn(engine, wanted)[1]
    for data in (second, convert(second, "JPEG"), convert(second, "WEBP")):
        found = read(data)
        assert found.unmapped == ()
        (again,) = drawn(engine, build(found.kind, found.values))
        assert np.array_equal(pixels(again), pixels(second))
