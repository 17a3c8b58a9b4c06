"""Fixtures of the engine's tests: one engine over tiny checkpoints of every prediction type."""

import os
from pathlib import Path

import pytest

# Threads that spin while they wait are many times slower beside other work; must be set before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the tiny checkpoints "epsilon", "v_prediction" and "sample"."""
    from tests.tiny import build_tiny_checkpoint

    folder = tmp_path_factory.mktemp("engine-models")
    for prediction_type in ("epsilon", "v_prediction", "sample"):
        build_tiny_checkpoint(folder / "checkpoints" / prediction_type, prediction_type=prediction_type)
    return folder


@pytest.fixture(scope="session")
def engine(models_dir: Path):  # type: ignore[no-untyped-def]  # importing its type would load torch for every test
    """One engine for all tests that leave it as it was."""
    from tests.engine.helpers import new_engine

    return new_engine(models_dir)
