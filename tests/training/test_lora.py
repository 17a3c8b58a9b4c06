"""LoRA: nothing changes at first, training changes the additions alone, and every tool reads the file."""

import json

import pytest

from tests.training.workshop import discs, finish, learn, losses, predictions, until, updates, workspace
from webui.errors import TrainingError
from webui.train_requests import TrainLora

pytestmark = pytest.mark.torch

FAMILIES = ("sd1", "sd2", "sdxl")
LAYERS = ("attention", "attention and feed-forward", "all")


def request(**values):
    usual = {
        "name": "mine", "dataset": "dataset", "steps": 2, "batch_size": 2, "size": 64, "seed": 5, "rank": 2,
        "alpha": 3.0, "sample_every": 0, "learning_rate": 1e-2,
    }  # fmt: skip
    return TrainLora(**(usual | values))


def loaded(path):
    from safetensors.torch import load_file

    return load_file(path)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_lora_changes_no_bit_of_any_prediction(checkpoints, family):
    import torch

    from webui.training.lora import add_lora
    from webui.training.networks import load_networks

    networks = load_networks(checkpoints[family], "cpu", "fp32")
    before, words = predictions(networks), networks.texts.encode(["the red cat"])
    add_lora(networks, request(layers="all", train_text_encoder=True))
    assert torch.equal(predictions(networks), before)
    assert torch.equal(networks.texts.encode(["the red cat"]).hidden, words.hidden)


@pytest.mark.parametrize(("family", "trains_text"), [("sd1", False), ("sd1", True), ("sd2", False), ("sdxl", True)])
def test_a_few_steps_lower_the_loss_and_touch_nothing_but_the_additions(tmp_path, checkpoints, family, trains_text):
    import torch

    from webui.training.adapter import Lesson, prepare_material
    from webui.training.course import stage_of
    from webui.training.loop import Trainer
    from webui.training.lora import add_lora
    from webui.training.networks import load_networks

    discs(tmp_path / "dataset")
    asked = request(steps=4, layers="all", train_text_encoder=trains_text)
    space = workspace(tmp_path, checkpoints[family])
    networks = load_networks(checkpoints[family], "cpu", "fp32")
    lora = add_lora(networks, asked)
    frozen = {
        name: weight.clone()
        for name, weight in lora.model.state_dict().items()
        if "lora_A" not in name and "lora_B" not in name
    }
    trainer = Trainer(stage_of(asked, space), lora.model, lora.weights)
    lesson = Lesson(
        request=asked, workspace=space, networks=networks, done=0, caption_of=lambda example: example.caption,
        texts_learn=trains_text,
    )  # fmt: skip
    material = finish(prepare_material(lesson))
    before, after = learn(trainer, material.loss)
    assert after < before
    after_training = lora.model.state_dict()
    assert frozen
    assert all(torch.equal(after_training[name], weight) for name, weight in frozen.items())


@pytest.mark.parametrize(
    ("family", "layers"),
    [("sd1", "attention"), ("sd1", "attention and feed-forward"), ("sd1", "all"), ("sd2", "all"), ("sdxl", "all")],
)
def test_diffusers_reads_the_file_and_predicts_what_was_trained(tmp_path, checkpoints, family, layers):
    """Random additions instead of trained ones: every layer of every network has to arrive."""
    import torch
    from diffusers import DiffusionPipeline

    from webui.training.lora import add_lora, kohya_tensors
    from webui.training.networks import load_networks
    from webui.training.results import write_tensors

    networks = load_networks(checkpoints[family], "cpu", "fp32")
    lora = add_lora(networks, request(layers=layers, train_text_encoder=True))
    plain = predictions(networks)
    torch.manual_seed(0)
    for weight in lora.weights:
        weight.data = (torch.randn(weight.shape) / 8).half().float()
    path = write_tensors(kohya_tensors(lora.parts, networks), {}, tmp_path / "mine.safetensors")
    pipeline = DiffusionPipeline.from_pretrained(checkpoints[family], local_files_only=True)
    pipeline.load_lora_weights(path)
    theirs = encoded_by(pipeline)
    ours = networks.texts.encode(["the red cat"])
    for mine, other in zip((ours.hidden, ours.pooled), theirs, strict=False):
        assert mine is None or torch.allclose(mine, other, atol=1e-5)
    with_lora = predictions(networks)
    networks = load_networks(checkpoints[family], "cpu", "fp32")
    object.__setattr__(networks, "unet", pipeline.unet)
    assert torch.allclose(predictions(networks), with_lora, atol=1e-5)
    assert not torch.allclose(with_lora, plain, atol=1e-2), "the additions count at all"


