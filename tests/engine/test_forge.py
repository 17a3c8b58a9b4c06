"""Merging and converting: every tensor against plain arithmetic, whatever the layout; nothing lost in silence."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests import tiny_single
from tests.tiny import build_tiny_checkpoint
from webui.contract import Signal
from webui.engine.forge import writing
from webui.engine.forge.job import ForgeJob
from webui.engine.forge.plans import Entry, Plan
from webui.engine.forge.sources import Spec
from webui.errors import CannotSaveModel, CheckpointError, Conflict, UserError
from webui.events import Cancelled, Done, Event, Progress, Result, Warning
from webui.library import Library
from webui.model_desk import ModelDesk
from webui.model_requests import ConvertModel, MergeModels

pytestmark = pytest.mark.torch

LATENTS = "model.diffusion_model.input_blocks.0.0.weight"
DEEP = "model.diffusion_model.input_blocks.3.0.in_layers.2.weight"
TEXT = "cond_stage_model.transformer.text_model.final_layer_norm.weight"


class Workshop:
    """A models folder, and jobs in it as the engine runs them."""

    def __init__(self, folder: Path) -> None:
        self.models = folder
        self.checkpoints = folder / "checkpoints"

    def run(self, kind: str, signals: Iterator[Signal | None] | None = None, **values: Any) -> list[Event]:
        library = Library(self.checkpoints)
        desk = ModelDesk(library, self.models, lambda: None, lambda picture: Path(picture))
        request = desk.settle(kind, values)
        assert isinstance(request, MergeModels | ConvertModel)
        signal = (lambda: next(signals)) if signals is not None else (lambda: None)
        return list(ForgeJob(request, library, self.models, signal).events())

    def merge(self, **values: Any) -> list[Event]:
        return self.run("merge-models", **{"name": "made", **values})

    def convert(self, **values: Any) -> list[Event]:
        return self.run("convert-model", **{"name": "made", **values})

    def file(self, name: str) -> dict[str, torch.Tensor]:
        return dict(load_file(self.checkpoints / f"{name}.safetensors"))

    def told(self, events: list[Event]) -> list[str]:
        return [str(event.text) for event in events if isinstance(event, Warning)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same tiny SD1 as a folder and as one file."""
    return tiny_single.build_tiny_pair(tmp_path_factory.mktemp("pair"), "sd1")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, pair: tuple[Path, Path]) -> Path:
    """a, b and c .safetensors with the tensors of a tiny SD1, each with other numbers."""
    folder = tmp_path_factory.mktemp("files") / "checkpoints"
    folder.mkdir()
    first = load_file(pair[1])
    for seed, name in enumerate("abc"):
        torch.manual_seed(seed)
        tensors = {key: torch.randn_like(tensor) for key, tensor in first.items() if "embedding" not in key}
        save_file(
            {**{key: first[key] for key in first if "embedding" in key}, **tensors}, folder / f"{name}.safetensors"
        )
    return folder.parent


@pytest.fixture
def workshop(tmp_path: Path, files: Path) -> Workshop:
    shutil.copytree(files, tmp_path / "models", copy_function=lambda one, other: Path(other).hardlink_to(one))
    return Workshop(tmp_path / "models")


def test_a_weighted_sum_is_the_sum_of_every_tensor_and_says_how_it_was_made(workshop: Workshop) -> None:
    events = workshop.merge(primary="a.safetensors", secondary="b.safetensors", multiplier=0.25)
    assert isinstance(events[-1], Done)
    assert [event.path for event in events if isinstance(event, Result)] == ["checkpoints/made.safetensors"]
    assert any(
        isinstance(event, Progress) and event.phase == "writing" and event.step == event.total for event in events
    )
    a, b, made = workshop.file("a"), workshop.file("b"), workshop.file("made")
    assert made.keys() == a.keys()
    for key, tensor in made.items():
        torch.testing.assert_close(tensor, a[key] * 0.75 + b[key] * 0.25)
    library = Library(workshop.checkpoints)
    with safe_open(workshop.checkpoints / "made.safetensors", framework="pt") as file:
        told = file.metadata()
    recipe = json.loads(told["sd_merge_recipe"])
    assert recipe["type"] == "webui"
    assert (recipe["interp_method"], recipe["multiplier"], recipe["save_as_half"]) == ("Weighted sum", 0.25, False)
    first = library.find("a.safetensors").sha256
    assert recipe["primary_model_hash"] == first
    assert recipe["tertiary_model_hash"] is None
    assert json.loads(told["sd_merge_models"])[first]["name"] == "a.safetensors"
    assert library.find("made.safetensors").problem is None


