"""Training: stages stop and go on where they were, latents are normalised without changing a picture."""

import csv

import pytest

from webui.errors import InvalidRecipe, MissingTrainingData, TrainingDiverged
from webui.training.recipe import AutoencoderRecipe, available_recipes, load_recipe

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", sorted(available_recipes()))
def test_every_shipped_recipe_is_valid(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "valid recipe"),
        ("name = ", "valid recipe"),
        ("x = 1", "valid recipe"),
    ],
)
def test_a_wrong_recipe_is_refused_in_words(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InvalidRecipe, match=words):
        load_recipe(str(path))
    with pytest.raises(InvalidRecipe, match="Shipped: first"):
        load_recipe("absent")


def test_missing_pictures_are_named(tmp_path):
    from webui.training.emoji import load_emoji

    with pytest.raises(MissingTrainingData, match="emojibase-data"):
        load_emoji(tmp_path, load_recipe("first").pictures)


@pytest.fixture
def line():
    """A model of two numbers that learns a straight line."""
    import torch

    return torch.nn.Linear(1, 1)


def line_loss(model):
    import torch

    def loss_of(generator):
        x = torch.rand(8, 1, generator=generator)
        return (model(x) - (2 * x + 1)).pow(2).mean()

    return loss_of


def test_a_stage_learns_and_writes_its_loss_curve(tmp_path, line):
    from webui.training.loop import Stage, Trainer

    trainer = Trainer(Stage(tmp_path / "stage", 0.01, 0.05), line)
    losses = [progress.loss for progress in trainer.run(line_loss(line))]
    assert losses[-1] < losses[0] / 4
    assert trainer.finished
    rows = list(csv.DictReader((tmp_path / "stage/loss.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(50, trainer.step + 1, 50))


def test_a_stage_that_was_stopped_goes_on_exactly_as_if_it_had_not_been(tmp_path, line):
    import copy

    import torch

    from webui.training.loop import Stage, Trainer

    def steps(trainer, model, count):
        for progress in trainer.run(line_loss(model)):
            if progress.step >= count:
                break

    # An hour long, so that the share of time, and with it the learning rate, is practically the same in both.
    stage = Stage(tmp_path / "cut", 60, 0.01)
    twin = copy.deepcopy(line)
    whole = Trainer(Stage(tmp_path / "whole", 60, 0.01), twin)
    steps(whole, twin, 40)

    first = Trainer(stage, line)
    steps(first, line, 20)
    first.save()
    fresh = torch.nn.Linear(1, 1)
    second = Trainer(stage, fresh)
    assert second.step == 20
    steps(second, fresh, 40)
    for mine, theirs in zip(fresh.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_loss_that_is_no_number_stops_the_stage_and_keeps_the_checkpoint(tmp_path, line):
    import torch

    from webui.training.loop import Stage, Trainer

    trainer = Trainer(Stage(tmp_path / "stage", 1, 0.01), line)
    trainer.save()
    before = (tmp_path / "stage/state.pt").read_bytes()
    with pytest.raises(TrainingDiverged, match="checkpoint is intact"):
        list(trainer.run(lambda _: (line.weight * torch.nan).sum()))
    assert (tmp_path / "stage/state.pt").read_bytes() == before


def test_normalising_latents_changes_the_latents_and_not_the_pictures():
    import torch

    from webui.training.autoencoder import build_autoencoder, normalise_latents

    torch.manual_seed(0)
    model = build_autoencoder(AutoencoderRecipe(minutes=1, block_out_channels=(8, 8)), 16).eval()
    pictures = torch.rand(6, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        before = model.decode(model.encode(pictures).latent_dist.mean).sample
        spread = model.encode(pictures).latent_dist.std
        deviation = model.encode(pictures).latent_dist.mean.std((0, 2, 3))
        normalise_latents(model, pictures)
        posterior = model.encode(pictures).latent_dist
        after = model.decode(posterior.mean).sample
    assert torch.allclose(posterior.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(posterior.mean.std((0, 2, 3)), torch.ones(4), atol=1e-3)
    assert torch.allclose(posterior.std, spread / deviation.view(1, -1, 1, 1), rtol=1e-3)
    assert torch.allclose(before, after, atol=1e-4)


def test_the_own_tokenizer_cuts_like_clip_and_knows_every_byte(tmp_path):
    from webui.training.text_encoder import train_tokenizer

    texts = ["a red apple", "red apples", "the panda", "사과", "it's 42!"] * 3
    tokenizer = train_tokenizer(texts, 600, tmp_path)
    for text in ("A Red  apple", "사과", "zebra ☃ é", "it's 42!"):
        ids = tokenizer(text).input_ids
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.tokenize("red apple")[0] == "red</w>"
    assert (tmp_path / "merges.txt").exists()


def test_training_refuses_an_output_that_would_cost_other_files(tmp_path):
    from webui.errors import TrainingError
    from webui.training.pipeline import check_output

    (tmp_path / "models/other").mkdir(parents=True)
    with pytest.raises(TrainingError, match="no checkpoint"):
        check_output(tmp_path / "models", tmp_path / "run")
    for output, run in (("a", "a"), ("a/b", "a"), ("a", "a/b")):
        with pytest.raises(TrainingError, match="inside each other"):
            check_output(tmp_path / output, tmp_path / run)
    check_output(tmp_path / "models/new", tmp_path / "run")


def paper_emoji(count, size=64):
    """Pictures nobody drew: coloured discs, enough to go through every stage."""
    import numpy as np

    from webui.training.emoji import Emoji

    rows, columns = np.mgrid[:size, :size]
    disc = (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 3) ** 2
    colours = np.random.default_rng(0).integers(0, 255, (count, 3), dtype=np.uint8)
    return [
        Emoji(
            style="fluent3d", hexcode=str(number), label=f"disc {number}", tags=("round",), subgroup="geometric",
            korean=("원",), pixels=np.dstack([np.full((size, size, 3), colour), disc * np.uint8(255)]).astype(np.uint8),
        )
        for number, colour in enumerate(colours)
    ]  # fmt: skip


def test_all_stages_in_a_row_give_a_folder_that_the_product_draws_with(tmp_path):
    import torch

    from webui.contract import Job
    from webui.engine.engine import create_engine
    from webui.events import Done, Image
    from webui.library import Library
    from webui.requests import build
    from webui.training.autoencoder import normalise_latents, over, to_rgba, train_autoencoder
    from webui.training.diffusion import train_unet
    from webui.training.pipeline import Parts, assemble
    from webui.training.recipe import Card, DiffusionRecipe, TextEncoderRecipe
    from webui.training.text_encoder import build_text_encoder, train_tokenizer

    moment = 0.01  # minutes
    pictures = paper_emoji(6)
    small = AutoencoderRecipe(minutes=moment, block_out_channels=(8, 8, 8, 8), crop=32, batch_size=2)
    vae, quality = train_autoencoder(small, pictures, tmp_path / "autoencoder", 0)
    assert quality > 0
    normalise_latents(vae, over(to_rgba(pictures), torch.ones(1)))
    tokenizer = train_tokenizer(["a disc", "round"], 600, tmp_path / "tokenizer")
    encoder = build_text_encoder(TextEncoderRecipe(minutes=1, hidden_size=32, layers=1, heads=2), tokenizer).eval()
    tiny = DiffusionRecipe(
        minutes=moment, block_out_channels=(8, 16), attention_heads=(1, 2), norm_groups=4, batch_size=2, augmentations=2
    )
    unet = train_unet(tiny, pictures, vae, encoder, tokenizer, tmp_path / "denoiser", 0)
    output = tmp_path / "models/checkpoints/toy"
    output.parent.mkdir(parents=True)
    card = Card(title="Toy", defaults={"guidance_scale": 2.0})
    assemble(Parts(vae, encoder, tokenizer, tmp_path / "tokenizer", unet), card, pictures, output)

    passport = Library(output.parent).find("toy")
    assert (passport.title, passport.native_size, passport.defaults["guidance_scale"]) == ("Toy", 64, 2.0)
    assert {"vocab.json", "merges.txt"} <= {path.name for path in (output / "tokenizer").iterdir()}
    request = build(
        "txt2img", {**passport.defaults, "checkpoint": "toy", "prompt": "a disc", "seed": 1, "num_inference_steps": 2}
    )
    events = list(create_engine(tmp_path / "models", "cpu").run(Job(id="j", request=request), lambda: None))
    assert isinstance(events[-1], Done), events[-1]
    assert any(isinstance(event, Image) for event in events)
