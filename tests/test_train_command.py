"""`launch.py train`: a file in, a result in the models folder out, with Ctrl+C in between."""

import json
import logging
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.header_only import write_checkpoint
from tests.training.workshop import discs
from webui import cli, train
from webui.requests import build, to_values
from webui.train import available_siblings, find_request, read_request

KIND = 'kind = "train-lora"\n'
VALUES = 'name = "mine"\nsteps = 6\nsize = 64\nrank = 2\nsample_every = 3\nsave_every = 2\ncheckpoint = "tiny"\n'


@pytest.fixture(autouse=True)
def _same_process_afterwards() -> Iterator[None]:
    root, environment = logging.getLogger(), dict(os.environ)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Everything but the file: a models folder with a checkpoint called "tiny", a folder of pictures."""
    write_checkpoint(tmp_path / "models" / "checkpoints" / "tiny")
    pictures = discs(tmp_path / "discs")
    return ["--data", str(pictures), "--models-dir", str(tmp_path / "models"), "--data-dir", str(tmp_path / "data"),
            "--device", "cpu"]  # fmt: skip


@pytest.fixture
def tiny(tmp_path: Path, tiny_models_dir: Path) -> None:
    """The checkpoint called "tiny" is a real one."""
    shutil.rmtree(tmp_path / "models" / "checkpoints", ignore_errors=True)
    (tmp_path / "models").mkdir(exist_ok=True)
    (tmp_path / "models" / "checkpoints").symlink_to(tiny_models_dir / "checkpoints")


def recipe(tmp_path: Path, text: str = KIND + VALUES) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    return str(path)


@pytest.mark.parametrize("name", sorted(available_siblings()))
def test_every_sibling_that_ships_is_a_valid_request(name: str) -> None:
    path = find_request(name)
    assert path is not None
    kind, values = read_request(path)
    request = build(kind, {**values, "dataset": "scenes"})
    assert set(values) <= set(to_values(request))


def test_a_file_of_ones_own_is_found_by_its_path_only(tmp_path: Path) -> None:
    assert find_request(recipe(tmp_path)) == tmp_path / "mine.toml"
    assert find_request("mine") is None
    assert find_request("easel") is None


def test_without_a_file_it_says_what_can_be_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train"]) == 0
    shown = capsys.readouterr().out
    for kind in ("train-lora", "train-embedding", "train-controlnet", "train-diffusion", "train-autoencoder"):
        assert kind in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('kind = "train-everything"\nname = "x"', "Known: train-lora"),
        (KIND + 'name = "../x"', "Name (name) cannot be"),
        (KIND + 'name = "x"\nrank = 0', "1 to 256"),
        (KIND + 'name = "x"\nranks = 3', "Known: name, dataset"),
        (KIND + 'name = "x"\ncheckpoint = "none"', "Known: tiny"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    assert cli.main(["train", recipe(tmp_path, text), *arguments]) == 1
    shown = capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown


def test_flags_of_recipes_and_missing_folders_are_told(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", recipe(tmp_path), *arguments, "--output", "x"]) == 2
    assert "--output" in capsys.readouterr().err
    assert cli.main(["train", recipe(tmp_path), *arguments, "--data", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    rest = arguments[2:]
    assert cli.main(["train", recipe(tmp_path, KIND + VALUES + 'dataset = "cats"\n'), *rest]) == 1
    assert "dataset 'cats'" in capsys.readouterr().err


@pytest.mark.torch
@pytest.mark.usefixtures("arguments", "tiny")
def test_a_run_that_was_interrupted_goes_on_and_ends_in_the_models_folder(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show = train._show

    def press_ctrl_c(bar: Any, event: Any) -> None:
        if getattr(event, "step", 0) == 3:
            monkeypatch.setattr(train, "_show", show)
            os.kill(os.getpid(), signal.SIGINT)
        show(bar, event)

    monkeypatch.setattr(train, "_show", press_ctrl_c)
    assert cli.main(["train", recipe(tmp_path), *arguments]) == cli.INTERRUPTED
    assert "goes on from here" in capsys.readouterr().err
    assert not (tmp_path / "models" / "loras").exists()
    run = tmp_path / "data" / "training" / "terminal mine" / "run"
    seed = json.loads((run / "request.json").read_text())["seed"]
    assert seed >= 0

    assert cli.main(["train", recipe(tmp_path, KIND + VALUES.replace("rank = 2", "rank = 3")), *arguments]) == 1
    assert "begun with another rank" in capsys.readouterr().err

    assert cli.main(["train", recipe(tmp_path), *arguments]) == 0
    result = tmp_path / "models" / "loras" / "mine.safetensors"
    assert capsys.readouterr().out.strip() == str(result)
    assert result.is_file()
    assert not run.exists(), "nothing is left of the run"

    assert cli.main(["train", recipe(tmp_path), *arguments]) == 1
    assert "already" in capsys.readouterr().err


@pytest.mark.torch
@pytest.mark.usefixtures("arguments", "tiny")
def test_a_run_folder_of_ones_own_keeps_curve_and_samples(tmp_path: Path, arguments: list[str]) -> None:
    assert cli.main(["train", recipe(tmp_path), *arguments, "--run", str(tmp_path / "run")]) == 0
    assert {path.name for path in (tmp_path / "run" / "samples").iterdir()} == {"00000003.jpg", "00000006.jpg"}
    assert (tmp_path / "run" / "request.json").is_file()
