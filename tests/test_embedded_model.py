"""The model that ships: it loads, it draws what it is asked for, plain diffusers can read it, it is small."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageStat

from webui.contract import Job
from webui.events import Done, Warning
from webui.events import Image as PictureEvent
from webui.extensions.shelf import Shelf
from webui.extensions.state import StateFile
from webui.library import Library
from webui.metadata import read
from webui.requests import build
from webui.settings import ROOT

pytestmark = pytest.mark.torch

PROMPTS = (
    "a panda", "a lion", "a red apple", "a birthday cake", "a yellow smiling face", "a banana", "an octopus", "a frog",
)  # fmt: skip
"""In the order of the reference thumbnails, 32 px each, of the emoji that the model learnt from."""
REFERENCES = Path(__file__).parent / "data" / "emoji_references.png"
AT_LEAST_RIGHT = 6
SIDE = 32


@pytest.fixture(scope="module")
def passport():
    return Library(ROOT / "models" / "checkpoints").default()


@pytest.fixture(scope="module")
def draw(passport, tmp_path_factory):
    from webui.engine.engine import create_engine

    shelf = Shelf(ROOT / "extensions", StateFile(tmp_path_factory.mktemp("data") / "extensions.json"))
    engine = create_engine(ROOT / "models", "cpu", 0, shelf)

    def draw(prompt, seed):
        values = {**passport.defaults, "prompt": prompt, "seed": seed, "num_inference_steps": 12}
        request = build("txt2img", {**values, "checkpoint": passport.name, "preview": "Off"})
        events = list(engine.run(Job(id=prompt, request=request), lambda: None))
        assert isinstance(events[-1], Done), events[-1]
        assert not [event for event in events if isinstance(event, Warning)]
        return next(event for event in events if isinstance(event, PictureEvent))

    return draw


@pytest.fixture(scope="module")
def pictures(draw):
    return [draw(prompt, 1) for prompt in PROMPTS]


def references():
    strip = Image.open(REFERENCES).convert("RGB")
    return [strip.crop((SIDE * n, 0, SIDE * (n + 1), SIDE)) for n in range(strip.width // SIDE)]


def distance(one, other):
    """Mean squared difference of two pictures at 16 px: blind to small shifts, not to shape and colour."""
    small = [picture.resize((16, 16), Image.Resampling.BOX) for picture in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*small)).rms)


def decoded(event):
    return Image.open(io.BytesIO(event.png)).convert("RGB")


def nearest(event):
    """Number of the reference that a drawn picture is nearest to, mirrored or not."""
    drawn, targets = decoded(event), references()
    mirrored = drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    distances = [min(distance(drawn, target), distance(mirrored, target)) for target in targets]
    return distances.index(min(distances))


def test_most_prompts_give_a_picture_nearest_to_what_was_asked_for(pictures):
    found = [nearest(event) for event in pictures]
    right = sum(n == which for n, which in enumerate(found))
    assert right >= AT_LEAST_RIGHT, {PROMPTS[n]: PROMPTS[which] for n, which in enumerate(found)}


@pytest.mark.parametrize(
    ("prompt", "seed", "fits"),
    [
        ("a blue cat", 1, lambda red, green, blue: blue > red + 20),
        ("a red cat", 1, lambda red, green, blue: red > blue + 20),
        ("빨간 사과", 1, lambda red, green, blue: red > green + 20 and red > blue + 20),
        ("a line drawing of a horse", 1, lambda red, green, blue: max(red, green, blue) - min(red, green, blue) < 12),
    ],
)
def test_colours_styles_and_korean_words_are_seen_in_the_picture(passport, draw, prompt, seed, fits):
    red, green, blue = inked(decoded(draw(prompt, seed)))
    assert fits(red, green, blue), (red, green, blue)


def inked(picture):
    """Mean colour of what is not nearly white."""
    pixels = [pixel for pixel in np.asarray(picture.resize((32, 32))).reshape(-1, 3).tolist() if min(pixel) < 225]
    assert pixels, "the picture is empty"
    return [sum(each) / len(pixels) for each in zip(*pixels, strict=True)]


def test_the_two_style_loras_show_their_style(draw):
    red, green, blue = np.asarray(decoded(draw("blueprint, a frog <lora:blueprint:1>", 3)), float).mean((0, 1))
    assert blue > red + 40, "white lines on blue paper"
    assert blue > green + 25
    plain, blocks = (decoded(draw(text, 3)) for text in ("a panda", "pixel art, a panda <lora:pixel-art:1>"))
    assert blockiness(blocks) > 1.3 * blockiness(plain)


def blockiness(picture):
    """How much more neighbouring pixels differ across the edges of 8 px blocks than inside of them."""
    steps = np.abs(np.diff(np.asarray(picture.convert("L"), float), axis=1)).mean(0)
    across = np.arange(1, picture.width) % 8 == 0
    return steps[across].mean() / steps[~across].mean()


def test_a_picture_carries_what_is_needed_to_make_it_again(pictures, passport):
    found = read(pictures[0].png)
    assert found.is_ours
    assert found.values["checkpoint"] == passport.name
    assert f"Model hash: {passport.hash}" in found.parameters


def test_plain_diffusers_loads_the_folder(passport):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(passport.path, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a lion", num_inference_steps=2, width=passport.native_size, height=passport.native_size).images[0]
    assert image.size == (passport.native_size, passport.native_size)


def test_the_model_is_small_and_its_licences_lie_beside_it(passport):
    files = [path for path in passport.path.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 16 * 2**20
    all_that_ships = [path for path in (ROOT / "models").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in all_that_ships) < 56 * 2**20
    assert "MIT" in (passport.path / "LICENSES.md").read_text("utf-8")
