"""Single files draw what their folders draw, to the last bit; whatever is wrong with one is told in one sentence."""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import load_file, save_file

from tests.engine.helpers import CPU, engine_of, new_engine, passport_of, picture_of, pictures, request, run
from tests.tiny_single import build_tiny_pair
from webui.engine.engine import create_engine
from webui.engine.loading import load_checkpoint
from webui.errors import CheckpointError
from webui.library import Library

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Folder and file of a kind, made once."""
    root, made = tmp_path_factory.mktemp("pairs"), dict[str, tuple[Path, Path]]()

    def pair(kind: str) -> tuple[Path, Path]:
        if kind not in made:
            made[kind] = build_tiny_pair(root, kind)
        return made[kind]

    return pair


def same(one: Any, other: Any) -> bool:
    """Two networks with the same weights under the same names, and the same configuration but for what is not used."""
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "sdxl-refiner"])
def test_a_file_draws_its_folders_picture(kind: str, pairs: Any) -> None:
    folder, file = pairs(kind)
    wanted = request(prompt="a photo of a red cat", negative_prompt="blurry", num_inference_steps=3)
    assert np.array_equal(picture_of(engine_of(file), wanted), picture_of(engine_of(folder), wanted))


@pytest.mark.parametrize("kind", ["inpaint", "instruct-pix2pix"])
def test_a_file_whose_denoiser_takes_more_channels_loads_as_its_folder(kind: str, pairs: Any) -> None:
    folder, file = (load_checkpoint(passport_of(path), CPU, "SDPA") for path in pairs(kind))
    assert same(folder.unet, file.unet)
    assert same(folder.vae, file.vae)
    assert (file.unet.config.in_channels, file.latent_channels) == (folder.unet.config.in_channels, 4)


def test_a_v_prediction_file_draws_by_its_passport(pairs: Any) -> None:
    _, file = pairs("sd2")
    v = load_checkpoint(passport_of(file, prediction_type="v_prediction"), CPU, "SDPA")
    assert v.prediction_type == "v_prediction"
    assert load_checkpoint(passport_of(file), CPU, "SDPA").prediction_type == "epsilon"


def test_a_file_is_placed_in_the_devices_precision(pairs: Any, tmp_path: Path) -> None:
    _, file = pairs("sd1")
    save_file({key: tensor.half() for key, tensor in load_file(file).items()}, tmp_path / "half.safetensors")
    components = load_checkpoint(passport_of(tmp_path / "half.safetensors"), CPU, "SDPA")
    networks = (components.unet, components.vae, components.towers[0].encoder)
    assert {tensor.dtype for network in networks for tensor in network.parameters()} == {torch.float32}
    assert {tensor.device.type for network in networks for tensor in (*network.parameters(), *network.buffers())} == {
        "cpu"
    }


@pytest.mark.parametrize("wraps", [True, False])
def test_a_ckpt_draws_the_same_picture(wraps: bool, pairs: Any, tmp_path: Path) -> None:
    _, file = pairs("sd1")
    tensors = load_file(file)
    torch.save({"state_dict": tensors, "epoch": 3} if wraps else tensors, tmp_path / "old.ckpt")
    wanted = request(num_inference_steps=2)
    assert np.array_equal(picture_of(engine_of(tmp_path / "old.ckpt"), wanted), picture_of(engine_of(file), wanted))


class Bomb:
    """What a hostile pickle does."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def test_a_hostile_ckpt_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    torch.save({"state_dict": Bomb(str(tmp_path / "ran"))}, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match=r"bad.ckpt is refused: .*Nothing in it was run"):
        load_checkpoint(passport_of(tmp_path / "bad.ckpt"), CPU, "SDPA")
    assert not (tmp_path / "ran").exists()


def test_a_ckpt_that_would_swell_is_refused(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2**24)
    with pytest.raises(CheckpointError, match="would unpack to 16 MB"):
        load_checkpoint(passport_of(tmp_path / "bomb.ckpt"), CPU, "SDPA")


