"""ControlNet: nothing changes at first, the UNet stays frozen, and control pictures are what they are said to be."""

import shutil

import pytest

from tests.training.workshop import discs, finish, learn, losses, until, updates, workspace
from webui.errors import MissingTrainingData, TrainingError
from webui.train_requests import TrainControlNet

pytestmark = pytest.mark.torch


def request(**values):
    usual = {
        "name": "mine", "dataset": "dataset", "steps": 2, "batch_size": 2, "size": 64, "seed": 5, "sample_every": 0,
        "learning_rate": 1e-2,
    }  # fmt: skip
    return TrainControlNet(**(usual | values))


def tutor_of(tmp_path, checkpoint, asked):
    """The ControlNet and what teaches it, with everything made ready."""
    from webui.training.adapter import Lesson, prepare_material
    from webui.training.controlnet import Tutor, build_controlnet, prepare_controls
    from webui.training.networks import load_networks

    discs(tmp_path / "dataset")
    networks = load_networks(checkpoint, "cpu", "fp32")
    controlnet = build_controlnet(networks, lite=asked.lite, seed=asked.seed)
    lesson = Lesson(
        request=asked, workspace=workspace(tmp_path, checkpoint), networks=networks, done=0,
        caption_of=lambda example: example.caption,
    )  # fmt: skip
    material = finish(prepare_material(lesson))
    controls = finish(prepare_controls(lesson, material.batches, asked.control))
    return controlnet, Tutor(material, controlnet, controls), material


@pytest.mark.parametrize(("family", "lite"), [("sd1", False), ("sd1", True), ("sd2", False), ("sdxl", True)])
def test_it_changes_nothing_at_first_and_then_learns_while_the_unet_stays_as_it_is(tmp_path, checkpoints, family, lite):
    import torch

    from webui.training.course import stage_of
    from webui.training.loop import Trainer

    asked = request(steps=4, lite=lite)
    controlnet, tutor, material = tutor_of(tmp_path, checkpoints[family], asked)
    latents, timestep = torch.randn(1, 4, 8, 8), torch.tensor([300])
    condition, control = material.captions.of(["a red disc"], (64, 64)), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        plain = material.denoiser(latents, timestep, condition)
        assert torch.equal(tutor.steered(control)(latents, timestep, condition), plain)
    frozen = {name: weight.clone() for name, weight in material.denoiser.state_dict().items()}
    before, after = learn(Trainer(stage_of(asked, tutor_space(tmp_path, checkpoints[family])), controlnet), tutor.loss)
    assert after < before
    assert all(torch.equal(weight, frozen[name]) for name, weight in material.denoiser.state_dict().items())
    with torch.no_grad():
        assert not torch.equal(tutor.steered(control)(latents, timestep, condition), plain)


def tutor_space(tmp_path, checkpoint):
    return workspace(tmp_path, checkpoint, "learning")


def test_the_full_one_begins_as_the_unets_encoder_and_the_light_one_has_no_attention(checkpoints):
    import torch

    from webui.training.controlnet import build_controlnet
    from webui.training.networks import load_networks

    networks = load_networks(checkpoints["sd1"], "cpu", "fp32")
    full, lite = (build_controlnet(networks, lite=lite, seed=0) for lite in (False, True))
    unet = networks.unet.state_dict()
    for controlnet in (full, lite):
        shared = [name for name in controlnet.state_dict() if name in unet]
        assert "down_blocks.1.resnets.0.conv1.weight" in shared
        assert all(torch.equal(controlnet.state_dict()[name], unet[name]) for name in shared)
    assert any("attentions" in name for name in full.state_dict())
    assert not any("attentions" in name for name in lite.state_dict())


@pytest.mark.parametrize("lite", [False, True])
def test_a_plain_diffusers_pipeline_draws_with_the_result(tmp_path, checkpoints, lite):
    import numpy as np
    import torch
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
    from PIL import Image

    discs(tmp_path / "dataset")
    told = updates(
        request(lite=lite, control="scribble", steps=1, sample_every=1), workspace(tmp_path, checkpoints["sd1"])
    )
    assert told[-1].result == tmp_path / "models/controlnets/mine"
    assert [update.step for update in told if update.sample] == [1]
    controlnet = ControlNetModel.from_pretrained(told[-1].result, local_files_only=True)
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        checkpoints["sd1"], controlnet=controlnet, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)

    def draw(scale):
        generator = torch.Generator().manual_seed(0)
        control = Image.new("RGB", (64, 64), "white")
        return np.asarray(
            pipeline("a disc", control, num_inference_steps=2, generator=generator, controlnet_conditioning_scale=scale)
            .images[0]
        )  # fmt: skip

    assert draw(0.0).shape == (64, 64, 3)
    assert not np.array_equal(draw(0.0), draw(1.0))