def test_add_difference_in_half_precision(workshop: Workshop) -> None:
    names = {
        name: f"{letter}.safetensors" for name, letter in zip(("primary", "secondary", "tertiary"), "abc", strict=True)
    }
    workshop.merge(**names, method="Add difference", multiplier=0.6, precision="fp16")
    a, b, c, made = (workshop.file(name) for name in ("a", "b", "c", "made"))
    for key, tensor in made.items():
        assert tensor.dtype == torch.float16
        torch.testing.assert_close(tensor, (a[key] + (b[key] - c[key]) * 0.6).half())


def test_blocks_have_multipliers_of_their_own(workshop: Workshop) -> None:
    workshop.merge(
        primary="a.safetensors", secondary="b.safetensors", multiplier=0.5, block_weights="IN03=1, base=0, OUT09=0.3"
    )
    a, b, made = workshop.file("a"), workshop.file("b"), workshop.file("made")
    assert torch.equal(made[DEEP], b[DEEP])
    assert torch.equal(made[TEXT], a[TEXT])
    torch.testing.assert_close(made[LATENTS], (a[LATENTS] + b[LATENTS]) / 2)


def test_what_fits_to_nothing_is_told_by_name(workshop: Workshop) -> None:
    b = workshop.file("b")
    extra, missing = "model.diffusion_model.extra.weight", TEXT
    (workshop.checkpoints / "b.safetensors").unlink()
    kept = {key: tensor for key, tensor in b.items() if key != missing}
    save_file({**kept, extra: torch.ones(3), DEEP: torch.ones(2, 2)}, workshop.checkpoints / "b.safetensors")
    events = workshop.merge(
        primary="a.safetensors", secondary="b.safetensors", discard=r"^first_stage_model\.quant", block_weights="IN30=1"
    )
    told = " ".join(workshop.told(events))
    for name in (extra, missing, DEEP, "first_stage_model.quant_conv", "no block IN30"):
        assert name in told
    a, made = workshop.file("a"), workshop.file("made")
    assert torch.equal(made[DEEP], a[DEEP])
    assert torch.equal(made[missing], a[missing])
    assert a.keys() - made.keys() == {key for key in a if key.startswith("first_stage_model.quant")}


def test_an_inpainting_model_takes_the_latents_channels_from_a_plain_one(workshop: Workshop) -> None:
    a = workshop.file("a")
    wide = torch.randn(a[LATENTS].shape[0], 9, 3, 3)
    save_file({**a, LATENTS: wide}, workshop.checkpoints / "wide.safetensors")
    workshop.merge(primary="wide.safetensors", secondary="b.safetensors", multiplier=0.5)
    b, made = workshop.file("b"), workshop.file("made")
    assert torch.equal(made[LATENTS][:, 4:], wide[:, 4:])
    torch.testing.assert_close(made[LATENTS][:, :4], (wide[:, :4] + b[LATENTS]) / 2)


def test_folders_are_merged_into_a_folder_that_draws(workshop: Workshop) -> None:
    from tests.engine.helpers import engine_of, picture_of, request

    one, two = (build_tiny_checkpoint(workshop.checkpoints / name, seed=seed) for seed, name in enumerate(("x", "y")))
    workshop.merge(primary="x", secondary="y", multiplier=0.4)
    made = workshop.checkpoints / "made"
    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        a, b, c = (load_file(folder / f"{part}.safetensors") for folder in (one, two, made))
        assert c.keys() == a.keys()
        for key, tensor in c.items():
            torch.testing.assert_close(tensor, a[key] * 0.6 + b[key] * 0.4 if tensor.is_floating_point() else a[key])
    assert picture_of(engine_of(made), request(checkpoint="made")).shape == (64, 64, 3)