def edited(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return edit


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


CONV = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (cut, "is cut off"),
    "a web page": (lambda path: path.write_text("<!doctype html><p>Sign in") and None, "is an HTML page"),
    "a pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n") and None, "Git-LFS"),
    "empty": (lambda path: path.write_bytes(b"") and None, "damaged"),
    "a lora": (lambda path: save_file({"lora_te_x.alpha": torch.ones(1)}, path), "holds no denoiser"),
    "no text encoder": (
        edited(lambda tensors: [tensors.pop(key) for key in list(tensors) if key.startswith("cond_stage")]),
        "holds no text encoder",
    ),
    "a weight gone": (edited(lambda tensors: tensors.pop(CONV)), "its denoiser lacks 1 of its weights, first down_bl"),
    "a weight more": (
        edited(lambda tensors: tensors.update({"model.diffusion_model.middle_block.1.gate.weight": torch.ones(2)})),
        "holds 1 weights that such a network has no place for, first mid_block.attentions.0.gate",
    ),
    "another shape": (
        edited(lambda tensors: tensors.update({CONV: torch.ones(8, 9, 3, 3)})), r"in the shape \[8, 9, 3, 3\]",
    ),
    "no numbers": (
        edited(lambda tensors: tensors.update({key: tensor * torch.nan for key, tensor in tensors.items()})),
        "are not numbers",
    ),
    "other words": (
        edited(lambda tensors: tensors.update(
            {key: tensor[:99] for key, tensor in tensors.items() if key.endswith("token_embedding.weight")}
        )),
        "knows 99 words",
    ),
    "no decoder": (
        edited(lambda tensors: [tensors.pop(key) for key in list(tensors) if ".decoder." in key]),
        "holds no autoencoder that Easel knows",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_file_fails_in_one_sentence(damage: str, pairs: Any, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    shutil.copy(pairs("sd1")[1], file)
    break_it, expected = DAMAGES[damage]
    break_it(file)
    with pytest.raises(CheckpointError) as told:
        load_checkpoint(passport_of(file), CPU, "SDPA")
    assert re.search(expected, str(told.value)), told.value
    assert "model.safetensors" in str(told.value)
    assert "\n" not in str(told.value)


def test_clips_words_ship_with_easel() -> None:
    from webui.prompt.clip_vocabulary import clip_merges, clip_vocabulary

    merges = clip_merges()
    vocabulary = clip_vocabulary(merges)
    assert len(vocabulary) == 49408
    known = ("a</w>", "photo</w>", "of</w>", "cat</w>", "<|startoftext|>", "<|endoftext|>", "!")
    assert [vocabulary[word] for word in known] == [320, 1125, 539, 2368, 49406, 49407, 0]


def test_what_the_first_files_carry_along_is_harmless(tmp_path: Path) -> None:
    """pytorch_lightning's callback is a key of the file of Stable Diffusion 1.4, and numpy's numbers lie in others."""
    import sys
    from types import ModuleType

    from webui.engine.pickles import read_pickle

    names = ["pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.model_checkpoint"]
    callback = type("ModelCheckpoint", (), {"__module__": names[-1]})
    modules = {name: ModuleType(name) for name in names}
    modules[names[-1]].ModelCheckpoint = callback  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        content = {"callbacks": {callback: {"best": np.float64(0.25)}}, "state_dict": {"weight": torch.ones(2)}}
        torch.save(content, tmp_path / "first.ckpt")
    finally:
        for name in names:
            del sys.modules[name]
    content = read_pickle(tmp_path / "first.ckpt")  # type: ignore[assignment]
    assert torch.equal(content["state_dict"]["weight"], torch.ones(2))


def test_an_engine_finds_files_in_the_models_folder(pairs: Any, tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "mine").mkdir(parents=True)
    shutil.copy(pairs("sd1")[1], tmp_path / "checkpoints" / "mine" / "toy.safetensors")
    torch.save({"state_dict": load_file(pairs("sd1")[1])}, tmp_path / "checkpoints" / "toy.ckpt")
    engine = new_engine(tmp_path)
    drawn = [
        pictures(run(engine, request(checkpoint=name, num_inference_steps=2)))[0]
        for name in ("mine/toy.safetensors", "toy.ckpt")
    ]
    levels = [np.asarray(Picture.open(io.BytesIO(png))) for png in drawn]
    assert np.array_equal(*levels)


def test_what_is_put_beside_a_loaded_file_holds_for_the_next_job(pairs: Any, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(pairs("sd1")[1], tmp_path / "checkpoints" / "toy.sft")
    engine = new_engine(tmp_path)
    wanted = request(checkpoint="toy.sft", num_inference_steps=2)
    before = picture_of(engine, wanted)
    assert np.array_equal(picture_of(engine, wanted), before)
    (tmp_path / "checkpoints" / "toy.json").write_text('{"prediction_type": "v_prediction"}')
    assert not np.array_equal(picture_of(engine, wanted), before)


def test_a_vae_that_comes_while_the_engine_runs_is_found(pairs: Any, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(pairs("sd1")[1], tmp_path / "checkpoints" / "toy.safetensors")
    engine = new_engine(tmp_path)
    wanted = request(checkpoint="toy.safetensors", num_inference_steps=1, vae="mine")
    assert "Unknown VAE 'mine'" in str(run(engine, wanted)[-1].text)  # type: ignore[union-attr]
    (tmp_path / "vae").mkdir()
    shutil.copy(pairs("sd1")[0] / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "vae" / "mine.safetensors")
    assert picture_of(engine, wanted).std() > 1


def test_an_embedding_of_another_tree_that_comes_while_the_engine_runs_is_found(pairs: Any, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "other" / "embeddings").mkdir(parents=True)
    shutil.copy(pairs("sd1")[1], tmp_path / "checkpoints" / "toy.safetensors")
    library = Library(tmp_path / "checkpoints", extra=[tmp_path / "other"])
    engine = create_engine(tmp_path, "cpu", library=library)
    torch.set_num_threads(1)
    wanted = request(prompt="glimmer", checkpoint="toy.safetensors", num_inference_steps=1)
    before = picture_of(engine, wanted)
    save_file({"emb_params": torch.ones(2, 16)}, tmp_path / "other" / "embeddings" / "glimmer.safetensors")
    assert not np.array_equal(picture_of(engine, wanted), before)
