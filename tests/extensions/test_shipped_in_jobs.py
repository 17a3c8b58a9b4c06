"""LoRA and ControlNet in whole jobs of the real engine, as they are shipped: found on the shelf, run by its hooks."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from webui.extensions.shelf import Shelf
from webui.extensions.state import StateFile
from webui.settings import ROOT

pytestmark = pytest.mark.torch

PICTURE = "a" * 32


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory):
    """A checkpoint, a LoRA and a ControlNet for it, all of random weights."""
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

    from tests.tiny import build_tiny_checkpoint
    from webui.train_requests import TrainLora
    from webui.training.lora import add_lora, kohya_tensors
    from webui.training.networks import load_networks
    from webui.training.results import write_tensors

    folder = tmp_path_factory.mktemp("models")
    checkpoint = build_tiny_checkpoint(folder / "checkpoints/tiny")
    generator = torch.Generator().manual_seed(0)
    networks = load_networks(checkpoint, "cpu", "fp32")
    lora = add_lora(networks, TrainLora(name="x", dataset="x", rank=2, alpha=2.0, train_text_encoder=True))
    for weight in lora.weights:
        weight.data = torch.randn(weight.shape, generator=generator) / 4
    write_tensors(kohya_tensors(lora.parts, networks), {}, folder / "loras/mine.safetensors")
    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet", local_files_only=True)
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 16))
    with torch.no_grad():
        for weight in controlnet.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 8)
    controlnet.save_pretrained(folder / "controlnets/lines")
    return folder


@pytest.fixture(scope="module")
def engine(models_dir, tmp_path_factory):
    from webui.engine.engine import create_engine

    shelf = Shelf(ROOT / "extensions", StateFile(tmp_path_factory.mktemp("data") / "extensions.json"))
    return create_engine(models_dir, "cpu", 0, shelf)


def png(picture):
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def drawing(seed=0):
    return png(Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)))


def told(engine, wanted, signals=()):
    """All events of a job."""
    from webui.contract import Job

    waiting = list(signals)
    job = Job(id="test", request=wanted, inputs={PICTURE: drawing()}, state=None)
    return list(engine.run(job, lambda: waiting.pop(0) if waiting else None))


def draw(engine, wanted):
    """(levels of the picture, its infotext, warnings)."""
    from webui.events import Image as Finished
    from webui.events import Warning

    events = told(engine, wanted)
    finished = [event for event in events if isinstance(event, Finished)]
    assert finished, events[-1]
    levels = np.asarray(Image.open(io.BytesIO(finished[0].png)))
    return levels, finished[0].parameters, [str(event.text) for event in events if isinstance(event, Warning)]


def request(kind="txt2img", **values):
    from webui.requests import REQUESTS

    usual = {
        "prompt": "the red cat", "checkpoint": "tiny", "width": 64, "height": 64, "num_inference_steps": 2, "seed": 3,
        "preview": "Off",
    }  # fmt: skip
    return REQUESTS[kind](**(usual | values))


UNIT = {"unit1_enabled": True, "unit1_image": PICTURE, "unit1_model": "lines", "unit1_weight": 1.5}


def test_a_tag_draws_another_picture_and_the_next_job_without_it_the_first_one_again(engine):
    plain, _, _ = draw(engine, request())
    drawn, infotext, warnings = draw(engine, request(prompt="the red cat<lora:mine:1>"))
    assert not np.array_equal(drawn, plain)
    assert warnings == []
    assert 'Lora hashes: "mine: ' in infotext
    assert np.array_equal(draw(engine, request())[0], plain)
    assert np.array_equal(draw(engine, request(prompt="the red cat<lora:mine:1>"))[0], drawn)
    assert np.array_equal(draw(engine, request(prompt="the red cat<lora:mine:0>"))[0], plain)


def test_a_branch_puts_a_lora_in_or_takes_it_out_at_its_step(engine):
    tagged, plain = "the red cat<lora:mine:1>", "the red cat"
    drawn = {prompt: draw(engine, request(prompt=prompt))[0] for prompt in (tagged, plain)}
    for before, after in ((tagged, plain), (plain, tagged)):
        branch = {"branch_step": 1, "branch_from": {"prompt": before}}
        levels, _, warnings = draw(engine, request(prompt=after, **branch))
        assert not any(np.array_equal(levels, each) for each in drawn.values())
        assert warnings == []
        assert np.array_equal(draw(engine, request(prompt=before, branch_step=1))[0], drawn[before])


def test_the_receipt_tells_how_many_layers_were_applied(engine):
    receipt = told(engine, request(prompt="the red cat<lora:mine:1>"))[-1].receipt
    assert "LoRA “mine”: applied 40/40 layers." in map(str, receipt)


def test_a_cancelled_job_leaves_every_weight_as_it_was(engine):
    import torch

    from webui.contract import Signal
    from webui.events import Cancelled

    plain, _, _ = draw(engine, request())
    unet = engine._models.loaded.unet
    before = {name: weight.clone() for name, weight in unet.named_parameters()}
    events = told(engine, request(prompt="the red cat<lora:mine:1>"), [None, Signal.CANCEL])
    assert isinstance(events[-1], Cancelled)
    assert all(torch.equal(weight, before[name]) for name, weight in unet.named_parameters())
    assert np.array_equal(draw(engine, request())[0], plain)


def test_an_unknown_name_warns_and_draws_all_the_same(engine):
    plain, _, _ = draw(engine, request())
    drawn, infotext, warnings = draw(engine, request(prompt="the red cat<lora:mien:1>"))
    assert np.array_equal(drawn, plain)
    assert warnings == ["LoRA “mien” was left out: there is no such file in models/loras. Did you mean “mine”?"]
    assert "Lora hashes" not in infotext


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("txt2img", {}),
        ("img2img", {"image": PICTURE}),
        ("inpaint", {"image": PICTURE, "mask": PICTURE}),
        ("txt2img", {"hires": True, "hires_scale": 1.5, "hires_steps": 1, "hires_strength": 0.5}),
    ],
    ids=["txt2img", "img2img", "inpaint", "hires"],
)
def test_a_control_picture_steers_in_every_kind_of_job(engine, kind, values):
    plain, _, _ = draw(engine, request(kind, **values))
    steered, _, warnings = draw(engine, request(kind, **values, extensions={"controlnet": UNIT}))
    assert warnings == []
    assert steered.shape == plain.shape
    assert not np.array_equal(steered, plain)


def test_a_unit_that_is_off_changes_no_bit(engine):
    plain, _, _ = draw(engine, request())
    off = {**UNIT, "unit1_enabled": False, "unit2_weight": 0.5}
    assert np.array_equal(draw(engine, request(extensions={"controlnet": off}))[0], plain)


def test_what_extensions_keep_goes_when_memory_is_given_back(engine):
    import gc
    import weakref

    wanted = request(extensions={"controlnet": UNIT})
    first, _, _ = draw(engine, wanted)
    (network,) = engine._extensions._caches["controlnet"][1]["networks"].values()
    network = weakref.ref(network)
    engine.free_memory()
    gc.collect()
    assert network() is None
    assert np.array_equal(draw(engine, wanted)[0], first)


def test_both_work_together_and_come_back_from_the_metadata(engine):
    from webui.requests import build, to_values

    wanted = request(prompt="the red cat<lora:mine:0.5>", extensions={"controlnet": UNIT})
    both, _, _ = draw(engine, wanted)
    alone, _, _ = draw(engine, dataclasses.replace(wanted, extensions={}))
    assert not np.array_equal(both, alone)
    assert build("txt2img", to_values(wanted)) == wanted


def test_the_infotext_names_the_loras_of_its_own_picture_only(engine):
    from webui.events import Image as Finished

    said = ["the red cat<lora:mine:1>", "the red cat"]
    for wording in (said, said[::-1]):
        events = told(engine, request(batch_size=2, wordings={"prompt": wording}))
        texts = [event.parameters for event in events if isinstance(event, Finished)]
        assert ["Lora hashes" in text for text in texts] == ["<lora" in words for words in wording]
