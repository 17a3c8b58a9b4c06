"""Checkpoints in memory: kept while there is room, let go when there is none, autoencoders exchanged alone."""

import copy
import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.helpers import CPU, passport_of
from tests.tiny_single import build_tiny_pair
from webui.engine.loading import load_checkpoint, load_vae, with_vae
from webui.engine.models import Components, ModelCache
from webui.engine.vae import decode
from webui.errors import CheckpointError
from webui.library import Passport

pytestmark = pytest.mark.torch

NAMES = ("epsilon", "v_prediction", "sample")


class Loader:
    """Loads and counts."""

    def __init__(self) -> None:
        self.loads: list[str] = []

    def __call__(self, passport: Passport) -> Components:
        self.loads.append(passport.name)
        return load_checkpoint(passport, CPU, "SDPA")


def cache(free: int = 2**40) -> tuple[ModelCache, Loader]:
    load = Loader()
    made = ModelCache(load, load_vae=lambda path, components: with_vae(components, path, CPU), available=lambda: free)
    return made, load


@pytest.fixture
def frozen() -> Iterator[None]:
    """What is there before the test is left out of collecting and counting, which it would make slow."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def live_weights() -> int:
    """Since the test has begun."""
    gc.collect()
    return sum(type(each) is torch.nn.Parameter for each in gc.get_objects())


def test_what_was_used_before_is_there_at_once(models_dir: Path) -> None:
    models, load = cache()
    passports = [passport_of(models_dir / "checkpoints" / name) for name in NAMES]
    first = [models.get(passport) for passport in passports]
    assert [models.get(passport) for passport in passports] == first
    assert load.loads == list(NAMES)
    assert models.loaded is first[-1]


@pytest.fixture(scope="module")
def loaded(models_dir: Path) -> dict[str, Components]:
    return {name: load_checkpoint(passport_of(models_dir / "checkpoints" / name), CPU, "SDPA") for name in NAMES}


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(("free", "resident"), [(0, 1), (2**40, 3)])
def test_memory_is_flat_over_thirty_switches(
    models_dir: Path, loaded: dict[str, Components], free: int, resident: int
) -> None:
    passports = [passport_of(models_dir / "checkpoints" / name) for name in NAMES]
    models = ModelCache(lambda passport: copy.deepcopy(loaded[passport.name]), available=lambda: free)
    before = live_weights()
    models.get(passports[0])
    of_one = live_weights() - before
    for number in range(30):
        models.get(passports[number % 3])
    assert live_weights() - before == resident * of_one
    models.clear()
    assert live_weights() == before


def test_without_a_share_of_memory_only_the_one_in_use_is_kept(models_dir: Path) -> None:
    models, _ = cache()
    passports = [passport_of(models_dir / "checkpoints" / name) for name in NAMES]
    models.get(passports[0])
    models.get(passports[1])
    assert [name for name, _ in models.sizes] == [NAMES[0], NAMES[1]]
    assert all(size > 0 for _, size in models.sizes)
    models.share = 0.0
    models.get(passports[2])
    assert [name for name, _ in models.sizes] == [NAMES[2]]


@pytest.mark.usefixtures("frozen")
def test_loading_leaves_nothing_behind(models_dir: Path) -> None:
    models, _ = cache(0)
    passports = [passport_of(models_dir / "checkpoints" / name) for name in NAMES]
    models.get(passports[0])
    before = live_weights()
    for number in (1, 2, 0):
        models.get(passports[number])
    assert live_weights() == before


def test_the_one_that_was_not_used_for_longest_is_let_go(models_dir: Path) -> None:
    passports = [passport_of(models_dir / "checkpoints" / name) for name in NAMES]
    size = load_checkpoint(passports[0], CPU, "SDPA").bytes
    models, load = cache(int(size * 5.7))  # room for two and the guess of what a third one takes
    for number in (0, 1, 0, 2):
        models.get(passports[number])
    models.get(passports[0])
    assert load.loads == [NAMES[number] for number in (0, 1, 2)]
    models.get(passports[1])
    assert load.loads[3:] == [NAMES[1]]


@pytest.mark.usefixtures("frozen")
def test_what_has_changed_on_the_disk_is_loaded_again_and_not_kept_twice(models_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(models_dir / "checkpoints" / "epsilon", tmp_path / "epsilon")
    models, load = cache()
    passport = passport_of(tmp_path / "epsilon")
    models.get(passport)
    before = live_weights()
    shutil.copy(models_dir / "checkpoints" / "sample" / "scheduler" / "scheduler_config.json",
                tmp_path / "epsilon" / "scheduler")  # fmt: skip
    assert not models.holds(passport)
    assert models.get(passport).prediction_type == "sample"
    assert len(load.loads) == 2
    assert live_weights() == before


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_what_is_told_beside_a_file_counts_as_part_of_it(suffix: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    file = Path(shutil.copy(pair[1], tmp_path / "one.safetensors"))
    models, load = cache()
    models.get(passport_of(file))
    assert models.holds(passport_of(file))
    file.with_suffix(suffix).write_text("{}")
    assert not models.holds(passport_of(file))
    models.get(passport_of(file))
    assert len(load.loads) == 2


def test_what_does_not_fit_beside_the_others_is_loaded_alone(models_dir: Path) -> None:
    passports = [passport_of(models_dir / "checkpoints" / name) for name in NAMES]
    models, load = cache()

    def full(passport: Passport) -> Components:
        if len(models._kept) > 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return load(passport)

    models._load = full
    models.get(passports[0])
    models.get(passports[1])
    assert load.loads == ["epsilon", "v_prediction"]
    assert not models.holds(passports[0])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build_tiny_pair(tmp_path_factory.mktemp("pair"), "sd1")


def vae_file(checkpoint: Path, target: Path, prefix: str = "") -> Path:
    """The autoencoder of a single file alone, as people share them."""
    own = "first_stage_model."
    tensors = {
        prefix + key.removeprefix(own): value for key, value in load_file(checkpoint).items() if key.startswith(own)
    }
    save_file(tensors, target)
    return target


def decoded(vae: Any) -> np.ndarray:
    latents = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))
    return np.asarray(decode(vae, latents).image)


def with_first_names(source: Path, target: Path) -> Path:
    """A file with diffusers' names, those of the parts of attention as its first versions wrote them."""
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    renamed = {}
    for key, value in load_file(source).items():
        for now, then in names.items():
            key = key.replace(now, then)
        renamed[key] = value
    assert any("mid_block.attentions.0.query.weight" in key for key in renamed)
    save_file(renamed, target)
    return target


