"""Textual inversion: only the new word's vectors are trained, and every tool reads them."""

import pytest

from tests.training.workshop import discs, finish, learn, losses, until, updates, workspace
from webui.errors import TrainingError
from webui.train_requests import TrainEmbedding

pytestmark = pytest.mark.torch

FAMILIES = ("sd1", "sd2", "sdxl")


def request(**values):
    usual = {
        "name": "mine", "dataset": "dataset", "token": "<disc>", "initial_word": "red cat", "vectors": 2, "steps": 2,
        "batch_size": 2, "size": 64, "seed": 5, "sample_every": 0,
    }  # fmt: skip
    return TrainEmbedding(**(usual | values))


def new_word(checkpoint, **values):
    from webui.training.embedding import NewWord
    from webui.training.networks import load_networks

    networks = load_networks(checkpoint, "cpu", "fp32")
    return networks, NewWord(networks, request(**values))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_few_steps_lower_the_loss_and_change_the_new_vectors_alone(tmp_path, checkpoints, family):
    import torch

    from webui.training.adapter import Lesson, prepare_material
    from webui.training.course import stage_of
    from webui.training.loop import Trainer

    discs(tmp_path / "dataset")
    networks, word = new_word(checkpoints[family], steps=5, learning_rate=0.03)
    asked = request(steps=5, learning_rate=0.03)
    space = workspace(tmp_path, checkpoints[family])
    frozen = [weight for tower in networks.texts.towers for weight in tower.encoder.parameters()]
    frozen = [weight for weight in [*frozen, *networks.unet.parameters()] if not weight.requires_grad]
    before_training = [weight.clone() for weight in frozen]
    began = {name: rows.clone() for name, rows in word.tensors().items()}
    trainer = Trainer(stage_of(asked, space, weight_decay=0.0), word.model)
    lesson = Lesson(
        request=asked, workspace=space, networks=networks, done=0,
        caption_of=lambda example: word.placed(f"<disc>, {example.caption}"), texts_learn=True,
    )  # fmt: skip
    before, after = learn(trainer, finish(prepare_material(lesson)).loss)
    assert after < before
    assert not any(torch.equal(rows, began[name]) for name, rows in word.tensors().items())
    assert all(torch.equal(weight, then) for weight, then in zip(frozen, before_training, strict=True))
    assert sum(weight.numel() for weight in word.model.parameters()) == 2 * networks.texts.features


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_without_the_word_are_encoded_as_before_to_the_last_bit(checkpoints, family):
    import torch

    from webui.training.networks import load_networks

    before = load_networks(checkpoints[family], "cpu", "fp32").texts.encode(["the red cat", ""])
    networks, word = new_word(checkpoints[family])
    after = networks.texts.encode(["the red cat", ""])
    assert torch.equal(after.hidden, before.hidden)
    assert before.pooled is None or torch.equal(after.pooled, before.pooled)
    assert not torch.equal(networks.texts.encode([word.placed("the <disc> cat")]).hidden[0], before.hidden[0])


def test_the_word_begins_as_the_one_it_is_told_to_be_near(checkpoints):
    """Each place holds a known token's vector, so the prompt means at first what the initial word means."""
    import torch

    networks, word = new_word(checkpoints["sd1"], vectors=2, initial_word="red cat")
    placed = networks.texts.encode([word.placed("the <disc>")]).hidden
    assert torch.equal(placed, networks.texts.encode(["the red cat"]).hidden)
    _, longer = new_word(checkpoints["sd1"], vectors=5, initial_word="red cat")
    rows = longer.tensors()["emb_params"]
    assert rows.shape == (5, 16)
    assert torch.equal(rows[0], rows[2])


def test_an_empty_initial_word_is_refused(checkpoints):
    with pytest.raises(TrainingError, match="object or style"):
        new_word(checkpoints["sd1"], initial_word="")


