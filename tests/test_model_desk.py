"""The desk of the models: looking through thousands, what is kept beside them, and the trash."""

import json
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.header_only import LORA, SD1, SDXL, VAE, write_checkpoint, write_safetensors, write_tensors
from webui.errors import CannotSaveModel, CheckpointError, Conflict, InvalidRequest, NotFound, UnknownName
from webui.intake import Intake
from webui.library import Library
from webui.model_desk import ModelDesk, Query
from webui.model_requests import ConvertModel, MergeModels, block_weights
from webui.options import OptionsFile
from webui.prompts import PromptDesk
from webui.requests import build

BIG = {**SD1, "model_ema.decay": (), "first_stage_model.x": (10, 10)}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "checkpoints/folder", title="A folder", defaults={"guidance_scale": 3.0})
    (tmp_path / "checkpoints/folder/LICENSE.md").write_text("Do what you like.")
    write_tensors(tmp_path / "checkpoints/one.safetensors", SD1, {"modelspec.title": "x"})
    write_tensors(tmp_path / "checkpoints/sub/two.safetensors", SDXL)
    (tmp_path / "checkpoints/bad.safetensors").write_bytes(b"<html>")
    write_tensors(tmp_path / "loras/cat.safetensors", LORA, {"modelspec.trigger_phrase": "fluffy"})
    write_tensors(tmp_path / "vae/soft.safetensors", VAE)
    return tmp_path


def desk_of(models: Path) -> ModelDesk:
    return ModelDesk(Library(models / "checkpoints"), models, lambda: None, Path)


def names(desk: ModelDesk, **query: object) -> list[str]:
    return [model["name"] for model in desk.search(Query(**query), 0, 100)["models"]]  # type: ignore[arg-type]


def test_models_are_found_by_words_shelf_family_and_fault(models: Path) -> None:
    desk = desk_of(models)
    assert names(desk) == ["bad.safetensors", "cat", "folder", "one.safetensors", "soft", "sub/two.safetensors"]
    assert names(desk, text="FLUFF") == ["cat"]
    assert names(desk, text="a folder") == ["folder"]
    assert names(desk, shelf="checkpoints", family="sdxl") == ["sub/two.safetensors"]
    assert names(desk, broken=True) == ["bad.safetensors"]
    assert names(desk, sort="largest")[0] == "sub/two.safetensors"
    found = desk.search(Query(), 1, 2)
    assert [model["name"] for model in found["models"]] == ["cat", "folder"]
    assert (found["total"], found["shelves"]["loras"], found["families"]) == (6, 1, ["sd", "sd1", "sdxl"])
    with pytest.raises(UnknownName, match="checkpoints, loras"):
        names(desk, shelf="../secret")


def test_a_passport_tells_sizes_licence_and_metadata(models: Path) -> None:
    desk = desk_of(models)
    one = desk.passport("checkpoints", "one.safetensors")
    assert one["numbers"] * 2 == one["bytes"] - one_header(models)
    assert (one["precision"], one["family"], one["metadata"]) == ("fp16", "sd1", {"modelspec.title": "x"})
    assert one["file"] == "checkpoints/one.safetensors"
    folder = desk.passport("checkpoints", "folder")
    assert (folder["licence"], folder["precision"], folder["numbers"]) == ("Do what you like.", "fp32", 3 * 16)
    with pytest.raises(NotFound):
        desk.passport("loras", "folder")


def one_header(models: Path) -> int:
    """Bytes in front of the tensors."""
    with (models / "checkpoints/one.safetensors").open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def test_variants_and_safety_checkers_are_not_weighed(models: Path) -> None:
    folder = models / "checkpoints/folder"
    write_safetensors(folder / "unet" / "model.fp16.safetensors", 4000)
    (folder / "safety_checker").mkdir()
    write_safetensors(folder / "safety_checker" / "model.safetensors", 4000)
    assert desk_of(models).passport("checkpoints", "folder")["numbers"] == 3 * 16