def encoded_by(pipeline):
    """(hidden, pooled or nothing) of a prompt, by diffusers' own pipeline."""
    encoded = pipeline.encode_prompt(
        "the red cat", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    return (encoded[0], encoded[2]) if len(encoded) == 4 else (encoded[0],)


def test_a_lora_of_weight_0_gives_the_picture_without_it_to_the_last_bit(tmp_path, checkpoints):
    import numpy as np
    import torch
    from diffusers import StableDiffusionPipeline

    discs(tmp_path / "dataset")
    told = updates(request(layers="all", train_text_encoder=True), workspace(tmp_path, checkpoints["sd1"]))
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoints["sd1"], local_files_only=True, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)

    def draw():
        generator = torch.Generator().manual_seed(1)
        return np.asarray(
            pipeline("a red disc", num_inference_steps=2, height=64, width=64, generator=generator).images[0]
        )

    without = draw()
    pipeline.load_lora_weights(told[-1].result, adapter_name="mine")
    assert not np.array_equal(draw(), without)
    pipeline.set_adapters(["mine"], [0.0])
    assert np.array_equal(draw(), without)


@pytest.mark.parametrize("trains_text", [False, True])
def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path, checkpoints, trains_text):
    import torch

    discs(tmp_path / "dataset")
    values = {"ema_decay": 0.9, "steps": 3, "train_text_encoder": trains_text, "sample_every": 0 if trains_text else 2}
    whole = updates(request(name="whole", **values), workspace(tmp_path, checkpoints["sd1"], "whole"))
    asked = request(name="cut", **values)
    first = until(asked, workspace(tmp_path, checkpoints["sd1"], "cut"), 1)
    second = updates(asked, workspace(tmp_path, checkpoints["sd1"], "cut"))
    assert losses(first) | losses(second) == losses(whole)
    assert list(losses(second)) == [2, 3]
    mine, theirs = loaded(second[-1].result), loaded(whole[-1].result)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_finished_run_gives_its_result_again(tmp_path, checkpoints):
    discs(tmp_path / "dataset")
    space = workspace(tmp_path, checkpoints["sd1"])
    first, again = updates(request(), space), updates(request(), space)
    assert losses(again) == {}
    assert again[-1].result == first[-1].result


def test_what_others_made_is_never_overwritten(tmp_path, checkpoints):
    discs(tmp_path / "dataset")
    theirs = tmp_path / "models/loras/mine.safetensors"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"precious")
    with pytest.raises(TrainingError, match=r"There is a mine.safetensors in loras already.*another name"):
        updates(request(), workspace(tmp_path, checkpoints["sd1"]))
    assert theirs.read_bytes() == b"precious"


def test_the_file_has_kohyas_names_and_says_what_it_is(tmp_path, checkpoints):
    from safetensors import safe_open

    discs(tmp_path / "dataset")
    told = updates(request(trigger="zkz", train_text_encoder=True), workspace(tmp_path, checkpoints["sd1"]))
    with safe_open(told[-1].result, "pt") as file:
        names, metadata = set(file.keys()), file.metadata()
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0"
    text_name = "lora_te_text_model_encoder_layers_1_self_attn_q_proj"
    endings = (".lora_down.weight", ".lora_up.weight", ".alpha")
    assert {each + ending for each in (name, text_name) for ending in endings} <= names
    tensors = loaded(told[-1].result)
    assert tensors[f"{name}.lora_down.weight"].shape == (2, 16)
    assert tensors[f"{name}.alpha"] == 3.0
    expected = {"ss_network_dim": "2", "ss_network_alpha": "3.0", "ss_base_model_version": "sd_v1"}
    assert expected.items() <= metadata.items()
    assert json.loads(metadata["easel"])["trigger"] == metadata["modelspec.trigger_phrase"] == "zkz"


