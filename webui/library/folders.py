"""Checkpoints that are diffusers folders, described from their configurations and headers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from webui.errors import CheckpointError
from webui.library.families import FAMILIES, default_size, native_size_of, task_of
from webui.library.headers import check_safetensors, read_json
from webui.library.passport import Told
from webui.sentences import Sentence

INDEX = "model_index.json"
"""A folder that holds it is a checkpoint."""
PARTS = ("unet", "vae", "text_encoder")
"""Folders of a StableDiffusionPipeline that hold weights."""
OTHER_PARTS = ("text_encoder_2", "conditioner")
"""Folders with weights that other pipelines have besides."""
PIPELINE = "StableDiffusionPipeline"
OWN_PIPELINE = "EaselLatentDiffusionPipeline"
"""Of folders that Easel has trained on classes or nothing, or over a VQ autoencoder."""
OWN_TASKS = ("text", "inpaint", "class", "unconditional")
"""What folders of that kind draw; those of layouts can only be trained further."""
DRAWING = (
    *(PIPELINE, "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    *("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    *("StableDiffusionInstructPix2PixPipeline", "StableDiffusionXLInstructPix2PixPipeline"),
    OWN_PIPELINE,
)
"""Kinds of folders that draw: the engine looks at their parts and not at the kind."""
REFINER_WIDTH = 1280
"""cross_attention_dim of SDXL's refiner, the only one of that width."""
TRAINABLE = (
    *(PIPELINE, "StableDiffusionXLPipeline", "StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline"),
    *("StableDiffusionUpscalePipeline", OWN_PIPELINE),
)
"""Kinds of folders that a training can start from."""


def describe_folder(path: Path) -> Told:
    """The passport's fields. Raises `CheckpointError`, OSError, or what a wrong value leads to, as KeyError."""
    index, unet, vae, scheduler = (
        read_json(path / part)
        for part in (INDEX, "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json")
    )
    pipeline = str(index.get("_class_name", ""))
    for part in PARTS if pipeline == PIPELINE else _parts(index):
        for file in _weight_files(path, part):
            check_safetensors(file)
    problem = None
    if pipeline not in DRAWING:
        found = pipeline[:80] or Sentence("not named")
        problem = Sentence("its pipeline is {found}; Easel draws with {known}.", found=found, known=", ".join(DRAWING))
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    channels = int(unet.get("in_channels", 4)), int(vae.get("latent_channels", 4))
    family = _family(pipeline, int(unet["cross_attention_dim"]), index)
    prediction_type = str(scheduler.get("prediction_type", "epsilon"))
    native_size = native_size_of(int(unet["sample_size"]) * factor, family, prediction_type)
    card = read_json(path / "easel.json") if (path / "easel.json").is_file() else {}
    task = _task(pipeline, channels, card)
    if pipeline == OWN_PIPELINE and task not in OWN_TASKS:
        problem = Sentence("it was trained for '{task}', with which Easel does not draw yet.", task=task)
    return {
        "title": str(card.get("title", "")),
        "family": family,
        "task": task,
        "prediction_type": prediction_type,
        "zero_snr": bool(scheduler.get("rescale_betas_zero_snr", False)),
        "native_size": native_size,
        "defaults": {**default_size(native_size), **card.get("defaults", {})},
        "problem": problem,
        "can_train": pipeline in TRAINABLE,
    }


def _parts(index: Mapping[str, Any]) -> list[str]:
    """Folders with weights that a pipeline names; [null, null] stands for one that it does without."""
    return [part for part in (*PARTS, *OTHER_PARTS) if part in index and (index[part] or [""])[0] is not None]


def _weight_files(path: Path, part: str) -> Iterator[Path]:
    files = sorted((path / part).glob("*.safetensors"))
    if not files:
        raise CheckpointError("{part}/ holds no .safetensors file. Copy the folder again, completely.", part=part)
    for index in (path / part).glob("*.safetensors.index.json"):
        named = set(read_json(index).get("weight_map", {}).values())
        if missing := named - {file.name for file in files}:
            listed = ", ".join(sorted(missing))
            raise CheckpointError("{part}/ lacks {files}. Copy the folder again, completely.", part=part, files=listed)
    yield from files


def _family(pipeline: str, cross_attention_dim: int, index: Mapping[str, Any]) -> str:
    if pipeline.startswith("StableDiffusionXL"):
        has_two_encoders = (index.get("text_encoder") or [None])[0] is not None
        return "sdxl" if has_two_encoders and cross_attention_dim != REFINER_WIDTH else "sdxl-refiner"
    return FAMILIES.get(cross_attention_dim, "sd")


def _task(pipeline: str, channels: tuple[int, int], card: Mapping[str, Any]) -> str:
    """`channels`: of the denoiser's input and of the latents."""
    if told := str(card.get("conditioning", "")):
        return {"inpainting": "inpaint", "super-resolution": "upscale", "none": "unconditional"}.get(told, told)
    return "upscale" if pipeline == "StableDiffusionUpscalePipeline" else task_of(*channels)
