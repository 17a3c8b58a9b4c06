"""Fixtures that several test files share. Nothing heavy is imported before a test asks for it."""

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from webui.checks import SHARED
from webui.chromium import find_chromium
from webui.ui import gradio_setup
from webui.workers.local import PATIENT_THREADS

# Before any test imports torch: browsers and engines share two cores here, and several processes of tests do too.
os.environ.update(PATIENT_THREADS)
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
# Nobody has any, and looking for them is a tenth of the start of each process that a test begins.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"

# Whichever test imports Gradio first in a worker, it is imported as the server does it.
gradio_setup.prepare(Path(tempfile.gettempdir()) / "easel-tests")

HERE = Path(__file__).parent
LONG = (
    # Without torch.
    "jobs/test_app.py", "extensions/test_desk.py", "jobs/test_trainings.py", "prompt/test_hostile.py",
    "jobs/test_scheduler.py", "jobs/test_store.py", "test_launch.py", "library/test_hostile.py",
    # With torch.
    "training/test_durable.py", "test_cli.py", "training/test_diffusion.py", "engine/test_single_files.py",
    "training/test_engine.py", "engine/test_resume.py", "training/test_lora.py", "engine/test_samplers.py",
    "test_embedded_model.py", "training/test_loop.py", "training/embedded/test_pipeline.py",
    # With a browser.
    "browser/test_page.py", "browser/test_generating.py", "browser/test_training.py", "browser/test_queue.py",
    "browser/test_extensions.py", "browser/test_gallery.py", "browser/test_img2img.py", "browser/test_listen.py",
)  # fmt: skip
"""The files that take longest, longest first."""
MARK_OF_A_FILE = re.compile(r"^pytestmark = .*\bpytest\.mark\.(\w+)", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file that is marked as a whole is not even imported when it is not wanted: torch takes ten seconds. Nor is
    the conftest.py of a folder that has no other files."""
    expression: str = config.option.markexpr
    if not expression or " or " in expression:
        return None
    unwanted = set(re.findall(r"\bnot (\w+)", expression))
    files = [collection_path] if collection_path.suffix == ".py" else collection_path.rglob("test_*.py")
    marks = {_mark_of(file) for file in files}
    return True if marks and marks <= unwanted else None


def _mark_of(file: Path) -> str | None:
    """The mark of all tests of a file."""
    found = MARK_OF_A_FILE.search(file.read_text("utf-8"))
    return found[1] if found else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One process of several begins with the files that take long, so that all of them end at about the same time."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        rank = {HERE / name: place for place, name in enumerate(LONG)}
        items.sort(key=lambda item: rank.get(item.path, len(LONG)))


@pytest.fixture(scope="session")
def tiny_models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one real checkpoint of toy size (64 px), made once per run."""
    folder = tmp_path_factory.mktemp("models")
    of_earlier_parts = os.environ.get(SHARED)  # so that those who only drive a browser need no torch
    if of_earlier_parts and (kept := Path(of_earlier_parts) / "tiny").is_dir():
        shutil.copytree(kept, folder / "checkpoints" / "tiny")
        return folder
    from tests.tiny import build_tiny_checkpoint

    made = build_tiny_checkpoint(folder / "checkpoints" / "tiny")
    if of_earlier_parts:
        with contextlib.suppress(OSError):  # another process was quicker
            shutil.copytree(made, folder / "copy").rename(Path(of_earlier_parts) / "tiny")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium. Its absence is an error, never a skipped test."""
    path = find_chromium()
    assert path is not None, "There is no Chromium: run the tests with 'python launch.py test', which installs one."
    return path
