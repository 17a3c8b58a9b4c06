"""Broken checkpoints: each becomes one sentence that names the file and what to do."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.helpers import new_engine, pictures, request, run
from webui.errors import CheckpointError
from webui.events import Failed

pytestmark = pytest.mark.torch


def replace_with_html(path: Path) -> None:
    path.write_text("<!doctype html><title>Sign in</title>")


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(**values: object) -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values)) and None


def without_a_weight(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    weights.pop(sorted(weights)[0])
    save_file(weights, path)


WEIGHTS = "diffusion_pytorch_model.safetensors"
DAMAGES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "no unet weights": (f"unet/{WEIGHTS}", Path.unlink, r"unet/ holds no .safetensors"),
    "cut unet": (f"unet/{WEIGHTS}", cut_in_half, r"cut off or damaged"),
    "html vae weights": (f"vae/{WEIGHTS}", replace_with_html, r"HTML page"),
    "html unet config": ("unet/config.json", replace_with_html, r"unet/config.json is an HTML page"),
    "html text config": ("text_encoder/config.json", replace_with_html, r"text_encoder/config.json is an HTML page"),
    "no text config": ("text_encoder/config.json", Path.unlink, r"text_encoder/config.json is missing"),
    "no scheduler": ("scheduler/scheduler_config.json", Path.unlink, r"scheduler_config.json is missing"),
    "strange prediction": (
        "scheduler/scheduler_config.json", edit(prediction_type="guess"), r"prediction_type 'guess'; epsilon",
    ),
    "strange betas": (
        "scheduler/scheduler_config.json", edit(beta_schedule="wave"), r"describes no noise schedule",
    ),
    "no vocabulary": ("tokenizer/vocab.json", Path.unlink, r"tokenizer/ holds neither"),
    "html vocabulary": ("tokenizer/vocab.json", replace_with_html, r"tokenizer/ cannot be loaded"),
    "missing weight": (f"unet/{WEIGHTS}", without_a_weight, r"unet/ lacks 1 of the weights"),
    "other width": ("text_encoder/config.json", edit(intermediate_size=48), r"text_encoder/ "),
    "other model": ("unet/config.json", edit(cross_attention_dim=24), r"unet/ "),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_checkpoint_fails_in_one_sentence(damage: str, models_dir: Path, tmp_path: Path) -> None:

    folder = tmp_path / "checkpoints" / "epsilon"
    shutil.copytree(models_dir / "checkpoints" / "epsilon", folder)
    file, break_it, expected = DAMAGES[damage]
    break_it(folder / file)
    failed = run(new_engine(tmp_path), request())[-1]
    assert isinstance(failed, Failed)
    assert failed.error == "CheckpointError"
    assert re.search(expected, str(failed.text)), failed.text
    assert "epsilon" in str(failed.text)
    assert "\n" not in str(failed.text)


def test_an_engine_recovers_when_the_files_are_put_right(models_dir: Path, tmp_path: Path) -> None:

    folder = tmp_path / "checkpoints" / "epsilon"
    shutil.copytree(models_dir / "checkpoints" / "epsilon", folder)
    (folder / "tokenizer" / "vocab.json").unlink()
    engine = new_engine(tmp_path)
    assert isinstance(run(engine, request())[-1], Failed)
    shutil.copy(models_dir / "checkpoints" / "epsilon" / "tokenizer" / "vocab.json", folder / "tokenizer")
    assert list(pictures(run(engine, request()))) == [0]


def test_a_checkpoint_in_shards_and_half_precision_loads_in_the_devices_precision(
    models_dir: Path, tmp_path: Path
) -> None:
    import torch
    from diffusers import UNet2DConditionModel

    folder = tmp_path / "checkpoints" / "epsilon"
    shutil.copytree(models_dir / "checkpoints" / "epsilon", folder)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").half()
    shutil.rmtree(folder / "unet")
    unet.save_pretrained(folder / "unet", max_shard_size="60KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    engine = new_engine(tmp_path)
    assert list(pictures(run(engine, request()))) == [0]
    components = engine._models.loaded
    assert components is not None
    assert components.unet.dtype == torch.float32


def test_parts_that_do_not_belong_together_are_refused() -> None:
    from types import SimpleNamespace

    from webui.engine.loading import _check_fit
    from webui.engine.loading.parts import Parts

    def part(**config: object) -> SimpleNamespace:
        return SimpleNamespace(config=SimpleNamespace(**config))

    def parts(words: int, **config: object) -> Parts:
        tower: Any = SimpleNamespace(tokenizer=[0] * words, encoder=part(vocab_size=9, **config))
        unet, vae = part(cross_attention_dim=16, in_channels=4, out_channels=4), part(latent_channels=4)
        table: Any = None
        return Parts(towers=(tower,), unet=unet, vae=vae, table=table, prediction_type="epsilon")

    with pytest.raises(CheckpointError, match="hidden_size is 24 but unet's cross_attention_dim is 16"):
        _check_fit(parts(0, hidden_size=24))
    with pytest.raises(CheckpointError, match="more words"):
        _check_fit(parts(10, hidden_size=16))


@pytest.mark.row("N18")
def test_nothing_is_fetched(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("the engine opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert list(pictures(run(new_engine(models_dir), request()))) == [0]


def test_the_checkpoint_of_the_tests_is_tiny_and_always_the_same(models_dir: Path, tmp_path: Path) -> None:
    from tests.tiny import build_tiny_checkpoint

    again = build_tiny_checkpoint(tmp_path / "again")
    files = [path for path in again.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2 * 2**20
    for path in files:
        assert path.read_bytes() == (models_dir / "checkpoints" / "epsilon" / path.relative_to(again)).read_bytes()