def test_another_vae_is_baked_in_from_a_file_and_from_a_folder(workshop: Workshop, pair: tuple[Path, Path]) -> None:
    plain = {key.removeprefix("first_stage_model."): tensor for key, tensor in workshop.file("c").items()
             if key.startswith("first_stage_model.")}  # fmt: skip
    (workshop.models / "vae").mkdir()
    save_file(plain, workshop.models / "vae" / "other.safetensors")
    shutil.copytree(pair[0] / "vae", workshop.models / "vae" / "folder")
    workshop.merge(primary="a.safetensors", method="No interpolation", baked_vae="other")
    a, c, made = workshop.file("a"), workshop.file("c"), workshop.file("made")
    for key, tensor in made.items():
        assert torch.equal(tensor, (c if key.startswith("first_stage_model.") else a)[key]), key
    workshop.merge(name="second", primary="a.safetensors", method="No interpolation", baked_vae="folder")
    second, same = workshop.file("second"), load_file(pair[1])
    for key, tensor in second.items():
        assert torch.equal(tensor, (same if key.startswith("first_stage_model.") else a)[key]), key


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "sdxl-refiner", "inpaint"])
def test_a_folder_becomes_one_file_and_a_folder_again_with_the_same_weights(tmp_path: Path, kind: str) -> None:
    workshop = Workshop(tmp_path / "models")
    folder, file = tiny_single.build_tiny_pair(workshop.checkpoints, kind)
    assert isinstance(workshop.convert(source=kind, layout="file")[-1], Done)
    made, expected = workshop.file("made"), dict(load_file(file))
    unread = {key for key in expected if key.endswith(("logit_scale", "position_ids"))}
    if kind == "sd2":
        unread |= {key for key in expected if key.endswith("text_projection")}
    assert made.keys() == expected.keys() - unread
    for key, tensor in made.items():
        assert torch.equal(tensor, expected[key]), key
    file.unlink()
    workshop.convert(name="again", source="made.safetensors", layout="folder")
    again = workshop.checkpoints / "again"
    weights = [path.relative_to(folder) for path in sorted(folder.rglob("*.safetensors"))]
    assert weights == [path.relative_to(again) for path in sorted(again.rglob("*.safetensors"))]
    for path in weights:
        before, after = (
            {key.removeprefix("text_model."): value for key, value in load_file(root / path).items()}
            for root in (folder, again)
        )
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before), path
    library = Library(workshop.checkpoints)
    assert library.find("again").task == library.find(kind).task
    assert library.find("again").family in (library.find(kind).family, "sd2", "sd")


def test_a_model_with_words_of_its_own_stays_a_folder(workshop: Workshop) -> None:
    build_tiny_checkpoint(workshop.checkpoints / "own")
    with pytest.raises(CheckpointError, match="words of its own"):
        workshop.convert(source="own", layout="file")
    assert not list(workshop.checkpoints.glob("*made*"))


def test_a_pickle_becomes_safetensors_without_its_average(workshop: Workshop) -> None:
    a = workshop.file("a")
    average = {f"model_ema.{key.removeprefix('model.').replace('.', '')}": tensor + 1 for key, tensor in a.items()
               if key.startswith("model.")}  # fmt: skip
    torch.save({"state_dict": {**a, **average, "note": 3}, "epoch": 1}, workshop.checkpoints / "old.ckpt")
    events = workshop.convert(source="old.ckpt", ema="drop", precision="bf16")
    assert "first note" in " ".join(workshop.told(events))
    made = workshop.file("made")
    assert made.keys() == a.keys()
    assert all(torch.equal(made[key], a[key].bfloat16()) for key in a)
    workshop.convert(name="averaged", source="old.ckpt", ema="use")
    averaged = workshop.file("averaged")
    assert averaged.keys() == a.keys()
    assert torch.equal(averaged[DEEP], a[DEEP] + 1)
    with pytest.raises(CheckpointError, match="no EMA"):
        workshop.convert(name="none", source="a.safetensors", ema="use")


