"""What the names of a training request stand for, before anything is loaded."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.header_only import write_checkpoint
from webui.errors import Conflict, InvalidRequest, NoCheckpoint, UnknownName
from webui.library import Library
from webui.train_names import TrainFolders, settle
from webui.train_requests import TRAIN_REQUESTS, TrainDiffusion, TrainLora


@pytest.fixture
def folders(tmp_path: Path) -> TrainFolders:
    (tmp_path / "datasets" / "cats").mkdir(parents=True)
    write_checkpoint(tmp_path / "models" / "checkpoints" / "one")
    write_checkpoint(tmp_path / "models" / "checkpoints" / "two")
    (tmp_path / "models" / "vae" / "own").mkdir(parents=True)
    (tmp_path / "models" / "vae" / "own" / "config.json").write_text("{}")
    return TrainFolders(models=tmp_path / "models", datasets=tmp_path / "datasets", trainings=tmp_path / "training")


def settled(folders: TrainFolders, kind: str = "train-lora", preferred: str = "", **values: object):  # type: ignore[no-untyped-def]
    library = Library(folders.models / "checkpoints")
    return settle(kind, {"name": "mine", "dataset": "cats", **values}, folders, library, preferred)


def test_open_values_come_from_the_checkpoint_and_nothing_stays_open(folders: TrainFolders) -> None:
    request = settled(folders, preferred="two")
    assert isinstance(request, TrainLora)
    assert (request.checkpoint, request.size) == ("two", 128)
    assert request.seed >= 0
    assert settled(folders, size=64, checkpoint="one", seed=3).size == 64


def test_a_diffusion_model_of_new_networks_takes_the_default_checkpoints_first_stage(folders: TrainFolders) -> None:
    request = settled(folders, "train-diffusion")
    assert isinstance(request, TrainDiffusion)
    assert (request.checkpoint, request.first_stage, request.size) == ("", "one", 128)
    assert settled(folders, "train-diffusion", first_stage="vae/own").first_stage == "vae/own"
    assert settled(folders, "train-diffusion", checkpoint="two").first_stage == ""


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("train-lora", {"dataset": "dogs"}),
        ("train-lora", {"checkpoint": "three"}),
        ("train-lora", {"checkpoint": "../one"}),
        ("train-diffusion", {"first_stage": "vae/none"}),
        ("train-diffusion", {"first_stage": "../vae/own"}),
        ("train-diffusion", {"text_encoder": "vae/own"}),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_those_that_are(
    folders: TrainFolders, kind: str, values: dict[str, str]
) -> None:
    with pytest.raises(UnknownName, match="Known: "):
        settled(folders, kind, **values)


@pytest.mark.parametrize("field", ["name", "dataset"])
@pytest.mark.parametrize("value", ["", "..", "../cats", "a/b", "a\\b", "cats\n", "C:cats", ".cats", "x" * 62])
def test_no_name_is_a_path(folders: TrainFolders, field: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be"):
        settled(folders, **{field: value})


@pytest.mark.parametrize("kind", TRAIN_REQUESTS)
def test_a_result_that_exists_is_not_trained_over(folders: TrainFolders, kind: str) -> None:
    extra = {"token": "<cat>"} if kind == "train-embedding" else {}
    result = folders.models / settled(folders, kind, **extra).result
    result.parent.mkdir(exist_ok=True)
    result.touch()
    with pytest.raises(Conflict, match="already"):
        settled(folders, kind, **extra)


def test_without_any_checkpoint_a_lora_cannot_be_trained_but_a_first_stage_can(tmp_path: Path) -> None:
    (tmp_path / "datasets" / "cats").mkdir(parents=True)
    folders = TrainFolders(models=tmp_path / "models", datasets=tmp_path / "datasets", trainings=tmp_path)
    with pytest.raises(NoCheckpoint):
        settled(folders)
    assert settled(folders, "train-autoencoder").size == 128


def test_a_given_folder_stands_for_every_dataset(folders: TrainFolders, tmp_path: Path) -> None:
    from dataclasses import replace

    assert replace(folders, given=tmp_path).dataset("whatever") == tmp_path


def test_a_training_starts_from_checkpoints_and_first_stages_of_other_trees(
    folders: TrainFolders, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "ComfyUI" / "models" / "checkpoints" / "theirs")
    (tmp_path / "ComfyUI" / "models" / "vae" / "fine").mkdir(parents=True)
    (tmp_path / "ComfyUI" / "models" / "vae" / "fine" / "config.json").write_text("{}")
    more = replace(folders, extra_models=(tmp_path / "ComfyUI",), model_index=tmp_path / "models.sqlite")
    library = more.library()
    assert library.find("theirs").path == tmp_path / "ComfyUI" / "models" / "checkpoints" / "theirs"
    assert more.first_stage("vae/fine", library).name == "fine"
    assert more.first_stage("vae/own", library) == folders.models / "vae" / "own"
    assert (tmp_path / "models.sqlite").is_file()