def test_notes_and_tags_lie_beside_the_model_and_come_back(models: Path) -> None:
    desk = desk_of(models)
    for shelf, name in (("checkpoints", "folder"), ("checkpoints", "one.safetensors"), ("loras", "cat")):
        desk.keep_notes(shelf, name, "  Good for cats. ", ["animal", "", "animal", "new"])
    assert json.loads((models / "checkpoints/folder.easel.json").read_text())["notes"] == "Good for cats."
    again = desk_of(models)
    assert again.passport("loras", "cat")["tags"] == ["animal", "new"]
    assert names(again, tag="new", shelf="checkpoints") == ["folder", "one.safetensors"]
    assert names(again, text="good cats", shelf="loras") == ["cat"]
    again.keep_notes("loras", "cat", "", [])
    assert not (models / "loras/cat.easel.json").exists()
    with pytest.raises(InvalidRequest, match="characters"):
        again.keep_notes("loras", "cat", "x" * 30_000, [])


@pytest.mark.parametrize("content", ["", "[]", '{"notes": 3, "tags": "x", "defaults": [1]}', "\0" * 100])
def test_a_broken_file_beside_a_model_reads_as_empty(models: Path, content: str) -> None:
    (models / "checkpoints/one.easel.json").write_text(content)
    one = desk_of(models).passport("checkpoints", "one.safetensors")
    assert (one["notes"], one["tags"], one["kept_defaults"]) == ("", [], {})


def test_defaults_of_a_person_hold_over_those_of_the_folder_in_every_kind_of_request(models: Path) -> None:
    desk = desk_of(models)
    desk.keep_defaults(
        "checkpoints", "folder", {"clip_skip": 2, "vae": "soft", "num_inference_steps": 7, "hires": True}
    )
    library = Library(models / "checkpoints")
    assert library.find("folder").defaults == {
        "width": 128, "height": 128, "guidance_scale": 3.0,
        "clip_skip": 2, "vae": "soft", "num_inference_steps": 7, "hires": True,
    }  # fmt: skip
    options = OptionsFile(models / "options.json")
    inputs = type("Inputs", (), {"check": lambda self, name: None})()
    prompts = PromptDesk(models / "styles.csv", models / "wildcards")
    intake = Intake(library, options, inputs, prompts, lambda: ("Lanczos",), dict)  # type: ignore[arg-type]
    drawn = intake.request("txt2img", {"checkpoint": "folder", "clip_skip": 1})
    assert (drawn.clip_skip, drawn.vae, drawn.num_inference_steps) == (1, "soft", 7)  # type: ignore[attr-defined]
    changed = intake.request("img2img", {"checkpoint": "folder", "image": "0" * 32})  # knows no hires fix
    assert changed.clip_skip == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "said"),
    [({"checkpoint": "x"}, "Unknown field"), ({"clip_skip": 99}, "Clip skip"), ({"vae": "none"}, "Unknown VAE"),
     ({"sampler": "Fast"}, "Known: Euler")],
)  # fmt: skip
def test_impossible_defaults_are_refused(models: Path, values: dict[str, object], said: str) -> None:
    desk = desk_of(models)
    with pytest.raises(InvalidRequest, match=said):
        desk.keep_defaults("checkpoints", "one.safetensors", values)
    with pytest.raises(InvalidRequest, match="Only checkpoints"):
        desk.keep_defaults("loras", "cat", {})


def test_a_picture_is_kept_small_beside_the_model(models: Path, tmp_path: Path) -> None:
    picture = tmp_path / "large.png"
    Image.new("RGB", (2000, 1000), "red").save(picture)
    desk = desk_of(models)
    for shelf, name, file in (("checkpoints", "folder", "folder"), ("loras", "cat", "cat")):
        desk.set_preview(shelf, name, str(picture))
        kept = models / shelf / f"{file}.preview.png"
        assert Image.open(kept).size == (768, 384)
        assert desk.row(desk.model(shelf, name))["preview"] is not None
        desk.set_preview(shelf, name, None)
        assert desk.row(desk.model(shelf, name))["preview"] is None


