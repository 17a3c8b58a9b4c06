"""Checkpoint folders: what is listed, what is found wrong from headers alone, which checkpoint is the default."""

import json
import shutil
import struct
import time

import pytest

from tests.header_only import write_checkpoint
from webui.errors import CheckpointError, NoCheckpoint, UnknownName
from webui.library import Library
from webui.library.families import BIGGEST, SMALLEST, STEP
from webui.params import parameters
from webui.requests import TextToImage


def test_a_good_folder_is_described_from_its_headers(tmp_path):
    write_checkpoint(tmp_path / "one", title="One", defaults={"guidance_scale": 4.0})
    passport = Library(tmp_path).find("one")
    assert (passport.title, passport.native_size, passport.prediction_type) == ("One", 128, "v_prediction")
    assert passport.defaults == {"width": 128, "height": 128, "guidance_scale": 4.0}
    assert len(passport.hash) == 10


def break_unet(content):
    return lambda folder: (folder / "unet/model.safetensors").write_bytes(content)


def safetensors_with(header):
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content


def truncate(folder):
    path = folder / "vae/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_unet(b"<!DOCTYPE html><html>"), "HTML page"),
        (break_unet(b"version https://git-lfs.github.com/spec/v1\n"), "Git-LFS pointer"),
        (break_unet(b""), "is empty"),
        (break_unet(b"\xff" * 100), "damaged"),
        (break_unet(struct.pack("<Q", 2) + b"{}"), "no tensor at all"),
        (truncate, "cut off"),
        (lambda folder: (folder / "unet/config.json").unlink(), "unet/config.json is missing"),
        (lambda folder: (folder / "vae/config.json").write_text("{"), "not a JSON object"),
        (lambda folder: (folder / "unet/config.json").write_text("{}"), "a value is missing"),
        (lambda folder: (folder / "text_encoder/model.safetensors").unlink(), "holds no"),
        (lambda folder: (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}'), "FluxPipeline"),
        (lambda folder: (folder / "model_index.json").write_text("[" * 100_000), "not a JSON object"),
        (lambda folder: (folder / "unet/gone.safetensors").symlink_to("nowhere"), "cannot be read"),
        (lambda folder: (folder / "unet/folder.safetensors").mkdir(), "cannot be read"),
        (lambda folder: (folder / "unet/x.safetensors.index.json").write_text('{"weight_map": []}'), "is missing"),
        (break_unet(safetensors_with({"w": {"data_offsets": [0]}})), "damaged"),
        (break_unet(safetensors_with({"w": 3})), "damaged"),
    ],
)
def test_a_broken_folder_is_listed_with_its_problem_and_refused_in_a_sentence(tmp_path, damage, words):
    damage(write_checkpoint(tmp_path / "broken"))
    library = Library(tmp_path)
    assert words in str(library.passports()["broken"].problem)
    with pytest.raises(CheckpointError, match="cannot be used"):
        library.find("broken")


def test_the_default_is_the_preferred_one_else_the_first_that_works(tmp_path):
    truncate(write_checkpoint(tmp_path / "a"))
    write_checkpoint(tmp_path / "b")
    write_checkpoint(tmp_path / "c")
    library = Library(tmp_path)
    assert library.find("").name == "b"
    assert library.find("", preferred="c").name == "c"
    assert library.find("", preferred="a").name == "b"


def test_an_empty_folder_and_an_unknown_name_say_what_to_do(tmp_path):
    with pytest.raises(NoCheckpoint, match="or a diffusers folder there"):
        Library(tmp_path / "absent").find("")
    write_checkpoint(tmp_path / "one")
    with pytest.raises(UnknownName, match="Known: one"):
        Library(tmp_path).find("../one")


def test_a_new_folder_appears_after_refresh(tmp_path):
    library = Library(tmp_path)
    write_checkpoint(tmp_path / "new")
    library.refresh()
    assert list(library.passports()) == ["new"]


def test_listing_reads_headers_only(tmp_path):
    folder = write_checkpoint(tmp_path / "large")
    with (folder / "unet/model.safetensors").open("wb") as file:
        size = 8 * 2**30
        header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)  # sparse: takes no disk, would take seconds to read
    began = time.process_time()
    assert Library(tmp_path).passports()["large"].problem is None
    assert time.process_time() - began < 1


@pytest.mark.row("F15")
def test_a_linked_folder_is_found_and_a_loop_of_links_ends(tmp_path):
    real = write_checkpoint(tmp_path / "elsewhere" / "real")
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "linked").symlink_to(real)
    (folder / "loop").symlink_to(folder)
    assert list(Library(folder).passports()) == ["linked"]


@pytest.mark.parametrize(
    ("pipeline", "can_train"),
    [("StableDiffusionUpscalePipeline", True), ("FluxPipeline", False)],
)
def test_a_training_starts_from_more_than_what_draws(tmp_path, pipeline, can_train):
    folder = write_checkpoint(tmp_path / "one")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline, "unet": [], "vae": []}))
    library = Library(tmp_path)
    assert library.passports()["one"].can_train == can_train
    with pytest.raises(CheckpointError, match=pipeline):
        library.find("one")
    if can_train:
        assert library.find("one", to_train=True).path == folder
    else:
        with pytest.raises(CheckpointError, match=pipeline):
            library.find("one", to_train=True)


