"""The folder a trained denoiser ends in: diffusers' layout, with what it was conditioned on in easel.json.

Conditioned on text, inpainting or super-resolution it is a plain Stable Diffusion pipeline; what plain pipelines have
no place for (classes, layouts, vector-quantised latents) is marked as Easel's own.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from webui.engine.device import Device
from webui.engine.embedders import ClassEmbedder, NothingEmbedder
from webui.engine.loading.folder import load_network
from webui.engine.preview_decoder import FILE as PREVIEW_FILE
from webui.errors import CheckpointError
from webui.library import read_json
from webui.training.conditioning import (
    MAX_NOISE_LEVEL,
    Denoiser,
    LayoutEmbedder,
    low_resolution_scheduler,
)
from webui.training.loop import write_json
from webui.training.networks import FirstStage, TextEncoders, halved
from webui.training.objective import sampling_scheduler
from webui.training.results import CARD, TOKEN_KEY, write_folder
from webui.training.steering import Steering, card

OWN_PIPELINE = "EaselLatentDiffusionPipeline"
"""Of no diffusers class: only Easel draws with it."""
EMBEDDERS = {kind.__name__: kind for kind in (NothingEmbedder, ClassEmbedder, LayoutEmbedder)}
PIPELINES = {
    "text": "StableDiffusionPipeline",
    "inpainting": "StableDiffusionInpaintPipeline",
    "super-resolution": "StableDiffusionUpscalePipeline",
}
XL_PIPELINES = {"text": "StableDiffusionXLPipeline", "inpainting": "StableDiffusionXLInpaintPipeline"}


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Everything that goes into the folder."""

    denoiser: Denoiser
    first_stage: FirstStage
    texts: TextEncoders | None
    scheduler: Mapping[str, Any]
    """Arguments of the noise schedule, from `noise_config`."""
    steering: Steering
    kind: str
    title: str
    defaults: Mapping[str, Any]
    """Values of a request that suit the model, beside its own size."""
    made_by: Mapping[str, Any]
    """The request, so that the run can be done again."""
    token: str


def write_checkpoint(finished: Finished, result: Path) -> Path:
    """Denoiser and conditioner in fp16, the frozen parts as they were. Raises `CannotSaveRun`."""
    told = {
        "title": finished.title,
        "defaults": dict(finished.defaults),
        **card(finished.kind, finished.steering, finished.first_stage),
        "made_by": dict(finished.made_by),
        TOKEN_KEY: finished.token,
    }
    return write_folder(lambda folder: _fill(finished, folder), told, result)


def _fill(finished: Finished, folder: Path) -> None:
    halved(finished.denoiser.unet).save_pretrained(folder / "unet")
    sampling_scheduler(finished.scheduler).save_pretrained(folder / "scheduler")
    parts = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", type(finished.first_stage.vae).__name__],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    shutil.copytree(finished.first_stage.folder, folder / "vae")
    for extra in ("latent_rgb.json", PREVIEW_FILE, "LICENSES.md"):
        if (finished.first_stage.folder.parent / extra).is_file():
            shutil.copyfile(finished.first_stage.folder.parent / extra, folder / extra)
    embedder = finished.denoiser.embedder
    if embedder is not None:
        halved(embedder).save_pretrained(folder / "conditioner")
        parts["conditioner"] = ["webui.training.conditioning", type(embedder).__name__]
    if finished.texts is not None:
        parts |= _copy_texts(finished.texts, folder)
    if finished.kind == "super-resolution":
        low_resolution_scheduler().save_pretrained(folder / "low_res_scheduler")
        parts["low_res_scheduler"] = ["diffusers", "DDPMScheduler"]
    _write_index(finished, parts, folder)


def _copy_texts(texts: TextEncoders, folder: Path) -> dict[str, list[str]]:
    """Text encoders and tokenizers as they lie in their own folder, every file of them."""
    parts = {}
    for number, tower in enumerate(texts.towers):
        ending = f"_{number + 1}" if number else ""
        for name, kind in (("tokenizer", "CLIPTokenizer"), ("text_encoder", type(tower.encoder).__name__)):
            shutil.copytree(texts.path / f"{name}{ending}", folder / f"{name}{ending}")
            parts[f"{name}{ending}"] = ["transformers", kind]
        # transformers loads a text encoder in the precision of its file, diffusers a UNet in fp32: fp32 for both.
        config = folder / f"text_encoder{ending}" / "config.json"
        write_json({**read_json(config), "dtype": "float32"}, config)
    return parts


def _write_index(finished: Finished, parts: Mapping[str, list[str]], folder: Path) -> None:
    pipeline = _pipeline_of(finished)
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": diffusers.__version__, **parts}
    if pipeline != OWN_PIPELINE:
        index |= {"feature_extractor": [None, None]}
        if pipeline in XL_PIPELINES.values():
            index |= {"image_encoder": [None, None], "force_zeros_for_empty_prompt": True}
        elif finished.kind == "super-resolution":
            index |= {"safety_checker": [None, None], "watermarker": [None, None], "max_noise_level": MAX_NOISE_LEVEL}
        else:
            index |= {
                "image_encoder": [None, None],
                "safety_checker": [None, None],
                "requires_safety_checker": False,
            }
    write_json(index, folder / "model_index.json")


def _pipeline_of(finished: Finished) -> str:
    if finished.texts is None or not isinstance(finished.first_stage.vae, AutoencoderKL):
        return OWN_PIPELINE
    return (XL_PIPELINES if finished.texts.is_xl else PIPELINES)[finished.kind]


# The way back.


def knowledge_of(folder: Path) -> dict[str, Any]:
    """What easel.json says of a folder; nothing for one that others made."""
    try:
        return read_json(folder / CARD)
    except CheckpointError:
        return {}


def load_denoiser(folder: Path, device: str = "cpu") -> Denoiser:
    """UNet and conditioner of a finished folder, fp32. Raises `CheckpointError`."""
    where = Device(torch_device=torch.device(device), name=device, dtype=torch.float32)
    unet = load_network(UNet2DConditionModel, folder / "unet", where, torch_dtype=torch.float32)
    embedder = None
    if (folder / "conditioner").is_dir():
        kind = EMBEDDERS[str(read_json(folder / "conditioner" / "config.json").get("_class_name"))]
        embedder = load_network(kind, folder / "conditioner", where, torch_dtype=torch.float32)
    return Denoiser(unet, embedder)


@torch.no_grad()
def read_embedder(embedder: nn.Module, names: tuple[str, ...], folder: Path) -> None:
    """Take over from a finished folder what fits: the tokens of classes and labels by name, the rest as it is."""
    if not (folder / "conditioner").is_dir():
        return
    old = load_denoiser(folder).embedder
    if type(old) is not type(embedder) or old.config.features != embedder.config.features:  # type: ignore[union-attr]
        return
    known = knowledge_of(folder)
    rows = [*known.get("classes", known.get("labels", [])), None]
    mine = dict(embedder.named_parameters())
    for name, value in old.named_parameters():
        if name not in ("embedding.weight", "label.weight"):
            mine[name].copy_(value)
            continue
        for number, word in enumerate((*names, None)):
            if word in rows:
                mine[name][number] = value[rows.index(word)]