def test_nothing_is_written_into_folders_of_other_tools(models: Path, tmp_path: Path) -> None:
    other = tmp_path / "webui"
    write_tensors(other / "models/Stable-diffusion/theirs.safetensors", SD1)
    desk = ModelDesk(Library(models / "checkpoints", extra=[other]), models, lambda: None, Path)
    before = sorted(other.rglob("*"))
    for act in (
        lambda: desk.keep_notes("checkpoints", "theirs.safetensors", "x", []),
        lambda: desk.keep_defaults("checkpoints", "theirs.safetensors", {"clip_skip": 2}),
        lambda: desk.set_preview("checkpoints", "theirs.safetensors", None),
        lambda: desk.throw_away("checkpoints", "theirs.safetensors"),
    ):
        with pytest.raises(Conflict, match="another tool"):
            act()
    assert sorted(other.rglob("*")) == before
    assert desk.passport("checkpoints", "theirs.safetensors")["is_own"] is False


def test_what_was_thrown_away_comes_back_with_everything_beside_it(models: Path) -> None:
    desk = desk_of(models)
    desk.keep_notes("checkpoints", "folder", "mine", [])
    thrown = desk.throw_away("checkpoints", "folder")
    assert "folder" not in names(desk)
    assert not list((models / "checkpoints").glob("folder*"))
    assert [each["name"] for each in desk.trash.all()] == ["folder"]
    desk.bring_back(thrown)
    assert desk.passport("checkpoints", "folder")["notes"] == "mine"
    assert not list((models / ".trash").iterdir())
    with pytest.raises(NotFound):
        desk.bring_back("../../etc")


def test_a_model_from_the_trash_never_replaces_another(models: Path) -> None:
    desk = desk_of(models)
    thrown = desk.throw_away("checkpoints", "one.safetensors")
    write_tensors(models / "checkpoints/one.safetensors", SDXL)
    with pytest.raises(Conflict, match=r"one\.safetensors again"):
        desk.bring_back(thrown)


def test_a_hash_is_made_once_and_known_from_then_on(models: Path) -> None:
    desk = desk_of(models)
    model = desk.model("loras", "cat")
    state = desk.hashing.start(model)
    for _ in range(500):
        if state["sha256"]:
            break
        time.sleep(0.01)
        state = desk.hashing.state(model)
    import hashlib

    assert state["sha256"] == hashlib.sha256((models / "loras/cat.safetensors").read_bytes()).hexdigest()
    assert desk.hashing.start(model)["done"] is None
    assert desk.passport("loras", "cat")["sha256"] == state["sha256"]


def test_merges_are_settled_before_they_are_queued(models: Path) -> None:
    write_tensors(models / "checkpoints/dream.safetensors", SD1)
    desk = desk_of(models)
    wanted = {"primary": "one.safetensors", "secondary": "dream.safetensors"}
    request = desk.settle("merge-models", {**wanted, "multiplier": 0.25})
    assert isinstance(request, MergeModels)
    assert request.name == "0.75(one) + 0.25(dream)"
    write_tensors(models / "checkpoints/0.75(one) + 0.25(dream).safetensors", SD1)
    assert desk.settle("merge-models", {**wanted, "multiplier": 0.25}).name == "0.75(one) + 0.25(dream) 2"
    with pytest.raises(Conflict):
        desk.settle("merge-models", {**wanted, "name": "one"})
    with pytest.raises(CheckpointError, match="sd1, sdxl"):
        desk.settle("merge-models", {**wanted, "secondary": "sub/two.safetensors"})
    with pytest.raises(InvalidRequest, match="needs model C"):
        desk.settle("merge-models", {**wanted, "method": "Add difference"})
    with pytest.raises(UnknownName, match="Known: soft"):
        desk.settle("merge-models", {**wanted, "baked_vae": "none"})


@pytest.mark.parametrize("name", ["../out", "a/b", "a\\b", ".hidden", "x" * 200, "a\n"])
def test_names_of_results_are_no_paths(models: Path, name: str) -> None:
    with pytest.raises(InvalidRequest):
        desk_of(models).settle("convert-model", {"source": "one.safetensors", "precision": "fp16", "name": name})