def test_a_part_that_a_pipeline_does_without_is_not_missed(tmp_path):
    folder = write_checkpoint(tmp_path / "one")
    shutil.rmtree(folder / "text_encoder")
    index = {
        "_class_name": "StableDiffusionXLImg2ImgPipeline",
        "text_encoder": [None, None],
        "unet": ["diffusers", "x"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    found = Library(tmp_path).find("one")
    assert (found.family, found.problem) == ("sdxl-refiner", None)


@pytest.mark.parametrize("pipeline", ["StableDiffusionXLPipeline", "StableDiffusionInpaintPipeline"])
def test_more_than_the_first_pipeline_draws(tmp_path, pipeline):
    folder = write_checkpoint(tmp_path / "one")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline, "unet": [], "vae": []}))
    assert Library(tmp_path).find("one").problem is None


def test_a_training_does_not_start_from_a_broken_folder(tmp_path):
    truncate(write_checkpoint(tmp_path / "broken"))
    with pytest.raises(CheckpointError, match="cut off"):
        Library(tmp_path).find("broken", to_train=True)


@pytest.mark.parametrize(
    ("pipeline", "unet", "family", "task"),
    [
        ("StableDiffusionPipeline", {"cross_attention_dim": 768}, "sd1", "text"),
        ("StableDiffusionPipeline", {"cross_attention_dim": 1024}, "sd2", "text"),
        ("StableDiffusionPipeline", {"cross_attention_dim": 16}, "sd", "text"),
        ("StableDiffusionInpaintPipeline", {"cross_attention_dim": 768, "in_channels": 9}, "sd1", "inpaint"),
        ("StableDiffusionDepth2ImgPipeline", {"cross_attention_dim": 1024, "in_channels": 5}, "sd2", "depth"),
        ("StableDiffusionInstructPix2PixPipeline", {"in_channels": 8}, "sd", "instruct-pix2pix"),
        ("StableDiffusionUpscalePipeline", {"cross_attention_dim": 1024, "in_channels": 7}, "sd2", "upscale"),
        ("StableDiffusionXLPipeline", {"cross_attention_dim": 2048}, "sdxl", "text"),
        ("StableDiffusionXLInpaintPipeline", {"in_channels": 9}, "sdxl", "inpaint"),
        ("StableDiffusionXLImg2ImgPipeline", {"cross_attention_dim": 1280}, "sdxl-refiner", "text"),
    ],
)
def test_family_and_task_of_a_folder_are_told(tmp_path, pipeline, unet, family, task):
    folder = write_checkpoint(tmp_path / "one")
    two_encoders = {} if family == "sdxl-refiner" else {"text_encoder": ["transformers", "CLIPTextModel"]}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline, **two_encoders}))
    config = {"sample_size": 16, "cross_attention_dim": 256, **unet}
    (folder / "unet/config.json").write_text(json.dumps(config))
    passport = Library(tmp_path).passports()["one"]
    assert (passport.layout, passport.family, passport.task) == ("folder", family, task)


def test_what_a_model_trained_here_was_conditioned_on_is_told(tmp_path):
    folder = write_checkpoint(tmp_path / "one", conditioning="class")
    (folder / "model_index.json").write_text('{"_class_name": "EaselLatentDiffusionPipeline"}')
    assert Library(tmp_path).passports()["one"].task == "class"


@pytest.mark.parametrize(("conditioning", "draws"), [("class", True), ("none", True), ("layout", False)])
def test_of_easels_own_folders_those_of_classes_and_of_nothing_draw(tmp_path, conditioning, draws):
    folder = write_checkpoint(tmp_path / "own")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "EaselLatentDiffusionPipeline", "unet": []}))
    (folder / "easel.json").write_text(json.dumps({"conditioning": conditioning}))
    passport = Library(tmp_path).passports()["own"]
    assert passport.can_train
    assert (passport.problem is None) == draws
    if not draws:
        assert "trained for 'layout'" in str(passport.problem)


@pytest.mark.parametrize(
    ("sample_size", "native", "default"), [(512, 512, 512), (4, 32, 64), (3, 24, 64), (256, 2048, 2048)]
)
def test_the_default_size_can_be_asked_for(tmp_path, sample_size, native, default):
    write_checkpoint(tmp_path / "one")
    (tmp_path / "one/unet/config.json").write_text(f'{{"sample_size": {sample_size}, "cross_attention_dim": 768}}')
    passport = Library(tmp_path).find("one")
    assert (passport.native_size, passport.defaults) == (native, {"width": default, "height": default})
    TextToImage(prompt="", **passport.defaults)


def test_the_limits_of_sizes_are_those_of_requests():
    for side in ("width", "height"):
        param = parameters(TextToImage)[side].param
        assert (param.minimum, param.maximum, param.step) == (SMALLEST, BIGGEST, STEP)


def test_what_was_unpacked_into_the_folder_itself_hides_no_other(tmp_path):
    write_checkpoint(tmp_path / "one")
    (tmp_path / "model_index.json").write_text("{}")
    assert list(Library(tmp_path).passports()) == ["one"]
