"""diffusers folders from disk: safetensors only, nothing ever fetched.

Whatever is wrong with a file becomes a `CheckpointError` of one sentence that names the part and what to do. Headers
and file sizes were looked at by `webui.library` before; here the contents are.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, VQModel
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from webui.engine.device import Device
from webui.engine.embedders import ClassEmbedder, NothingEmbedder
from webui.engine.loading.parts import Parts, described_noise, first_line, precision_of_vae
from webui.engine.text import Tower
from webui.errors import CheckpointError
from webui.library import Passport, read_json

EMBEDDERS = {kind.__name__: kind for kind in (NothingEmbedder, ClassEmbedder)}
VOCABULARIES = ("tokenizer.json", "vocab.json")


def read_folder(passport: Passport, device: Device) -> Parts:
    """Everything in the folder that takes part in drawing. Raises `CheckpointError`."""
    path = passport.path
    index = read_json(path / "model_index.json")
    scheduler = path / "scheduler" / "scheduler_config.json"
    table, prediction_type = described_noise(read_json(scheduler), f"scheduler/{scheduler.name}")
    is_wordless = "conditioner" in index
    towers = () if is_wordless else _towers(path, index, device)
    unet = load_network(UNet2DConditionModel, path / "unet", device, torch_dtype=device.dtype)
    is_xl = unet.config.addition_embed_type == "text_time"
    return Parts(
        towers=towers,
        unet=unet,
        vae=load_vae_folder(path / "vae", device, is_xl=is_xl),
        table=table,
        prediction_type=prediction_type,
        **(_conditioner(path, device) if is_wordless else {}),
        zeroes_empty=bool(index.get("force_zeros_for_empty_prompt", False)),
    )


def load_vae_folder(folder: Path, device: Device, *, is_xl: bool) -> Any:
    """An AutoencoderKL, or the VQModel of a folder of Easel's own."""
    config = read_json(folder / "config.json")
    kind = VQModel if config.get("_class_name") == "VQModel" else AutoencoderKL
    return load_network(kind, folder, device, torch_dtype=precision_of_vae(config, device.dtype, is_xl=is_xl))


def _conditioner(path: Path, device: Device) -> dict[str, Any]:
    """What one of Easel's own folders has in place of text encoders, and the names of what it knows."""
    name = str(read_json(path / "conditioner" / "config.json").get("_class_name", ""))
    if name not in EMBEDDERS:
        raise CheckpointError(
            "its conditioner is {found}; Easel draws with {known}.", found=name[:80], known=", ".join(EMBEDDERS)
        )
    embedder = load_network(EMBEDDERS[name], path / "conditioner", device, torch_dtype=device.dtype)
    if name != "ClassEmbedder":
        return {"embedder": embedder}
    classes = tuple(map(str, read_json(path / "easel.json").get("classes", ())))
    if len(classes) != embedder.config.classes:  # its tokens, and the one for no class, are found by their numbers
        raise CheckpointError(
            "easel.json names {found} classes and its conditioner knows {expected}. Copy the folder again, completely.",
            found=len(classes), expected=embedder.config.classes,
        )  # fmt: skip
    return {"embedder": embedder, "classes": classes}


def _towers(path: Path, index: dict[str, Any], device: Device) -> tuple[Tower, ...]:
    """One for Stable Diffusion, two for SDXL, the second alone for its refiner."""
    has_second = bool((index.get("text_encoder_2") or [None])[0])
    towers = []
    if (index.get("text_encoder") or [None])[0] or not has_second:
        encoder = load_network(CLIPTextModel, path / "text_encoder", device, dtype=device.dtype)
        towers.append(Tower(load_tokenizer(path / "tokenizer"), encoder, "clip_l" if has_second else ""))
    if has_second:
        second = load_network(CLIPTextModelWithProjection, path / "text_encoder_2", device, dtype=device.dtype)
        towers.append(Tower(load_tokenizer(path / "tokenizer_2"), second, "clip_g"))
    return tuple(towers)


def load_network(kind: Any, folder: Path, device: Device, **dtype: torch.dtype) -> Any:  # both libraries are untyped
    read_json(folder / "config.json")
    try:
        network, found = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **dtype
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise CheckpointError(
            "{part}/ cannot be loaded ({reason}). Copy the folder again, completely.",
            part=folder.name,
            reason=first_line(error),
        ) from error
    # Left alone, both libraries would fill what is absent with random numbers and go on.
    if wrong := sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]])):
        raise CheckpointError(
            "{part}/ lacks {count} of the weights its config.json asks for, first {first}. "
            "Copy config and weights from the same model.",
            part=folder.name,
            count=len(wrong),
            first=wrong[0][:120],
        )
    return network.eval().requires_grad_(False).to(device.torch_device)


def load_tokenizer(folder: Path) -> Any:  # transformers is not typed
    if not any((folder / file).is_file() for file in VOCABULARIES):
        one, other = VOCABULARIES
        raise CheckpointError(
            "{part}/ holds neither {one} nor {other}. Copy the folder again.", part=folder.name, one=one, other=other
        )
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers, written in Rust, raises bare Exception for any fault of a file
        raise CheckpointError(
            "{part}/ cannot be loaded ({reason}). Copy the folder again.", part=folder.name, reason=first_line(error)
        ) from error
