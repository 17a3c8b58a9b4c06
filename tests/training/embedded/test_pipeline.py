"""Every stage of the embedded model learns, goes on where it was, and together they make a folder that draws."""

import itertools
import random

import pytest

from tests.training.embedded.paper import paper_emoji
from webui.errors import TrainingError, UnknownName
from webui.training.recipe import (
    AutoencoderRecipe,
    Card,
    ClassifierRecipe,
    DiffusionRecipe,
    Mix,
    PictureSet,
    PreviewRecipe,
    Recipe,
    TextEncoderRecipe,
)

pytestmark = pytest.mark.torch

SMALL_DENOISER = DiffusionRecipe(
    steps=3, block_out_channels=(8, 16), attention_heads=(1, 2), norm_groups=4, batch_size=2, pool=16, chunk=8, reuse=1
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """First stage, text encoder, tokenizer, its folder and preview decoder, each after a moment of training."""
    from webui.training.autoencoder import normalise_latents
    from webui.training.embedded.first_stage import plain_pictures, train_first_stage
    from webui.training.embedded.preview import train_preview
    from webui.training.embedded.scenes import Composer
    from webui.training.embedded.text_encoder import build_text_encoder, train_tokenizer

    folder = tmp_path_factory.mktemp("parts")
    pictures = paper_emoji(24)
    small = AutoencoderRecipe(steps=3, block_out_channels=(8, 8, 8, 8), crop=32, batch_size=2)
    vae, quality = train_first_stage(small, pictures, folder / "autoencoder", 0)
    assert quality > 0
    normalise_latents(vae, plain_pictures(pictures))
    tokenizer = train_tokenizer(["a disc", "round"], 600, folder / "tokenizer")
    encoder = build_text_encoder(TextEncoderRecipe(minutes=1, hidden_size=32, layers=1, heads=2), tokenizer).eval()
    composer = Composer(pictures, Mix(), 0)
    preview = train_preview(PreviewRecipe(steps=100, batch_size=4), composer, vae, folder / "preview", 0)
    return vae, encoder, tokenizer, folder / "tokenizer", preview


def test_all_stages_in_a_row_give_a_folder_that_the_product_draws_with(tmp_path, parts):
    from webui.contract import Job
    from webui.engine.engine import create_engine
    from webui.events import Done, Image
    from webui.library import Library
    from webui.requests import build
    from webui.training.embedded.denoiser import Encoders, train_denoiser
    from webui.training.embedded.pipeline import Parts, assemble
    from webui.training.embedded.scenes import Composer

    vae, encoder, tokenizer, files, preview = parts
    pictures = paper_emoji(6)
    composer = Composer(pictures, Mix(), 0)
    unet = train_denoiser(SMALL_DENOISER, composer, Encoders(vae, encoder, tokenizer), tmp_path / "denoiser", 0)
    output = tmp_path / "models/checkpoints/toy"
    output.parent.mkdir(parents=True)
    assemble(
        Parts(vae, encoder, tokenizer, files, unet, preview),
        Card(title="Toy", defaults={"guidance_scale": 2.0}),
        pictures,
        output,
    )

    passport = Library(output.parent).find("toy")
    assert (passport.title, passport.native_size, passport.defaults["guidance_scale"]) == ("Toy", 64, 2.0)
    assert {"vocab.json", "merges.txt"} <= {path.name for path in (output / "tokenizer").iterdir()}
    request = build(
        "txt2img", {**passport.defaults, "checkpoint": "toy", "prompt": "a disc", "seed": 1, "num_inference_steps": 2}
    )
    events = list(create_engine(tmp_path / "models", "cpu").run(Job(id="j", request=request), lambda: None))
    assert isinstance(events[-1], Done), events[-1]
    assert any(isinstance(event, Image) for event in events)


@pytest.fixture
def finished(tmp_path, parts):
    """The folder of a finished model."""
    from webui.training.embedded.denoiser import build_unet
    from webui.training.embedded.pipeline import Parts, assemble

    vae, encoder, tokenizer, files, preview = parts
    unet = build_unet(SMALL_DENOISER, 8, 32, 4)
    assemble(
        Parts(vae, encoder, tokenizer, files, unet, preview), Card(title="Toy"), paper_emoji(6), tmp_path / "finished"
    )
    return tmp_path / "finished"


def test_one_part_is_trained_on_and_the_others_stay_as_they_are(tmp_path, finished, monkeypatch):
    from webui.training.embedded import pipeline

    monkeypatch.setattr(pipeline, "load_emoji", lambda *_: paper_emoji(6))
    recipe = Recipe(
        name="toy",
        card=Card(title="Toy"),
        pictures=PictureSet(styles=("paper",), subgroups=("disc",), size=64),
        autoencoder=AutoencoderRecipe(steps=1),
        text_encoder=TextEncoderRecipe(steps=1),
        diffusion=SMALL_DENOISER,
    )
    start = pipeline.Start(finished, only=["denoiser"])
    pipeline.train(recipe, tmp_path, tmp_path / "run", tmp_path / "longer", start=start)

    def weights(folder, name):
        return next((folder / name).glob("*.safetensors")).read_bytes()

    for kept in ("vae", "text_encoder", "."):
        assert weights(tmp_path / "longer", kept) == weights(finished, kept)
    assert weights(tmp_path / "longer", "unet") != weights(finished, "unet")


def test_a_network_begins_with_weights_of_its_own_shape_only(finished):
    import torch

    from webui.training.embedded.denoiser import build_unet
    from webui.training.embedded.start import begin_as, read_network

    same, other = build_unet(SMALL_DENOISER, 8, 32, 4), build_unet(SMALL_DENOISER, 8, 16, 4)
    assert not begin_as(same, None)
    before = other.conv_in.weight.clone()
    assert not begin_as(other, finished / "unet")
    assert torch.equal(other.conv_in.weight, before)
    assert begin_as(same, finished / "unet")
    assert torch.equal(same.conv_in.weight, read_network(type(same), finished / "unet").conv_in.weight)


def test_a_start_that_cannot_be_is_refused(tmp_path):
    from webui.training.embedded.pipeline import Start

    with pytest.raises(UnknownName, match="first-stage, words, denoiser"):
        Start(tmp_path, only=["unet"])
    with pytest.raises(TrainingError, match="--start-from"):
        Start(only=["denoiser"])
    with pytest.raises(TrainingError, match="no folder vae"):
        Start(tmp_path, only=["denoiser"]).needed("vae")


def test_the_preview_decoder_comes_near_to_the_real_one(parts):
    import torch
    import torch.nn.functional as F

    from webui.engine.preview_decoder import PreviewDecoder
    from webui.training.embedded.first_stage import plain_pictures

    vae, *_, preview = parts
    with torch.no_grad():
        latents = vae.encode(plain_pictures(paper_emoji(6))).latent_dist.mean
        real = F.interpolate(vae.decode(latents).sample, scale_factor=0.5, mode="area")
        untaught = F.l1_loss(PreviewDecoder(4)(latents), real)
        assert F.l1_loss(preview(latents), real) < 0.9 * untaught


def test_a_resumed_pool_shows_what_an_uninterrupted_one_shows(parts):
    import torch

    from webui.training.embedded.denoiser import Encoders, Pool
    from webui.training.embedded.scenes import Composer

    vae, encoder, tokenizer, _, _ = parts
    composer, encoders = Composer(paper_emoji(4), Mix(), 0), Encoders(vae, encoder, tokenizer)
    recipe = DiffusionRecipe(steps=1, batch_size=8, pool=32, chunk=16, reuse=1)
    one, other = (Pool(composer, encoders, recipe, 0) for _ in range(2))

    def batch(pool, number):
        return pool.batch(number, torch.Generator().manual_seed(number))

    walked = [batch(one, number) for number in range(6)][-1]
    jumped = batch(other, 5)
    assert torch.equal(walked[0], jumped[0])
    assert torch.equal(walked[1], jumped[1])
    assert not torch.equal(walked[0], batch(one, 9)[0])


def test_the_own_tokenizer_cuts_like_clip_and_knows_every_byte(tmp_path):
    from webui.training.embedded.text_encoder import train_tokenizer

    texts = ["a red apple", "red apples", "the panda", "사과", "it's 42!"] * 3
    tokenizer = train_tokenizer(texts, 600, tmp_path)
    for text in ("A Red  apple", "사과", "zebra ☃ é", "it's 42!"):
        ids = tokenizer(text).input_ids
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.tokenize("red apple")[0] == "red</w>"
    assert (tmp_path / "merges.txt").exists()


def test_the_student_learns_what_the_teacher_says(tmp_path):
    """Four texts in two meanings: afterwards those of one meaning are nearer to each other."""
    import torch
    import torch.nn.functional as F

    from webui.training.embedded.text_encoder import Student, distil, train_tokenizer
    from webui.training.embedded.text_encoder import build_text_encoder as build

    torch.manual_seed(0)
    texts = ["cat", "kitten", "고양이", "car", "truck", "자동차"] * 20
    meanings = F.normalize(torch.randn(2, 384), dim=-1)
    teacher = torch.stack([meanings[index % 6 // 3] for index in range(len(texts))])
    recipe = TextEncoderRecipe(steps=150, hidden_size=32, layers=1, heads=2, batch_size=16)
    tokenizer = train_tokenizer(texts, 600, tmp_path)
    encoder = distil(recipe, Student(build(recipe, tokenizer)), tokenizer, texts, teacher, tmp_path / "run", 0)
    with torch.no_grad():
        cat, korean_cat, car = (
            encoder(**tokenizer([text], padding="max_length", max_length=77, return_tensors="pt")).last_hidden_state[
                0, -1
            ]
            for text in ("cat", "고양이", "car")
        )
    assert F.cosine_similarity(cat, korean_cat, dim=0) > F.cosine_similarity(cat, car, dim=0) + 0.2


def test_like_lengths_are_grouped_and_nothing_is_lost():
    from webui.training.embedded.text_encoder import length_groups

    encoded = [[0] * random.Random(index).randint(3, 12) for index in range(200)]
    groups = length_groups(encoded, 30, {5, 7})
    assert sorted(index for group in groups for index in group) == [
        index for index in range(200) if index not in (5, 7)
    ]
    assert all(len(group) >= 30 for group in groups[:-1])
    lengths = [{len(encoded[index]) for index in group} for group in groups]
    assert all(max(before) < min(after) for before, after in itertools.pairwise(lengths))


def test_the_judge_tells_colours_apart(tmp_path):
    import torch

    from webui.training.embedded.classifier import train_classifier
    from webui.training.embedded.scenes import Composer

    pictures = paper_emoji(3, 32)
    concepts = [each.concept for each in pictures]
    only_plain = Mix(plain=1, place=0, coloured=0, pair=0, several=0, faced=0)
    composer = Composer(pictures, only_plain, 0)
    recipe = ClassifierRecipe(steps=60, batch_size=12, widths=(8, 16))
    judge = train_classifier(recipe, composer, concepts, tmp_path, 0)
    scenes = [composer.draw(random.Random(seed)) for seed in range(30)]
    with torch.no_grad():
        answers = judge(composer.paint(scenes)).argmax(1).tolist()
    right = [concepts.index(each.scene.things[0].concept) for each in scenes]
    assert sum(a == b for a, b in zip(answers, right, strict=True)) > 20


def test_training_refuses_an_output_that_would_cost_other_files(tmp_path):
    from webui.training.embedded.pipeline import check_output

    (tmp_path / "models/other").mkdir(parents=True)
    with pytest.raises(TrainingError, match="no checkpoint"):
        check_output(tmp_path / "models", tmp_path / "run")
    for output, run in (("a", "a"), ("a/b", "a"), ("a", "a/b")):
        with pytest.raises(TrainingError, match="inside each other"):
            check_output(tmp_path / output, tmp_path / run)
    check_output(tmp_path / "models/new", tmp_path / "run")
