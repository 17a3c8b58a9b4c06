"""A job's receipt: what happened on the way, in order."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.engine.helpers import pictures, request, run
from webui.events import Done, Failed

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def shelved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An engine of its own with one checkpoint and another's autoencoder in models/vae."""
    from tests.engine.helpers import new_engine
    from tests.tiny import build_tiny_checkpoint

    folder: Path = tmp_path_factory.mktemp("shelved-models")
    build_tiny_checkpoint(folder / "checkpoints" / "epsilon")
    build_tiny_checkpoint(folder / "checkpoints" / "other", seed=5)
    shutil.copytree(folder / "checkpoints" / "other" / "vae", folder / "vae" / "another")
    return new_engine(folder)


def said(events: list[Any]) -> list[str]:
    done = events[-1]
    assert isinstance(done, Done), done
    return [str(told) for told in done.receipt]


def test_it_tells_what_happened_in_order(shelved: Any) -> None:
    wanted = request(
        prompt="cat " * 80 + "<nothing:1>", hires=True, hires_scale=1.5, hires_upscaler="Lanczos",
        refiner="other", refiner_switch_at=0.3,
    )  # fmt: skip
    lines = said(run(shelved, wanted))
    begins = (
        "Checkpoint 'epsilon' was loaded in", "Drawn on", "Checkpoint 'other' was loaded in", "The prompts are longer",
        "The refiner 'other' took over after step", "“<nothing:1>”", "Enlarged to 96×96 with Lanczos",
    )  # fmt: skip
    assert [line.startswith(begin) for line, begin in zip(lines, begins, strict=True)] == [True] * len(begins), lines
    assert not any("was loaded" in line for line in said(run(shelved, request()))), "it is in memory now"


def test_another_vae_draws_another_picture_and_is_told(shelved: Any) -> None:
    own, exchanged = run(shelved, request()), run(shelved, request(vae="another"))
    assert pictures(own) != pictures(exchanged)
    assert "The VAE another stood in for the checkpoint's own." in said(exchanged)
    assert pictures(run(shelved, request())) == pictures(own)


def test_an_unknown_vae_is_refused_with_the_known_ones(shelved: Any) -> None:
    failed = run(shelved, request(vae="nothing"))[-1]
    assert isinstance(failed, Failed)
    assert "another" in str(failed.text)
