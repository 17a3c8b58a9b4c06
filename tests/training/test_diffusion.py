"""Training a denoiser: every conditioning and objective is learnt, and plain diffusers pipelines load what they can."""

import json

import pytest

from tests.training.workshop import discs, finish, learn, losses, until, updates, workspace
from webui.errors import MissingTrainingData, TrainingError
from webui.train_requests import TrainDiffusion

pytestmark = pytest.mark.torch

KINDS = ("none", "class", "text", "layout", "super-resolution", "inpainting")


def request(**values):
    usual = {
        "name": "mine", "dataset": "dataset", "steps": 2, "batch_size": 2, "size": 64, "seed": 5, "sample_every": 0,
        "learning_rate": 3e-3, "base_channels": 8, "ema_decay": 0.0,
    }  # fmt: skip
    return TrainDiffusion(**(usual | values))


def space_of(tmp_path, checkpoints, run="run", start=None):
    """New networks in the latents of the tiny sd1 checkpoint, or that checkpoint as the start."""
    first_stage = None if start else checkpoints["sd1"]
    return workspace(tmp_path, checkpoints[start] if start else None, run, first_stage=first_stage)


def studio_of(asked, space):
    from webui.training.data import read_dataset
    from webui.training.diffusion import build_apprentice, prepare_studio
    from webui.training.steering import names_in

    examples = list(read_dataset(space.dataset).examples)
    apprentice = build_apprentice(asked, space, names_in(examples, asked.conditioning))
    return apprentice, finish(prepare_studio(asked, space, apprentice, examples, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_every_conditioning_is_learnt(tmp_path, checkpoints, kind):
    from webui.training.course import stage_of
    from webui.training.loop import Trainer

    discs(tmp_path / "dataset", in_classes=kind == "class")
    asked, space = request(conditioning=kind, steps=4), space_of(tmp_path, checkpoints)
    apprentice, studio = studio_of(asked, space)
    before, after = learn(Trainer(stage_of(asked, space), apprentice.denoiser), studio.loss)
    assert after < before
    pictures = studio.sample(steps=2)
    assert len(pictures) == 4
    assert pictures[0].size == (64, 64)


@pytest.mark.parametrize(
    ("objective", "schedule"), [("epsilon", "linear"), ("sample", "cosine"), ("v_prediction", "zero_snr")]
)
def test_every_objective_is_learnt_drawn_with_and_written_down(tmp_path, checkpoints, objective, schedule):
    discs(tmp_path / "dataset")
    asked = request(objective=objective, noise_schedule=schedule, sample_every=1, steps=1, conditioning="none")
    told = updates(asked, space_of(tmp_path, checkpoints))
    assert sum(update.sample is not None for update in told) == 1
    config = json.loads((told[-1].result / "scheduler/scheduler_config.json").read_text())
    assert config["prediction_type"] == objective
    assert config["rescale_betas_zero_snr"] == (schedule == "zero_snr")


@pytest.mark.parametrize("kind", ["none", "class", "layout"])
def test_a_finished_folder_says_what_it_knows_and_predicts_as_the_run_did(tmp_path, checkpoints, kind):
    import torch

    from webui.training.checkpoint_folder import knowledge_of, load_denoiser
    from webui.training.conditioning import Condition

    discs(tmp_path / "dataset", in_classes=kind == "class")
    told = updates(request(conditioning=kind), space_of(tmp_path, checkpoints))
    card = knowledge_of(told[-1].result)
    assert card["conditioning"] == kind
    assert card.get("classes", ["blue", "green", "red"]) == ["blue", "green", "red"]
    assert card.get("labels", ["blue disc", "green disc", "red disc"]) == ["blue disc", "green disc", "red disc"]
    denoiser = load_denoiser(told[-1].result)
    context = {
        "none": torch.zeros(2), "class": torch.tensor([0, 2]),
        "layout": torch.tensor([[[0, 0.1, 0.1, 0.5, 0.5]], [[2, 0.1, 0.1, 0.5, 0.5]]]),
    }[kind]  # fmt: skip
    latents = torch.randn(1, 4, 8, 8).expand(2, -1, -1, -1)
    one, other = denoiser(latents, torch.tensor([500, 500]), Condition(context))
    assert torch.allclose(one, other, atol=1e-6) == (kind == "none"), "another condition, another prediction"


def test_what_a_finished_model_learnt_is_the_start_of_the_next_run(tmp_path, checkpoints):
    """A class keeps its token, though the next dataset has other classes beside it."""
    import torch

    from webui.training.checkpoint_folder import load_denoiser
    from webui.training.diffusion import build_apprentice

    discs(tmp_path / "dataset", in_classes=True)
    told = updates(request(conditioning="class"), space_of(tmp_path, checkpoints))
    old = load_denoiser(told[-1].result)
    following = workspace(tmp_path, told[-1].result, "next")
    new = build_apprentice(request(conditioning="class", name="next"), following, ("amber", "red")).denoiser
    rows, before = new.embedder.embedding.weight, old.embedder.embedding.weight
    assert torch.equal(rows[1], before[2]), "red"
    assert torch.equal(rows[2], before[3]), "no class"
    assert torch.equal(new.unet.conv_in.weight, old.unet.conv_in.weight)


@pytest.mark.parametrize("start", [None, "sd1", "sdxl"])
def test_plain_diffusers_draws_with_a_text_conditioned_result(tmp_path, checkpoints, start):
    from diffusers import DiffusionPipeline

    discs(tmp_path / "dataset")
    told = updates(request(conditioning="text", steps=2), space_of(tmp_path, checkpoints, start=start))
    pipeline = DiffusionPipeline.from_pretrained(told[-1].result, local_files_only=True)
    assert type(pipeline).__name__ == ("StableDiffusionXLPipeline" if start == "sdxl" else "StableDiffusionPipeline")
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("a red disc", num_inference_steps=2, height=64, width=64).images[0].size == (64, 64)


@pytest.mark.parametrize("start", [None, "sd1", "sdxl"])
def test_plain_diffusers_repaints_with_an_inpainting_result(tmp_path, checkpoints, start):
    from diffusers import DiffusionPipeline
    from PIL import Image

    discs(tmp_path / "dataset")
    told = updates(request(conditioning="inpainting", steps=2), space_of(tmp_path, checkpoints, start=start))
    pipeline = DiffusionPipeline.from_pretrained(told[-1].result, local_files_only=True)
    assert "Inpaint" in type(pipeline).__name__
    assert pipeline.unet.config.in_channels == 9
    pipeline.set_progress_bar_config(disable=True)
    image, mask = Image.new("RGB", (64, 64), "red"), Image.new("L", (64, 64), 255)
    drawn = pipeline("a red disc", image=image, mask_image=mask, num_inference_steps=2, height=64, width=64)
    assert drawn.images[0].size == (64, 64)


@pytest.mark.filterwarnings("ignore:The configuration file of the vae:FutureWarning")
def test_plain_diffusers_enlarges_with_a_super_resolution_result(tmp_path, checkpoints):
    from diffusers import StableDiffusionUpscalePipeline
    from PIL import Image

    discs(tmp_path / "dataset")
    told = updates(request(conditioning="super-resolution"), space_of(tmp_path, checkpoints, start="sd1"))
    pipeline = StableDiffusionUpscalePipeline.from_pretrained(told[-1].result, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline("a red disc", image=Image.new("RGB", (8, 8)), num_inference_steps=2, noise_level=20)
    assert drawn.images[0].size == (64, 64)
    assert json.loads((told[-1].result / "easel.json").read_text())["upscaling"] == 8


def test_the_product_draws_with_a_text_conditioned_result(tmp_path, checkpoints):
    from webui.contract import Job
    from webui.engine.engine import create_engine
    from webui.events import Done
    from webui.library import Library
    from webui.requests import TextToImage

    discs(tmp_path / "dataset")
    updates(request(), space_of(tmp_path, checkpoints))
    passport = Library(tmp_path / "models/checkpoints").find("mine")
    assert (passport.title, passport.native_size) == ("mine", 64)
    wanted = TextToImage(prompt="a disc", checkpoint="mine", width=64, height=64, num_inference_steps=2, seed=1)
    events = list(create_engine(tmp_path / "models", "cpu").run(Job(id="j", request=wanted), lambda: None))
    assert isinstance(events[-1], Done), events[-1]


def test_inpainting_begins_as_the_checkpoint_it_starts_from(tmp_path, checkpoints):
    """The widened input is zero: whatever the mask, the first prediction is the 4-channel model's, bit for bit."""
    import torch

    from webui.training.conditioning import Denoiser
    from webui.training.networks import load_unet

    discs(tmp_path / "dataset")
    apprentice, studio = studio_of(request(conditioning="inpainting"), space_of(tmp_path, checkpoints, start="sd1"))
    batch = studio.batches.shown(2)
    condition = studio.steering.condition(batch, torch.Generator().manual_seed(0))
    assert condition.channels.shape == (2, 5, 8, 8)
    words = studio.steering.words.condition(batch, torch.Generator())
    original = Denoiser(load_unet(checkpoints["sd1"], "cpu", "fp32"))
    timestep = torch.tensor([10, 700])
    expected = original(batch.latents, timestep, words)
    assert torch.equal(apprentice.denoiser(batch.latents, timestep, condition), expected)


@pytest.mark.parametrize("kind", ["class", "inpainting"])
def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path, checkpoints, kind):
    discs(tmp_path / "dataset", in_classes=kind == "class")
    values = {"conditioning": kind, "ema_decay": 0.9, "steps": 3}
    whole = updates(request(name="whole", **values), space_of(tmp_path, checkpoints, "whole"))
    cut = request(name="cut", **values)
    first = until(cut, space_of(tmp_path, checkpoints, "cut"), 1)
    second = updates(cut, space_of(tmp_path, checkpoints, "cut"))
    assert losses(first) | losses(second) == losses(whole)
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert (second[-1].result / weights).read_bytes() == (whole[-1].result / weights).read_bytes()


def test_latents_and_words_are_encoded_once_and_again_only_when_the_dataset_changes(tmp_path, checkpoints):
    folder = discs(tmp_path / "dataset", 4)
    discs(folder / "wide", 2, (128, 64))
    space = space_of(tmp_path, checkpoints)

    def cached():
        studio_of(request(), space)
        return {path.name: path.stat().st_mtime_ns for path in (space.run / "cache").glob("*.npy")}

    first = cached()
    assert first.keys() == {"latents-64x64.npy", "latents-80x48.npy", "texts.npy"}
    assert cached() == first
    (folder / "disc0.png").write_bytes((folder / "disc1.png").read_bytes())
    changed = {name for name, time in cached().items() if time != first[name]}
    assert changed == {"latents-64x64.npy"}


def test_a_cache_that_was_interrupted_is_completed(tmp_path):
    import numpy as np

    from webui.training.cache import cached_rows

    asked = []

    def compute(numbers):
        asked.extend(numbers)
        return np.array([[number, number + 0.5] for number in numbers], dtype=np.float16)

    steps = cached_rows(tmp_path / "rows.npy", "key", 5, compute, batch=2)
    assert [next(steps), next(steps), next(steps)] == [0, 2, 2]
    steps.close()
    with (tmp_path / "rows.npy").open("ab") as file:
        file.write(b"half a row")
    rows = finish(cached_rows(tmp_path / "rows.npy", "key", 5, compute, batch=2))
    assert rows.tolist() == [[number, number + 0.5] for number in range(5)]
    assert asked == [0, 1, 2, 3, 4]
    finish(cached_rows(tmp_path / "rows.npy", "another key", 5, compute, batch=2))
    assert len(asked) == 10


def test_the_average_is_what_is_written(tmp_path, checkpoints):
    from safetensors.torch import load_file

    discs(tmp_path / "dataset")
    weights = []
    for decay in (0.0, 0.9):
        asked = request(name=f"decay {decay}", ema_decay=decay, conditioning="none")
        told = updates(asked, space_of(tmp_path, checkpoints, f"run {decay}"))
        weights.append(load_file(told[-1].result / "unet/diffusion_pytorch_model.safetensors")["conv_out.bias"])
    assert not weights[0].equal(weights[1])


def test_guidance_leads_away_from_no_condition(tmp_path, checkpoints):
    """`sample` against the formula, by a network whose answer is known."""
    import torch

    from webui.training.conditioning import Condition
    from webui.training.networks import load_first_stage
    from webui.training.objective import Objective, noise_config
    from webui.training.sampling import Model, Wish, sample, sample_latents

    def predict(latents, timestep, condition):
        return condition.context.view(-1, 1, 1, 1).expand_as(latents)

    model = Model(
        predict=predict,
        first_stage=load_first_stage(checkpoints["sd1"], "cpu"),
        objective=Objective(noise_config("scaled_linear", "sample")),
    )
    full, null = Condition(torch.tensor([0.25])), Condition(torch.tensor([0.05]))
    wish = {"condition": full, "size": (64, 32), "seeds": [1], "steps": 3}
    # x0 is what the network says: 0.05 + 3 · (0.25 - 0.05) with guidance, 0.25 without.
    levels = model.table.smallest
    for known, scale, expected in ((null, 3.0, 0.65), (null, 1.0, 0.25), (None, 3.0, 0.25)):
        latents = sample_latents(model, Wish(null=known, guidance_scale=scale, **wish))
        assert latents.shape == (1, 4, 4, 8)
        assert float(latents.mean()) == pytest.approx(expected, abs=3 * levels)
    assert sample(model, Wish(null=null, **wish))[0].size == (64, 32)


def test_a_vector_quantised_first_stage_serves_too(tmp_path, checkpoints):
    import torch
    from diffusers import VQModel

    discs(tmp_path / "dataset", in_classes=True)
    torch.manual_seed(0)
    VQModel(
        block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=3, num_vq_embeddings=16, norm_num_groups=4,
        scaling_factor=1.0,
    ).save_pretrained(tmp_path / "models/vae/quantised")  # fmt: skip
    space = workspace(tmp_path, None, first_stage=tmp_path / "models/vae/quantised")
    told = updates(request(conditioning="class", sample_every=2), space)
    assert any(update.sample for update in told)
    index = json.loads((told[-1].result / "model_index.json").read_text())
    assert index["vae"] == ["diffusers", "VQModel"]
    assert index["conditioner"] == ["webui.training.conditioning", "ClassEmbedder"]


def test_what_does_not_go_together_is_refused_in_words(tmp_path, checkpoints):
    discs(tmp_path / "dataset")

    def refused(asked, space, words, error=TrainingError):
        with pytest.raises(error, match=words):
            updates(asked, space)

    plain = space_of(tmp_path, checkpoints)
    refused(request(objective="epsilon", noise_schedule="zero_snr"), plain, "v_prediction or sample")
    refused(request(conditioning="class"), plain, "a folder of its own", MissingTrainingData)
    refused(request(), workspace(tmp_path, None), "no first stage")
    refused(request(conditioning="layout"), space_of(tmp_path, checkpoints, start="sdxl"), "text and inpainting only")
    xl_words = workspace(tmp_path, None, first_stage=checkpoints["sd1"], text_encoder=checkpoints["sdxl"])
    refused(request(), xl_words, "its own denoiser")
    other_words = workspace(tmp_path, checkpoints["sd1"], text_encoder=checkpoints["sdxl"])
    refused(request(), other_words, "takes words of 16 features, the text encoder gives 40")
    updates(request(conditioning="none"), plain)
    wordless = workspace(tmp_path, None, "other", first_stage=tmp_path / "models/checkpoints/mine")
    refused(request(name="worded"), wordless, "needs a text encoder")
    refused(request(), space_of(tmp_path, checkpoints, "stranger"), "another name")


def test_another_objective_than_the_checkpoints_is_told_before_hours_are_spent(tmp_path, checkpoints):
    discs(tmp_path / "dataset")

    def warnings(**values):
        told = updates(request(steps=1, name=values["objective"], **values), space_of(
            tmp_path, checkpoints, values["objective"], start="sd1"))  # fmt: skip
        return [str(update.warning) for update in told if update.warning]

    assert warnings(objective="epsilon") == []
    assert "another objective or noise schedule" in warnings(objective="v_prediction")[0]