def test_a_hostile_pickle_is_not_converted(workshop: Workshop) -> None:
    from tests.header_only import SD1, pickle_of, write_pickle

    hostile = pickle_of(SD1, b"cos\nsystem\n(X\x04\x00\x00\x00exittR0")
    write_pickle(workshop.checkpoints / "bad.ckpt", hostile)
    with pytest.raises(UserError, match="would call"):
        workshop.convert(source="bad.ckpt", precision="fp16")


def test_embeddings_loras_and_upscalers_are_converted_too(workshop: Workshop) -> None:
    shelf = workshop.models / "embeddings"
    shelf.mkdir()
    vectors = torch.randn(2, 768)
    torch.save({"string_to_param": {"*": vectors}, "name": "cat", "step": 7}, shelf / "cat.pt")
    workshop.convert(shelf="embeddings", source="cat")
    assert torch.equal(load_file(shelf / "made.safetensors")["emb_params"], vectors)


def test_nothing_is_left_of_a_cancelled_job(workshop: Workshop) -> None:
    signals = iter([None] * 120 + [Signal.CANCEL] * 1000)
    names = {"primary": "a.safetensors", "secondary": "b.safetensors"}
    for name in names.values():
        Library(workshop.checkpoints).find(name)
    before = sorted(workshop.checkpoints.iterdir())
    events = workshop.merge(signals=signals, **names)
    assert isinstance(events[-1], Cancelled)
    assert sorted(workshop.checkpoints.iterdir()) == before


def test_what_is_there_is_never_overwritten(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Conflict, match="already"):
        workshop.merge(name="a", primary="a.safetensors", secondary="b.safetensors")
    target = workshop.checkpoints / "made.safetensors"
    check = writing.check_room

    def somebody_else_writes(folder: Path, needed: int) -> None:
        check(folder, needed)
        target.write_bytes(b"theirs")

    monkeypatch.setattr("webui.engine.forge.job.check_room", somebody_else_writes)
    with pytest.raises(Conflict, match="already"):
        workshop.merge(primary="a.safetensors", secondary="b.safetensors")
    assert target.read_bytes() == b"theirs"
    assert not list(workshop.checkpoints.glob(".*"))


def test_a_full_disk_is_told_before_anything_is_written(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(CannotSaveModel, match="MB are needed and 0 MB free"):
        workshop.merge(primary="a.safetensors", secondary="b.safetensors")


def test_models_of_two_layouts_or_kinds_are_refused(workshop: Workshop) -> None:
    build_tiny_checkpoint(workshop.checkpoints / "folder")
    with pytest.raises(CheckpointError, match="cannot be merged"):
        workshop.merge(primary="a.safetensors", secondary="folder")


def test_a_tensor_is_made_only_when_the_one_before_it_is_written(tmp_path: Path) -> None:
    made: list[str] = []

    def entry(name: str) -> Entry:
        def make() -> torch.Tensor:
            made.append(name)
            return torch.ones(3)

        return Entry(Spec((3,), torch.float32), make)

    plan = Plan(is_folder=False, files={"": {name: entry(name) for name in "abc"}})
    for count, _ in enumerate(writing.write(plan, tmp_path / "x.safetensors"), 1):
        assert len(made) == count
    assert load_file(tmp_path / "x.safetensors").keys() == {"a", "b", "c"}


def test_what_a_killed_merge_has_left_is_removed_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    old, folder, young, other = (
        tmp_path / name
        for name in (".a.safetensors.0123abcd.partial", ".b.0123abcd.partial", ".c.0123abcd.partial", ".mine.partial")
    )
    folder.mkdir()
    for path in (old, folder / "x", young, other):
        path.write_bytes(b"x")
    for path in (old, folder / "x", folder, other):
        os.utime(path, (1.0, 1.0))
    plan = Plan(is_folder=False, files={"": {"a": Entry(Spec((1,), torch.float32), lambda: torch.ones(1))}})
    list(writing.write(plan, tmp_path / "x.safetensors"))
    assert {path.name for path in tmp_path.iterdir()} == {young.name, other.name, "x.safetensors"}
