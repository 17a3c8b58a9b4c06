"""Regional prompts at work: shares of boxes by arithmetic, jobs on tiny models, and a layout on the embedded one."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from webui.extensions.shelf import Shelf
from webui.extensions.state import StateFile
from webui.settings import ROOT

pytestmark = pytest.mark.torch

PICTURE, MASK = "a" * 32, "b" * 32
EVERYWHERE = (0.0, 0.0, 1.0, 1.0)


# Shares.


def placed(text, size=(16, 16), window=EVERYWHERE, *, common=0.0, feather=0.0):
    from extensions.regional.boxes import read_boxes
    from extensions.regional.engine import shares

    return shares(read_boxes(text), size, window, common=common, feather=feather)


def counts(text, size=(16, 16), **values):
    """(boxes, height, width): how much each box counts in the whole picture."""
    maps = []
    for each in placed(text, size, **values):
        left, top, right, bottom = each.place
        whole = np.zeros((size[1], size[0]))
        whole[top:bottom, left:right] = each.share.numpy()
        maps.append(whole)
    return np.array(maps)


def test_a_box_counts_inside_and_nowhere_else():
    (share,) = counts("0.5 0.25 0.5 0.5: a")
    assert share[4:12, 8:].min() == 1
    assert share.sum() == 8 * 8
    assert placed("0.5 0.25 0.5 0.5: a")[0].place == (8, 4, 16, 12)


def test_the_common_prompt_keeps_its_part_inside():
    (share,) = counts("0 0 0.5 1: a", common=0.25)
    assert share[:, :8] == pytest.approx(0.75)
    assert placed("0 0 0.5 1: a", common=1.0) == ()


def test_the_weight_divides_where_boxes_overlap_and_lets_the_common_prompt_through_where_they_do_not():
    light, heavy = counts("0 0 1 1 0.5: a\n0.5 0 0.5 1 1.5: b")
    assert light[:, :8] == pytest.approx(0.5)
    assert light[:, 8:] == pytest.approx(0.25)
    assert heavy[:, 8:] == pytest.approx(0.75)
    assert counts("0 0 1 1 0: a").size == 0


def test_boxes_side_by_side_fade_into_each_other_and_not_at_the_edge_of_the_picture():
    left, right = counts("0 0 0.5 1: a\n0.5 0 0.5 1: b", feather=0.5)
    row = left[0]
    assert row[0] == 1
    assert 0.5 < row[7] < 1
    assert row[8] == pytest.approx(1 - row[7])
    assert right[0] == pytest.approx(row[::-1])
    assert np.array_equal(left, np.tile(row, (16, 1)))


def test_a_small_box_is_cropped_with_its_surroundings():
    (each,) = placed("0.9 0.9 0.1 0.1: a", size=(32, 32))
    assert each.place == (24, 24, 32, 32)
    assert float(each.share.sum()) == pytest.approx(3.2 * 3.2)
    assert placed("0.4 0.4 0.1 0.1: a", size=(4, 6))[0].place == (0, 0, 4, 6)


def test_where_a_part_is_painted_the_boxes_are_those_of_the_whole_picture():
    (share,) = counts("0 0 0.5 1: a\n0 0 0.2 0.2: b", window=(0.25, 0.25, 0.75, 0.75))
    assert share[:, :8].min() == 1
    assert share[:, 8:].max() == 0


# Jobs on tiny models.


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory):
    from tests.tiny import build_tiny_checkpoint, build_tiny_sdxl

    folder = tmp_path_factory.mktemp("models")
    build_tiny_checkpoint(folder / "checkpoints/tiny")
    build_tiny_checkpoint(folder / "checkpoints/painter", image_channels=5)
    build_tiny_checkpoint(folder / "checkpoints/instructed", image_channels=4)
    build_tiny_sdxl(folder / "checkpoints/xl")
    return folder


def new_engine(models_dir, home):
    import torch

    from webui.engine.engine import create_engine

    torch.set_num_threads(1)
    return create_engine(models_dir, "cpu", 0, Shelf(ROOT / "extensions", StateFile(home / "extensions.json")))


@pytest.fixture(scope="module")
def engine(models_dir, tmp_path_factory):
    return new_engine(models_dir, tmp_path_factory.mktemp("data"))


def png(picture):
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def inputs():
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    mask = Image.new("L", (128, 128))
    mask.paste(255, (64, 64, 112, 112))
    return {PICTURE: png(Image.fromarray(noise)), MASK: png(mask)}


def drawn(engine, kind="txt2img", boxes="", **values):
    """(levels of the first picture, events)."""
    from webui.contract import Job
    from webui.requests import REQUESTS

    usual = {
        "prompt": "the red cat", "checkpoint": "tiny", "width": 128, "height": 128, "num_inference_steps": 2, "seed": 3,
        "guidance_scale": 3.0, "preview": "Off",
    }  # fmt: skip
    if kind != "txt2img":
        usual |= {"image": PICTURE, "strength": 1.0}
    options = {"regional": {"boxes": boxes, "common": 0.0, "feather": 0.0}} if boxes else {}
    request = REQUESTS[kind](**{**usual, "extensions": options, **values})
    events = list(engine.run(Job(id="x", request=request, inputs=inputs()), lambda: None))
    found = [event for event in events if event.kind == "image"]
    assert found, events[-1]
    return np.asarray(Image.open(io.BytesIO(found[0].png))).astype(int), events


def warnings(events):
    return [str(event.text) for event in events if event.kind == "warning"]


@pytest.mark.parametrize("checkpoint", ["tiny", "xl", "painter", "instructed"])
@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_a_box_over_everything_is_the_picture_of_its_prompts(engine, checkpoint, guidance_scale):
    kind = "img2img" if checkpoint == "instructed" else "txt2img"
    values = {"kind": kind, "checkpoint": checkpoint, "guidance_scale": guidance_scale}
    wanted, _ = drawn(engine, prompt="a [dog:cat:0.5]", negative_prompt="red", **values)
    made, events = drawn(engine, boxes="0 0 1 1: a [dog:cat:0.5]\nnot: red", **values)
    assert warnings(events) == []
    assert np.array_equal(made, wanted)
    assert not np.array_equal(made, drawn(engine, **values)[0])


@pytest.mark.parametrize("kind", ["txt2img", "img2img", "inpaint", "hires"])
def test_a_box_changes_the_picture_in_each_kind_of_job(engine, kind):
    values = {
        "txt2img": {},
        "img2img": {"kind": "img2img"},
        "inpaint": {"kind": "inpaint", "mask": MASK, "inpaint_area": "Only masked"},
        "hires": {"hires": True, "hires_scale": 1.5, "hires_steps": 2},
    }[kind]
    plain, _ = drawn(engine, **values)
    made, events = drawn(engine, boxes="0.5 0.5 0.5 0.5: the dog\nnot: a cat", **values)
    assert warnings(events) == []
    assert not np.array_equal(made, plain)
    assert "1 of 1 boxes lay in what was drawn." in map(str, events[-1].receipt)


def test_a_box_outside_of_what_is_painted_changes_nothing(engine):
    values = {"kind": "inpaint", "mask": MASK, "inpaint_area": "Only masked", "padding": 0, "mask_blur": 0}
    plain, _ = drawn(engine, **values)
    made, events = drawn(engine, boxes="0 0 0.3 0.3: the dog", **values)
    assert np.array_equal(made, plain)
    assert "0 of 1 boxes lay in what was drawn." in map(str, events[-1].receipt)


def test_a_tag_in_a_box_is_told_to_have_no_effect(engine):
    _, events = drawn(engine, boxes="0 0 0.5 1: the dog <lora:mine:1>")
    assert warnings(events) == [
        "“<lora:mine>” has no effect in the prompt of an area: write it into that of the picture."
    ]


def test_wildcards_and_alternatives_in_a_box_are_told_to_stay_as_they_are(engine):
    _, events = drawn(engine, boxes="0 0 0.5 1: a {red|blue} dog\nnot: __bad__")
    assert warnings(events) == [
        f"Nothing is drawn in the prompt of an area: “{words}” is read as it is written there."
        for words in ("a {red|blue} dog", "__bad__")
    ]


def test_the_boxes_come_back_from_the_picture(engine):
    from webui.metadata import read

    _, events = drawn(engine, boxes="0 0 0.5 1 0.8: the dog, old\nnot: a cat")
    image = next(event for event in events if event.kind == "image")
    assert read(image.png).values["extensions"]["regional"]["boxes"] == "0 0 0.5 1 0.8: the dog, old\nnot: a cat"
    assert "Regional" not in image.parameters.splitlines()[0]
    assert '"regional"' in image.parameters.replace("\\", "")


def test_pictures_go_on_with_the_same_bits_after_a_restart(engine):
    from webui.contract import Job, Signal
    from webui.requests import TextToImage

    request = TextToImage(
        prompt="the red cat", checkpoint="tiny", width=128, height=128, num_inference_steps=4, seed=3, preview="Off",
        extensions={"regional": {"boxes": "0 0 0.5 1: the dog"}},
    )  # fmt: skip
    whole = [event for event in engine.run(Job(id="x", request=request), lambda: None) if event.kind == "image"]
    waiting = [None, None, Signal.PAUSE]
    paused = list(engine.run(Job(id="x", request=request), lambda: waiting.pop(0) if waiting else None))
    state = [event.state for event in paused if event.kind == "checkpoint"][-1]
    job = Job(id="x", request=request, state=state)
    resumed = [event for event in engine.run(job, lambda: None) if event.kind == "image"]
    assert resumed[0].png == whole[0].png


# The other extensions.


def test_an_area_is_seen_as_a_part_of_the_control_picture():
    import torch

    from extensions.controlnet.engine import Engine, Ready
    from extensions.controlnet.options import Unit
    from tests.extensions.contexts import engine_context
    from webui.extension import UnetInputs

    context = engine_context(request=None, models_dir=ROOT, cache={}, warn=print, inputs=inputs())
    network = torch.nn.Linear(1, 1)
    network.dtype, network.config = torch.float32, {}
    ready = Ready(Unit(), network, PICTURE)
    whole = UnetInputs(
        latents=torch.zeros(1, 4, 16, 16), timestep=torch.tensor(1.0), encoder_hidden_states=torch.zeros(1, 1, 1),
        unconditional_rows=0, sigma=1.0, size=(16, 16), box=(0, 0, 16, 16),
    )  # fmt: skip
    part = dataclasses.replace(whole, latents=whole.latents[..., 4:12, 8:16], box=(8, 4, 16, 12))
    control = Engine(None, context)
    assert torch.equal(control._hint(ready, part), control._hint(ready, whole)[..., 32:96, 64:128])


# The embedded model.


def test_the_embedded_model_draws_an_apple_at_the_left_and_a_banana_at_the_right(tmp_path):
    """Red is what has red and little green, yellow what has both; the paper around them is white."""
    boxes = "0 0 0.5 1: a red apple\n0.5 0 0.5 1: a yellow banana"
    made, events = drawn(
        new_engine(ROOT / "models", tmp_path), prompt="", checkpoint="easel-emoji", num_inference_steps=10,
        guidance_scale=4.0, seed=2, extensions={"regional": {"boxes": boxes, "common": 0.1}},
    )  # fmt: skip
    assert warnings(events) == []
    red, green, blue = (made[..., channel] for channel in range(3))
    is_red = (red > green + 80) & (red > 150)
    is_yellow = (np.minimum(red, green) > blue + 60) & (abs(red - green) < 60)
    left, right = slice(0, 64), slice(64, 128)
    assert is_red[:, left].sum() > 5 * max(100, is_red[:, right].sum())
    assert is_yellow[:, right].sum() > 5 * max(100, is_yellow[:, left].sum())
