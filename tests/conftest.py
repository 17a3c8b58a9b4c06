"""Fixtures that several test files share. Nothing heavy is imported before a test asks for it."""

import os
import re
import tempfile
from pathlib import Path

import pytest

from webui.chromium import find_chromium
from webui.ui import gradio_setup
from webui.workers.local import PATIENT_THREADS

os.environ.update(PATIENT_THREADS)  # before any test imports torch: browsers and engines share two cores here

# Whichever test imports Gradio first in a worker, it is imported as the server does it.
gradio_setup.prepare(Path(tempfile.gettempdir()) / "easel-tests")

MARK_OF_A_FILE = re.compile(r"^pytestmark = .*\bpytest\.mark\.(\w+)", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m "not torch and …"` a file that is marked as a whole is not even imported: torch takes ten seconds."""
    unwanted = re.findall(r"\bnot (\w+)", config.option.markexpr)
    if collection_path.suffix != ".py" or not unwanted or " or " in config.option.markexpr:
        return None
    mark = MARK_OF_A_FILE.search(collection_path.read_text("utf-8"))
    return True if mark is not None and mark[1] in unwanted else None


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
