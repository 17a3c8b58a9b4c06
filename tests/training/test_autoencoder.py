"""First stages: shapes, scale of latents, figures, and the whole training of one from a folder of pictures."""

import csv
import json

import pytest

from tests.training.workshop import discs, losses, until, updates, workspace
from webui.errors import MissingTrainingData, TrainingError
from webui.train_requests import TrainAutoencoder
from webui.training.recipe import AutoencoderRecipe

pytestmark = pytest.mark.torch


def request(**values):
    usual = {
        "name": "mine", "dataset": "dataset", "steps": 6, "batch_size": 2, "size": 32, "seed": 5, "downsampling": 4,
        "base_channels": 8, "codebook_size": 16, "sample_every": 0, "save_every": 100, "learning_rate": 2e-3,
        "ema_decay": 0.0,
    }  # fmt: skip
    return TrainAutoencoder(**(usual | values))


def pictures(count=6, side=32, seed=0):
    import torch
    import torch.nn.functional as F

    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator) * 2 - 1
    return F.interpolate(coarse, side, mode="bilinear")


@pytest.mark.parametrize("regularisation", ["KL", "VQ"])
@pytest.mark.parametrize("downsampling", [1, 2, 4, 8, 16, 32])
def test_every_downsampling_has_latents_of_its_size(regularisation, downsampling):
    import torch

    from webui.training.autoencoder import build_first_stage, encode, reconstruct

    wanted = request(regularisation=regularisation, downsampling=downsampling, latent_channels=3, size=64)
    model = build_first_stage(wanted).eval()
    with torch.no_grad():
        assert encode(model, pictures(1, 64)).shape == (1, 3, 64 // downsampling, 64 // downsampling)
    assert reconstruct(model, pictures(1, 64)).shape == (1, 3, 64, 64)
    again = build_first_stage(wanted)
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), again.parameters(), strict=True))


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


def test_the_scale_of_vq_latents_is_measured_over_pictures_of_all_sizes():
    import torch

    from webui.training.autoencoder import build_first_stage, encode, reconstruct, scale_latents

    model = build_first_stage(request(regularisation="VQ")).eval()
    batches = [pictures(4), pictures(2, 48, seed=1)]
    before = reconstruct(model, batches[0])
    factor = scale_latents(model, batches)
    assert model.config.scaling_factor == factor
    with torch.no_grad():
        latents = torch.cat([encode(model, batch).flatten() for batch in batches])
    assert float((latents * factor).pow(2).mean()) == pytest.approx(1, abs=1e-3)
    assert torch.equal(reconstruct(model, batches[0]), before)


def test_a_new_codebook_lies_where_the_latents_are_so_that_many_codes_are_used():
    import torch

    from webui.training.autoencoder import build_first_stage, encode, fit_codebook

    model = build_first_stage(request(regularisation="VQ", codebook_size=64)).eval()

    def codes_used():
        with torch.no_grad():
            return len(model.quantize(encode(model, pictures()))[2][2].unique())

    before = codes_used()
    fit_codebook(model, [pictures()], seed=0)
    assert codes_used() > max(30, 2 * before)


def test_figures_are_perfect_for_a_perfect_first_stage_and_fall_with_noise():
    import torch

    from webui.training import autoencoder
    from webui.training.features import random_features

    class Copy(torch.nn.Module):
        """Gives back what it gets, with noise; nothing of it learns."""

        device, amount = torch.device("cpu"), 0.0

        def encode(self, x):
            from types import SimpleNamespace

            return SimpleNamespace(latent_dist=SimpleNamespace(mean=x))

        def decode(self, x):
            from types import SimpleNamespace

            return SimpleNamespace(sample=x + self.amount * torch.randn(x.shape))

    copier, features = Copy(), random_features()
    perfect = autoencoder.measure(copier, [pictures(2), pictures(1, 48)], features)
    assert (perfect.psnr, perfect.ssim, perfect.perceptual) == pytest.approx((90, 1, 0), abs=1e-6)
    copier.amount = 0.2
    worse = autoencoder.measure(copier, [pictures(2)], features)
    assert worse.psnr == pytest.approx(20, abs=1)  # noise of a tenth of the range
    assert worse.ssim < 0.9
    assert worse.perceptual > 0.01


