"""Fixtures that several test files share. Nothing heavy is imported before a test asks for it."""

import os
from pathlib import Path

import pytest

from webui.chromium import find_chromium
from webui.workers.local import PATIENT_THREADS

os.environ.update(PATIENT_THREADS)  # before any test imports torch: browsers and engines share two cores here


@pytest.fixture(scope="session")
def tiny_models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one real checkpoint of toy size (64 px), made once per run."""
    from tests.tiny import build_tiny_checkpoint

    folder = tmp_path_factory.mktemp("models")
    build_tiny_checkpoint(folder / "checkpoints" / "tiny")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium. Its absence is an error, never a skipped test."""
    path = find_chromium()
    assert path is not None, "There is no Chromium: run the tests with 'python launch.py test', which installs one."
    return path
