"""Fixtures of the trainers' tests: tiny checkpoints of every family, made once per run and never changed."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family ("sd1", "sd2", "sdxl") -> folder of a tiny checkpoint shaped like it."""
    from tests.tiny import build_tiny_checkpoint, build_tiny_sd2, build_tiny_sdxl

    folder = tmp_path_factory.mktemp("checkpoints")
    makers = {"sd1": build_tiny_checkpoint, "sd2": build_tiny_sd2, "sdxl": build_tiny_sdxl}
    return {family: make(folder / family) for family, make in makers.items()}