def test_conversions_are_settled_before_they_are_queued(models: Path) -> None:
    desk = desk_of(models)
    request = desk.settle("convert-model", {"source": "one.safetensors", "precision": "bf16", "ema": "drop"})
    assert isinstance(request, ConvertModel)
    assert request.name == "one-bf16-pruned"
    for values, said in (
        ({"source": "one.safetensors"}, "Nothing would be converted"),
        ({"source": "cat", "shelf": "loras", "layout": "folder"}, "Only checkpoints"),
    ):
        with pytest.raises(InvalidRequest, match=said):
            desk.settle("convert-model", values)
    with pytest.raises(NotFound):
        desk.settle("convert-model", {"source": "nothing", "shelf": "loras"})


@pytest.mark.parametrize(
    ("text", "weights"),
    [("", {}), ("IN04=0.5, m00 = 1", {"IN04": 0.5, "M00": 1.0}), (",".join(["0.5"] * 26), None)],
)
def test_multipliers_by_block(text: str, weights: dict[str, float] | None) -> None:
    found = block_weights(text)
    assert found == weights if weights is not None else (len(found), found["BASE"], found["OUT11"]) == (26, 0.5, 0.5)


@pytest.mark.parametrize("text", ["IN4=1", "IN04=2", "IN04=x", "0.1,0.2", "IN04=nan"])
def test_wrong_multipliers_by_block_are_named(text: str) -> None:
    with pytest.raises(InvalidRequest, match="multiplier"):
        build("merge-models", {"primary": "a", "secondary": "b", "block_weights": text})


def test_a_page_of_20_000_models_is_found_quickly(tmp_path: Path) -> None:
    shapes = {key: (1, *shape[1:2]) for key, shape in LORA.items()}
    for number in range(300):
        write_tensors(tmp_path / "loras" / f"{number:05}.safetensors", shapes)
    desk = desk_of(tmp_path)
    one = list(desk._library.shelf("loras").values())
    many = {f"{copy}-{item.name}": item for copy in range(67) for item in one}
    desk._library._shelves["loras"] = many
    begin = time.process_time()
    found = desk.search(Query(text="0012", shelf="loras"), 0, 100)
    assert time.process_time() - begin < 1.0
    assert found["total"] == 67 * 11


def test_names_of_results_fit_into_a_file_system(models: Path) -> None:
    korean = "그림" * 40
    for name in ("하나", "둘"):
        write_tensors(models / f"checkpoints/{name}{korean[:60]}.safetensors", SD1)
    desk = desk_of(models)
    wanted = {"primary": f"하나{korean[:60]}.safetensors", "secondary": f"둘{korean[:60]}.safetensors"}
    made = desk.settle("merge-models", wanted)
    assert isinstance(made, MergeModels)
    assert made.name.startswith("0.7(하나그림")
    assert len(made.name.encode()) <= 200
    with pytest.raises(InvalidRequest, match="too long"):
        desk.settle("merge-models", {**wanted, "name": korean})


@pytest.mark.parametrize("pattern", ["a{99999999999999}", "(", "(" * 150 + ")" * 50])
def test_what_is_no_regular_expression_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="regular expression"):
        build("merge-models", {"primary": "a", "secondary": "b", "discard": pattern})


@pytest.mark.parametrize(
    "value",
    [{"seed": 1}, {"variation_seed": 1}, {"hires_prompt": "x"}, {"hires_negative_prompt": "x"}, {"branch_step": 1}],
)
def test_what_belongs_to_one_picture_is_no_default_of_a_checkpoint(models: Path, value: dict[str, object]) -> None:
    with pytest.raises(UnknownName):
        desk_of(models).keep_defaults("checkpoints", "folder", value)
    panel = (Path(__file__).parents[1] / "webui/ui/assets/models-panel.js").read_text("utf-8")
    assert f'"{next(iter(value))}"' in panel.partition("const NOT_KEPT = [")[2].partition("]")[0]


def test_a_model_that_cannot_be_thrown_away_leaves_nothing_in_the_trash(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of(models)

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        with pytest.raises(CannotSaveModel):
            desk.throw_away("loras", "cat")
    assert desk.trash.all() == []
    assert list((models / ".trash").iterdir()) == []
