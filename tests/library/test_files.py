"""Checkpoints that are single files: found, and described from their headers alone."""

import json
import time

import pytest

from tests.header_only import (
    LORA,
    REFINER,
    SD1,
    SD2,
    SDXL,
    VAE,
    pickle_of,
    write_checkpoint,
    write_pickle,
    write_tensors,
)
from webui.errors import CheckpointError
from webui.library import Library

FIRST = "model.diffusion_model.input_blocks.0.0.weight"


def passport(folder, name="one.safetensors"):
    return Library(folder).passports()[name]


def test_files_stand_beside_folders_and_are_named_with_their_suffix(tmp_path):
    write_checkpoint(tmp_path / "folder")
    write_tensors(tmp_path / "mine" / "dream.v2.safetensors", SD1)
    write_pickle(tmp_path / "old.ckpt", pickle_of(SD1))
    (tmp_path / "notes.txt").write_text("x")
    write_tensors(tmp_path / ".hidden.safetensors", SD1)
    library = Library(tmp_path)
    assert list(library.passports()) == ["folder", "mine/dream.v2.safetensors", "old.ckpt"]
    found = library.find("mine/dream.v2.safetensors")
    assert (found.layout, found.title, found.problem) == ("file", "mine/dream.v2.safetensors", None)
    assert found.defaults == {"width": 512, "height": 512}