def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path, checkpoints):
    discs(tmp_path / "dataset")
    whole = updates(
        request(name="whole", control="scribble", steps=3), workspace(tmp_path, checkpoints["sd1"], "whole")
    )
    cut = request(name="cut", control="scribble", steps=3)
    first = until(cut, workspace(tmp_path, checkpoints["sd1"], "cut"), 1)
    second = updates(cut, workspace(tmp_path, checkpoints["sd1"], "cut"))
    assert losses(first) | losses(second) == losses(whole)
    weights = "diffusion_pytorch_model.safetensors"
    assert (second[-1].result / weights).read_bytes() == (whole[-1].result / weights).read_bytes()


def test_given_control_pictures_are_needed_and_pictures_without_one_are_left_out(tmp_path, checkpoints):
    folder = discs(tmp_path / "dataset")
    with pytest.raises(MissingTrainingData, match=r"NAME\.control\.png"):
        updates(request(control="given"), workspace(tmp_path, checkpoints["sd1"]))
    for number in (0, 2):
        shutil.copyfile(folder / f"disc{number}.png", folder / f"disc{number}.control.png")
    told = updates(request(control="given", steps=1), workspace(tmp_path, checkpoints["sd1"]))
    assert [str(update.warning) for update in told if update.warning] == [
        "2 of the pictures have no control picture beside them and are left out."
    ]


def test_a_given_control_picture_arrives_as_it_is(tmp_path, checkpoints):
    import torch

    folder = discs(tmp_path / "dataset", 1)
    shutil.copyfile(folder / "disc0.png", folder / "disc0.control.png")
    _, tutor, material = tutor_of(tmp_path, checkpoints["sd1"], request(control="given"))
    batch = material.batches.shown(1)
    control = tutor._controls.of(batch, torch.Generator())
    assert torch.allclose(control, material.batches.pictures(batch) / 2 + 0.5, atol=1 / 255)


def test_what_others_made_is_never_overwritten(tmp_path, checkpoints):
    discs(tmp_path / "dataset")
    theirs = tmp_path / "models/controlnets/mine/config.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("{}")
    with pytest.raises(TrainingError, match="another name"):
        updates(request(), workspace(tmp_path, checkpoints["sd1"]))
    assert theirs.read_text() == "{}"


# Control pictures.


def disc(size=64, radius=20, contrast=1.0):
    """(1, 3, size, size) in [-1, 1]: a dark disc on white."""
    import torch

    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = (rows - size // 2) ** 2 + (columns - size // 2) ** 2 < radius**2
    return torch.where(inside, 1 - 2 * contrast, 1.0).expand(1, 3, -1, -1)


def test_the_edge_of_a_disc_is_one_thin_closed_line_where_the_disc_ends():
    import torch

    from webui.training.controls import edges

    found = edges(disc())[0, 0]
    rows, columns = torch.nonzero(found, as_tuple=True)
    distance = ((rows - 32.0) ** 2 + (columns - 32.0) ** 2).sqrt()
    assert (distance - 20).abs().max() < 2
    assert 100 < len(rows) < 190, "about the circumference, 126: thinned, not a band"
    angles = torch.atan2(rows - 32.0, columns - 32.0).sort().values
    assert angles.diff().max() < 0.15, "nowhere open"


def test_a_flat_picture_and_a_faint_one_have_no_edges():
    import torch

    from webui.training.controls import edges

    assert edges(torch.zeros(1, 3, 32, 32)).sum() == 0
    assert edges(disc(contrast=0.02)).sum() == 0


def test_a_weak_edge_counts_only_where_it_hangs_together_with_a_strong_one():
    import torch

    from webui.training.controls import connected

    weak = torch.zeros(1, 1, 5, 9, dtype=torch.bool)
    weak[0, 0, 1, 1:4] = weak[0, 0, 2, 4] = weak[0, 0, 4, 7:9] = True
    strong = torch.zeros_like(weak)
    strong[0, 0, 1, 1] = True
    found = connected(weak, strong)
    assert found[0, 0, 2, 4], "over a corner too"
    assert not found[0, 0, 4].any()


def test_edges_of_each_picture_of_a_batch_are_those_of_the_picture_alone():
    import torch

    from webui.training.controls import edges

    both = torch.cat([disc(), disc(radius=9)])
    assert torch.equal(edges(both), torch.cat([edges(both[:1]), edges(both[1:])]))


def test_a_scribble_is_thicker_than_the_edge_near_it_and_never_the_same_twice():
    import torch
    import torch.nn.functional as F

    from webui.training.controls import edges, scribbles

    lines = edges(disc(size=128, radius=40))
    generator = torch.Generator().manual_seed(0)
    one, other = scribbles(lines, generator), scribbles(lines, generator)
    assert not torch.equal(one, other)
    assert set(one.unique().tolist()) == {0.0, 1.0}
    assert one.sum() > 2 * lines.sum()
    near = F.max_pool2d(lines, 15, 1, 7) > 0
    assert one[~near].sum() == 0
    assert torch.equal(one, scribbles(lines, torch.Generator().manual_seed(0)))