@pytest.mark.parametrize("regularisation", ["KL", "VQ"])
def test_a_run_makes_a_first_stage_that_diffusers_loads_and_that_has_learnt(tmp_path, regularisation):
    import torch
    from diffusers import AutoencoderKL, VQModel

    from webui.training.autoencoder import build_first_stage, encode, psnr
    from webui.training.data import load_picture

    discs(tmp_path / "dataset", 12)
    asked = request(regularisation=regularisation, steps=16, sample_every=8, adversarial_start=0.8, learning_rate=5e-3)
    told = updates(asked, workspace(tmp_path, None))
    result = told[-1].result
    assert result == tmp_path / "models/vae/mine"
    model = {"KL": AutoencoderKL, "VQ": VQModel}[regularisation].from_pretrained(result).eval()
    shown = torch.stack([load_picture(path, 32, 32) for path in sorted((tmp_path / "dataset").glob("*.png"))])
    assert psnr(model, shown) > psnr(build_first_stage(asked), shown) + 2
    with torch.no_grad():
        deviation = float((encode(model, shown) * model.config.scaling_factor).std())
    assert deviation == pytest.approx(1, abs=0.15)
    assert (model.config.scaling_factor == 1) == (regularisation == "KL")

    samples = [update.sample for update in told if update.sample]
    assert len(samples) == 2 and samples[0][:2] == b"\xff\xd8"
    rows = list(csv.DictReader((tmp_path / "run/quality.csv").open()))
    assert [row["step"] for row in rows] == ["8", "16"]
    card = json.loads((result / "easel.json").read_text())
    assert card["held_out"]["psnr"] > 5 and set(card["held_out"]) == {"psnr", "ssim", "perceptual"}


@pytest.mark.parametrize("regularisation", ["KL", "VQ"])
def test_a_run_that_was_paused_goes_on_exactly_with_its_discriminator(tmp_path, regularisation):
    discs(tmp_path / "dataset", 5)
    discs(tmp_path / "dataset/wide", 3, (96, 48))
    asked = request(regularisation=regularisation, steps=4, adversarial_start=0.25, ema_decay=0.9)
    whole = losses(updates(asked, workspace(tmp_path, None, "whole")))
    first = losses(until(request(**vars(asked) | {"name": "cut"}), workspace(tmp_path, None, "cut"), 2))
    rest = losses(updates(request(**vars(asked) | {"name": "cut"}), workspace(tmp_path, None, "cut")))
    assert (list(first), list(rest)) == ([1, 2], [3, 4])
    assert first | rest == whole
    files = [(tmp_path / "models/vae" / name / "diffusion_pytorch_model.safetensors").read_bytes()
             for name in ("mine", "cut")]  # fmt: skip
    assert files[0] == files[1]


def test_the_discriminator_waits_for_its_share_of_the_run(tmp_path):
    import torch

    def discriminators(start, folder):
        asked = request(adversarial_start=start, steps=4, name=folder)
        for step in (2, 3):
            until(asked, workspace(tmp_path, None, folder), step)
            yield torch.load(tmp_path / folder / "state.pt", weights_only=True)["opponent"]["model"]["layers.0.weight"]

    discs(tmp_path / "dataset")
    before, after = discriminators(0.5, "half")
    waiting, still = discriminators(1.0, "never")
    assert torch.equal(before, waiting) and torch.equal(waiting, still)
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    "values",
    [
        {"perceptual_weight": 0.0}, {"adversarial_weight": 0.0}, {"adversarial_weight": 2.0}, {"kl_weight": 1.0},
        {"precision": "bf16"}, {"base_channels": 16}, {"latent_channels": 8}, {"regularisation": "VQ"},
        {"regularisation": "VQ", "codebook_size": 2},
    ],
)  # fmt: skip
def test_every_option_changes_what_is_learnt(tmp_path, usual_losses, values):
    discs(tmp_path / "dataset")
    asked = request(steps=1, adversarial_start=0.0, **values)
    found = losses(until(asked, workspace(tmp_path, None), 1))
    assert found not in usual_losses
    usual_losses.append(found)