@pytest.mark.parametrize(
    ("shapes", "family", "task", "prediction_type", "size"),
    [
        (SD1, "sd1", "text", "epsilon", 512),
        ({**SD1, FIRST: (320, 9, 3, 3)}, "sd1", "inpaint", "epsilon", 512),
        ({**SD1, FIRST: (320, 8, 3, 3)}, "sd1", "instruct-pix2pix", "epsilon", 512),
        (SD2, "sd2", "text", "v_prediction", 768),
        ({**SD2, FIRST: (320, 9, 3, 3)}, "sd2", "inpaint", "epsilon", 512),
        ({**SD2, FIRST: (320, 5, 3, 3)}, "sd2", "depth", "epsilon", 512),
        ({**SD2, FIRST: (256, 7, 3, 3)}, "sd2", "upscale", "v_prediction", 768),
        (SDXL, "sdxl", "text", "epsilon", 1024),
        ({**SDXL, FIRST: (320, 9, 3, 3)}, "sdxl", "inpaint", "epsilon", 1024),
        ({**SDXL, "v_pred": (0,), "ztsnr": (0,)}, "sdxl", "text", "v_prediction", 1024),
        (REFINER, "sdxl-refiner", "text", "epsilon", 1024),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_family_task_and_prediction_come_from_names_and_shapes(
    tmp_path, shapes, family, task, prediction_type, size, suffix
):
    path = tmp_path / f"one{suffix}"
    write_tensors(path, shapes) if suffix == ".safetensors" else write_pickle(path, pickle_of(shapes))
    found = passport(tmp_path, path.name)
    assert (found.problem is None) == (task in ("text", "inpaint", "instruct-pix2pix"))
    assert (found.family, found.task) == (family, task)
    assert (found.prediction_type, found.native_size) == (prediction_type, size)
    assert found.zero_snr == ("ztsnr" in shapes)


def test_a_model_of_another_size_than_the_big_ones_is_still_told_by_its_encoder(tmp_path):
    shapes = {**SD1, "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, 16)}
    write_tensors(tmp_path / "one.safetensors", shapes)
    assert passport(tmp_path).family == "sd"


@pytest.mark.parametrize(
    ("metadata", "beside", "prediction_type", "size"),
    [
        ({"modelspec.prediction_type": "epsilon"}, {}, "epsilon", 512),
        ({"modelspec.prediction_type": "v", "modelspec.resolution": "640x640"}, {}, "v_prediction", 640),
        ({"modelspec.resolution": "999999x1"}, {}, "v_prediction", 768),
        ({"modelspec.resolution": "4096x4096"}, {}, "v_prediction", 768),
        ({"modelspec.resolution": "1021x1021"}, {}, "v_prediction", 768),
        ({"modelspec.resolution": "2048x2048"}, {}, "v_prediction", 2048),
        ({}, {"one.yaml": "model:\n  target: ldm.models\n  params:\n    parameterization: 'v'\n"}, "v_prediction", 768),
        ({}, {"one.yaml": "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n"}, "epsilon", 512),
        ({}, {"one.yaml": "something: else\n"}, "v_prediction", 768),
        ({}, {"one.json": '{"prediction_type": "epsilon"}'}, "epsilon", 512),
        ({}, {"one.json": "["}, "v_prediction", 768),
    ],
)
def test_what_the_header_cannot_tell_is_told_by_metadata_or_a_neighbour(
    tmp_path, metadata, beside, prediction_type, size
):
    write_tensors(tmp_path / "one.safetensors", SD2, metadata)
    for name, content in beside.items():
        (tmp_path / name).write_text(content)
    found = passport(tmp_path)
    assert (found.prediction_type, found.native_size) == (prediction_type, size)


def test_stable_diffusion_2_base_is_known_by_its_step(tmp_path):
    path = write_tensors(tmp_path / "one.safetensors", SD2)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    end = max(entry["data_offsets"][1] for entry in header.values())
    content = json.dumps(
        {**header, "global_step": {"dtype": "I64", "shape": [], "data_offsets": [end, end + 8]}}
    ).encode()
    with path.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        file.seek(8 + len(content) + end)
        file.write((875_000).to_bytes(8, "little"))
    assert passport(tmp_path).prediction_type == "epsilon"


def test_a_change_beside_the_file_is_seen(tmp_path):
    write_tensors(tmp_path / "one.safetensors", SD2)
    library = Library(tmp_path)
    (tmp_path / "one.json").write_text('{"prediction_type": "epsilon"}')
    library.refresh()
    assert library.find("one.safetensors").prediction_type == "epsilon"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (LORA, "is a LoRA. Move it to models/loras"),
        ({"unet.down_blocks.0.attn2.to_k.lora_A.weight": (4, 768)}, "is a LoRA"),
        (VAE, "is a VAE. Move it to models/vae"),
        ({f"first_stage_model.{name}": shape for name, shape in VAE.items()}, "is a VAE"),
        ({"decoder.conv_in.weight": (512, 16, 3, 3)}, "a VAE of FLUX"),
        ({"emb_params": (2, 768)}, "is an embedding. Move it to models/embeddings"),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "is an embedding"),
        ({"control_model.time_embed.0.weight": (1280, 320)}, "is a ControlNet. Move it to models/controlnets"),
        ({"adapter.body.0.in_conv.weight": (320, 64)}, "is a T2I-Adapter"),
        ({"conv_first.weight": (64, 3, 3, 3), "conv_first.bias": (64,)}, "is an upscaler. Move it to models/upscalers"),
        ({FIRST: (320, 4, 3, 3)}, "denoiser (UNet) alone, without text encoder and VAE"),
        ({"time_embedding.linear_1.weight": (1280, 320)}, "denoiser (UNet) alone"),
        ({key: SD1[key] for key in SD1 if not key.startswith("cond")}, "lacks its text encoder"),
        ({key: SD1[key] for key in SD1 if not key.startswith("first")}, "lacks its VAE"),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768)}, "a text encoder alone, for which"),
        ({"model.diffusion_model.joint_blocks.0.context_block.x.bias": (1,)}, "a Stable Diffusion 3 model"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (128,)}, "a FLUX model, which Easel does not draw with"),
        ({**SDXL, "edm_mean": (1,)}, "a Playground v2.5 model"),
        ({"something.else": (1,)}, "holds 1 tensors, but no model that Easel knows"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_says_what_it_is_and_where_it_belongs(tmp_path, shapes, words):
    write_tensors(tmp_path / "one.safetensors", shapes)
    assert words in str(passport(tmp_path).problem)
    with pytest.raises(CheckpointError, match=r"'one\.safetensors' cannot be used: it "):
        Library(tmp_path).find("one.safetensors")


def test_the_vae_of_a_checkpoint_beside_it_is_no_checkpoint(tmp_path):
    write_tensors(tmp_path / "checkpoints/one.safetensors", SD1)
    write_tensors(tmp_path / "checkpoints/one.vae.safetensors", VAE)
    library = Library(tmp_path / "checkpoints")
    assert list(library.passports()) == ["one.safetensors"]
    assert library.shelf("vae")["one.vae"].path.name == "one.vae.safetensors"


def test_a_header_as_long_as_that_of_the_largest_models_is_read_in_milliseconds(tmp_path):
    long = {f"model.diffusion_model.output_blocks.{n}.1.transformer_blocks.0.x.weight": (8, 8) for n in range(2500)}
    write_tensors(tmp_path / "one.safetensors", {**SDXL, **long})
    seconds = []
    for _ in range(5):
        begin = time.process_time()  # others may need the processor as well
        assert passport(tmp_path).family == "sdxl"
        seconds.append(time.process_time() - begin)
    assert min(seconds) < 0.05, "7 ms on an idle machine"


def test_the_hash_is_that_of_the_whole_file(tmp_path):
    import hashlib

    path = write_tensors(tmp_path / "one.safetensors", {"model.diffusion_model.x": (2, 2)})
    assert passport(tmp_path).hash == hashlib.sha256(path.read_bytes()).hexdigest()[:10]