def test_the_end_of_a_text_is_found_behind_the_new_word(checkpoints):
    """SDXL's pooled text is the state at the end mark, which old configs look for by the highest id."""
    networks, word = new_word(checkpoints["sdxl"])
    tower = networks.texts.towers[1]
    ids = tower.tokens([word.placed("<disc> cat")]).input_ids
    assert int(ids.max()) > tower.tokenizer.eos_token_id, "the new word has the highest id"
    assert tower.encoder.text_model.eos_token_id == tower.tokenizer.eos_token_id


@pytest.mark.parametrize("family", FAMILIES)
def test_diffusers_reads_the_file_and_encodes_the_word_as_it_was_trained(tmp_path, checkpoints, family):
    import torch
    from diffusers import DiffusionPipeline
    from safetensors.torch import load_file

    from webui.training.results import write_tensors

    networks, word = new_word(checkpoints[family])
    torch.manual_seed(0)
    for rows in word.model.parameters():
        rows.data = torch.randn_like(rows)
    tensors = load_file(write_tensors(word.tensors(), {}, tmp_path / "mine.safetensors"))
    pipeline = DiffusionPipeline.from_pretrained(checkpoints[family], local_files_only=True)
    if family == "sdxl":
        assert tensors.keys() == {"clip_l", "clip_g"}
        towers = ((pipeline.text_encoder, pipeline.tokenizer), (pipeline.text_encoder_2, pipeline.tokenizer_2))
        for name, (encoder, tokenizer) in zip(("clip_l", "clip_g"), towers, strict=True):
            pipeline.load_textual_inversion(tensors[name], token="<disc>", text_encoder=encoder, tokenizer=tokenizer)
    else:
        assert tensors["emb_params"].shape == (2, 16)
        pipeline.load_textual_inversion(tmp_path / "mine.safetensors", token="<disc>")
    theirs = pipeline.encode_prompt(
        "the <disc> cat", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    ours = networks.texts.encode([word.placed("the <disc> cat")])
    assert torch.allclose(ours.hidden, theirs[0], atol=1e-5)
    assert ours.pooled is None or torch.allclose(ours.pooled, theirs[2], atol=1e-5)


def test_the_word_gets_into_every_caption():
    from pathlib import Path

    from webui.training.data import Example
    from webui.training.embedding import caption_of

    def caption(text):
        return caption_of(Example(path=Path("a.png"), size=(64, 64), caption=text), "disc")

    assert caption("a red disc") == "a red disc"
    assert caption("a red circle") == "disc, a red circle"
    assert caption("many discs") == "disc, many discs", "a part of another word is not the word"
    assert "disc" in caption("")


def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(tmp_path, checkpoints):
    import torch
    from safetensors.torch import load_file

    discs(tmp_path / "dataset")
    whole = updates(request(name="whole", steps=3), workspace(tmp_path, checkpoints["sd1"], "whole"))
    cut = request(name="cut", steps=3)
    first = until(cut, workspace(tmp_path, checkpoints["sd1"], "cut"), 1)
    second = updates(cut, workspace(tmp_path, checkpoints["sd1"], "cut"))
    assert losses(first) | losses(second) == losses(whole)
    mine, theirs = load_file(second[-1].result), load_file(whole[-1].result)
    assert torch.equal(mine["emb_params"], theirs["emb_params"])


def test_a_sample_picture_shows_the_word_and_the_result_lies_among_the_embeddings(tmp_path, checkpoints):
    discs(tmp_path / "dataset")
    told = updates(request(sample_every=2), workspace(tmp_path, checkpoints["sd2"]))
    assert [update.step for update in told if update.sample] == [2]
    assert told[-1].result == tmp_path / "models/embeddings/mine.safetensors"


def test_what_others_made_is_never_overwritten(tmp_path, checkpoints):
    discs(tmp_path / "dataset")
    updates(request(), workspace(tmp_path, checkpoints["sd1"], "theirs"))
    before = (tmp_path / "models/embeddings/mine.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="another name"):
        updates(request(), workspace(tmp_path, checkpoints["sd1"], "mine"))
    assert (tmp_path / "models/embeddings/mine.safetensors").read_bytes() == before