@pytest.mark.parametrize(
    ("ours", "sgm"),
    [
        (
            "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k",
            "input_blocks.4.1.transformer_blocks.1.attn2.to_k",
        ),
        ("down_blocks.2.attentions.1.proj_in", "input_blocks.8.1.proj_in"),
        ("mid_block.attentions.0.proj_out", "middle_block.1.proj_out"),
        ("mid_block.resnets.1.conv1", "middle_block.2.in_layers.2"),
        ("up_blocks.0.attentions.2.proj_in", "output_blocks.2.1.proj_in"),
        ("up_blocks.1.attentions.0.proj_in", "output_blocks.3.1.proj_in"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        ("down_blocks.1.resnets.0.conv_shortcut", "input_blocks.4.0.skip_connection"),
        ("up_blocks.2.resnets.1.time_emb_proj", "output_blocks.7.0.emb_layers.1"),
    ],
)
def test_layers_of_sdxl_go_by_the_names_that_kohya_gives_them(ours, sgm):
    """Two layers per block, as the real one has; the numbers are those of files in circulation."""
    from webui.training.lora import sgm_name

    assert sgm_name(ours, 2) == sgm


def test_more_layers_and_the_text_encoder_learn_only_when_asked(checkpoints):
    from webui.training.lora import add_lora, kohya_tensors
    from webui.training.networks import load_networks

    def names(**values):
        networks = load_networks(checkpoints["sd1"], "cpu", "fp32")
        return set(kohya_tensors(add_lora(networks, request(**values)).parts, networks))

    attention, more, everything = (names(layers=layers) for layers in LAYERS)
    assert attention < more < everything
    assert not any(name.startswith("lora_te") for name in everything)
    assert any("resnets" in name for name in everything - more)
    assert any(name.startswith("lora_te") for name in names(train_text_encoder=True))


def test_the_trigger_stands_before_every_caption():
    from webui.training.lora import with_trigger

    assert with_trigger("a cat", "zkz") == "zkz, a cat"
    assert (with_trigger("", "zkz"), with_trigger("a cat", "")) == ("zkz", "a cat")


def test_a_sample_picture_comes_when_asked(tmp_path, checkpoints):
    discs(tmp_path / "dataset")
    told = updates(
        request(sample_every=1, steps=1, sample_prompt="a blue disc"), workspace(tmp_path, checkpoints["sd1"])
    )
    samples = [update for update in told if update.sample]
    assert [update.step for update in samples] == [1]
    assert all(update.sample.startswith(b"\xff\xd8") for update in samples)


def test_training_in_bf16_keeps_the_additions_in_full_precision(tmp_path, checkpoints):
    import torch

    from webui.training.lora import add_lora
    from webui.training.networks import load_networks

    networks = load_networks(checkpoints["sd1"], "cpu", "bf16")
    assert networks.unet.dtype == torch.bfloat16
    lora = add_lora(networks, request())
    assert {weight.dtype for weight in lora.weights} == {torch.float32}
    discs(tmp_path / "dataset")
    told = updates(request(precision="bf16", steps=1, sample_every=1), workspace(tmp_path, checkpoints["sd1"]))
    assert len(losses(told)) == 1
    assert any(update.sample for update in told)


def test_without_a_checkpoint_nothing_begins(tmp_path):
    with pytest.raises(TrainingError, match="Choose one"):
        updates(request(), workspace(tmp_path, None))


def test_a_checkpoint_for_inpainting_is_refused_in_words(tmp_path, checkpoints):
    import shutil

    from webui.errors import CheckpointError
    from webui.training.networks import load_networks, load_unet, widen_input

    folder = shutil.copytree(checkpoints["sd1"], tmp_path / "inpainting")
    unet = load_unet(folder, "cpu", "fp32")
    widen_input(unet, 9)
    unet.save_pretrained(folder / "unet")
    with pytest.raises(CheckpointError, match="takes 9 channels and its latents have 4"):
        load_networks(folder, "cpu", "fp32")


def test_captions_that_are_cut_off_are_told(tmp_path, checkpoints):
    folder = discs(tmp_path / "dataset", 2)
    (folder / "metadata.jsonl").unlink()
    (folder / "disc0.txt").write_text("cat " * 100)
    told = updates(request(steps=1), workspace(tmp_path, checkpoints["sd1"]))
    warnings = [str(update.warning) for update in told if update.warning]
    assert "1 of the captions have more than 75 tokens. What is beyond them is not learnt." in warnings


def test_a_big_unet_computes_its_activations_again_and_learns_the_same(tmp_path, checkpoints, monkeypatch):
    from webui.training import networks

    discs(tmp_path / "dataset", 2)
    plain = losses(updates(request(name="plain"), workspace(tmp_path, checkpoints["sd1"], "plain")))
    monkeypatch.setattr(networks, "BIG_UNET", 0)
    assert networks.load_unet(checkpoints["sd1"], "cpu", "fp32").is_gradient_checkpointing
    again = losses(updates(request(name="again"), workspace(tmp_path, checkpoints["sd1"], "again")))
    assert again == plain


def test_a_result_that_cannot_be_written_is_told_and_leaves_nothing_behind(tmp_path, checkpoints):
    from webui.errors import CannotSaveRun

    discs(tmp_path / "dataset", 2)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/loras").write_text("in the way")
    with pytest.raises(CannotSaveRun):
        updates(request(steps=1), workspace(tmp_path, checkpoints["sd1"]))
    (tmp_path / "models/loras").unlink()
    told = updates(request(steps=1), workspace(tmp_path, checkpoints["sd1"]))
    assert losses(told) == {}, "what was learnt is there"
    assert [path.name for path in told[-1].result.parent.iterdir()] == ["mine.safetensors"]