@pytest.fixture(scope="module")
def usual_losses(tmp_path_factory):
    """Of the request that the others differ from; each adds its own, since no two may be equal."""
    folder = tmp_path_factory.mktemp("usual")
    discs(folder / "dataset")
    return [losses(until(request(steps=1, adversarial_start=0.0), workspace(folder, None), 1))]


def test_a_strong_kl_weight_keeps_latents_near_a_normal_distribution(tmp_path):
    import torch

    from webui.training.autoencoder import build_first_stage

    discs(tmp_path / "dataset")
    divergences = []
    for weight in (0.0, 1.0):
        asked = request(kl_weight=weight, steps=6, adversarial_weight=0.0, perceptual_weight=0.0, learning_rate=1e-2)
        until(asked, workspace(tmp_path, None, f"run{weight}"), 6)
        model = build_first_stage(asked)
        model.load_state_dict(torch.load(tmp_path / f"run{weight}/state.pt", weights_only=True)["model"])
        with torch.no_grad():
            divergences.append(float(model.encode(pictures()).latent_dist.kl().mean()))
    assert divergences[1] < divergences[0] / 2


def test_a_name_that_is_taken_and_a_dataset_without_pictures_are_refused(tmp_path):
    (tmp_path / "dataset").mkdir()
    with pytest.raises(MissingTrainingData, match="no picture"):
        updates(request(), workspace(tmp_path, None))
    discs(tmp_path / "dataset")
    (tmp_path / "models/vae/mine").mkdir(parents=True)
    with pytest.raises(TrainingError, match="There is a mine in vae already"):
        updates(request(), workspace(tmp_path, None, "second"))
    assert list((tmp_path / "models/vae/mine").iterdir()) == []


def test_problems_of_the_dataset_and_a_picture_that_is_alone_are_told(tmp_path):
    discs(tmp_path / "dataset", 1)
    (tmp_path / "dataset/broken.png").write_bytes(b"no picture")
    told = updates(request(steps=1), workspace(tmp_path, None))
    warnings = [str(update.warning) for update in told if update.warning]
    assert len(warnings) == 2
    assert "broken.png" in warnings[0] and "one picture only" in warnings[1]
    assert told[-1].result is not None


def test_batches_are_of_one_size_hold_every_picture_once_and_are_known_by_their_number(tmp_path):
    import torch

    from webui.training.data import read_dataset
    from webui.training.picture_batches import PictureBatches

    discs(tmp_path, 5)
    discs(tmp_path / "wide", 3, (128, 64))
    examples = read_dataset(tmp_path).examples

    def batches(seed=1):
        return PictureBatches(examples, 32, 8, 2, seed)

    with batches() as some, batches() as others, batches(seed=2) as different:
        assert some.epoch == 5
        for epoch in range(3):
            numbers = range(epoch * 5, epoch * 5 + 5)
            members = [some.members(number) for number in numbers]
            assert {member for batch in members for member in batch} == set(range(8))
            assert all(len({some.sizes[member] for member in batch}) == 1 for batch in members)
        orders = {str([each.members(number) for number in numbers]) for numbers in (range(5), range(5, 10))
                  for each in (some, different)}  # fmt: skip
        assert len(orders) == 4
        first = [some[number] for number in range(7)]
        for number in (3, 6, 4, 5):
            assert torch.equal(others[number], first[number])
        assert {tuple(batch.shape) for batch in first} == {(2, 3, 32, 32), (2, 3, 24, 40)}
        assert some.smallest == 24