KINDS_OF_VAE = ("folder", "alone", "prefixed", "whole model", "pickle", "of diffusers", "short suffix", "first names")


@pytest.mark.parametrize("kind", KINDS_OF_VAE)
def test_an_autoencoder_comes_from_a_folder_or_a_file(kind: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder, file = pair
    of_diffusers = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path = {"folder": folder / "vae", "whole model": file, "of diffusers": of_diffusers}.get(kind)
    if kind == "first names":
        path = with_first_names(of_diffusers, tmp_path / "first.safetensors")
    elif kind == "short suffix":
        path = vae_file(file, tmp_path / "own.sft")
    elif path is None:
        path = vae_file(file, tmp_path / "own.safetensors", "first_stage_model." if kind == "prefixed" else "")
    if kind == "pickle":
        torch.save({"state_dict": load_file(path)}, tmp_path / "own.vae.pt")
        path = tmp_path / "own.vae.pt"
    assert np.array_equal(decoded(load_vae(path, CPU)), decoded(load_vae(folder / "vae", CPU)))


def test_another_autoencoder_shares_everything_else(pair: tuple[Path, Path], models_dir: Path, tmp_path: Path) -> None:
    models, load = cache()
    passport = passport_of(models_dir / "checkpoints" / "epsilon")
    other = vae_file(pair[1], tmp_path / "other.safetensors")
    plain, swapped = models.get(passport), models.get(passport, other)
    assert (swapped.unet, swapped.towers, swapped.prompts) == (plain.unet, plain.towers, plain.prompts)
    assert not np.array_equal(decoded(swapped.vae), decoded(plain.vae))
    assert models.get(passport, other) is swapped
    assert models.get(passport) is plain
    assert load.loads == ["epsilon"]


def test_a_file_takes_the_checkpoints_scale(tmp_path: Path) -> None:
    folder, file = build_tiny_pair(tmp_path, "sdxl")
    components = load_checkpoint(passport_of(folder), CPU, "SDPA")
    other = with_vae(components, vae_file(file, tmp_path / "vae.safetensors"), CPU)
    assert other.vae.config.scaling_factor == 0.13025
    assert np.array_equal(decoded(other.vae), decoded(components.vae))


def test_an_autoencoder_of_another_kind_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    AutoencoderKL(norm_num_groups=8, block_out_channels=(8,), latent_channels=16).save_pretrained(tmp_path / "wide")
    with pytest.raises(CheckpointError, match="have 16 channels and those of checkpoint 'sd1' 4"):
        with_vae(load_checkpoint(passport_of(pair[0]), CPU, "SDPA"), tmp_path / "wide", CPU)


def test_a_file_without_an_autoencoder_is_refused(tmp_path: Path) -> None:
    save_file({"lora.up.weight": torch.ones(2)}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=r"VAE 'lora.safetensors' cannot be used: it holds no autoencoder"):
        load_vae(tmp_path / "lora.safetensors", CPU)
