"""Single files with the keys of latent-diffusion ("LDM"): Stable Diffusion 1 and 2, SDXL, its refiner, inpainting.

Configurations come from the shapes (`shapes`), names from diffusers' own conversion, words from the vocabulary that
ships with Easel. Each part is read, renamed and placed on the device before the next one is opened.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from webui.engine.device import Device
from webui.engine.loading import shapes
from webui.engine.loading.parts import Parts, described_noise, precision_of_vae
from webui.engine.loading.weights import Weights, filled, open_weights
from webui.engine.text import Tower
from webui.errors import CheckpointError
from webui.library import Passport
from webui.prompt.clip_vocabulary import clip_merges, clip_vocabulary
from webui.sentences import Sentence

SD_SCALE, XL_SCALE = 0.18215, 0.13025
"""What latents are multiplied with (Rombach et al. 2022, appendix G; Podell et al. 2023)."""
NOISE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "set_alpha_to_one": False,
}
"""The schedule of all these families."""
FIRST_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Of the parts of an autoencoder's attention in diffusers before version 0.12 -> as they are called now."""
FIRST_NAME = re.compile(rf"\.({'|'.join(FIRST_NAMES)})(?=\.\w+$)")
NUMBERS_TOLD = {"sdxl": 6, "sdxl-refiner": 5}
"""Of a picture, beside the whole text's vector."""


def read_single_file(passport: Passport, device: Device) -> Parts:
    """Everything in the file that takes part in drawing. Raises `CheckpointError`."""
    weights = open_weights(passport.path)
    kind = kind_of(weights)
    table, prediction_type = described_noise(noise_config(passport), weights.name)
    towers = _towers(weights, kind, device)
    return Parts(
        towers=towers,
        unet=_unet(weights, kind, towers, device),
        vae=_vae(weights, device, is_xl=kind in NUMBERS_TOLD),
        table=table,
        prediction_type=prediction_type,
        zeroes_empty=kind in NUMBERS_TOLD,
    )


def read_vae_file(path: Path, device: Device, *, is_xl: bool) -> Any:
    """An AutoencoderKL alone in a file, or the one of a whole model. Raises `CheckpointError`."""
    return _vae(open_weights(path), device, is_xl=is_xl)


def kind_of(weights: Weights) -> str:
    """ "sd1", "sd2", "sdxl" or "sdxl-refiner". Raises `CheckpointError` for anything else."""
    if not any(key.startswith(shapes.UNET) for key in weights.shapes):
        raise CheckpointError("{name} is no whole checkpoint: it holds no denoiser.", name=weights.name)
    marks = {
        "sdxl": shapes.OPEN_CLIP_XL,
        "sdxl-refiner": shapes.OPEN_CLIP_REFINER,
        "sd2": shapes.OPEN_CLIP_SD,
        "sd1": shapes.CLIP_SD,
    }
    for kind, prefix in marks.items():
        if any(key.startswith(prefix) for key in weights.shapes):
            return kind
    raise CheckpointError("{name} holds no text encoder that Easel knows.", name=weights.name)


def _towers(weights: Weights, kind: str, device: Device) -> tuple[Tower, ...]:
    if kind == "sd1":
        return (Tower(shipped_tokenizer(weights), _clip(weights, shapes.CLIP_SD, device)),)
    if kind == "sd2":
        # Stable Diffusion 2 reads the layer before the last, so the last is left out, as diffusers does it.
        return (Tower(shipped_tokenizer(weights, "!"), _open_clip(weights, shapes.OPEN_CLIP_SD, device, without=1)),)
    if kind == "sdxl-refiner":
        return (_big_tower(weights, shapes.OPEN_CLIP_REFINER, device),)
    small = Tower(shipped_tokenizer(weights), _clip(weights, shapes.CLIP_XL, device), "clip_l")
    return small, _big_tower(weights, shapes.OPEN_CLIP_XL, device)


def _big_tower(weights: Weights, prefix: str, device: Device) -> Tower:
    return Tower(shipped_tokenizer(weights, "!"), _open_clip(weights, prefix, device), "clip_g")


def shipped_tokenizer(weights: Weights, padding: str = "<|endoftext|>") -> Any:  # transformers is not typed
    """CLIP's own, for a text encoder that knows all its words. `padding` fills chunks behind their end mark."""
    merges = clip_merges()
    vocabulary = clip_vocabulary(merges)
    words = next((shape[0] for key, shape in weights.shapes.items() if key.endswith("token_embedding.weight")), 0)
    if words != len(vocabulary):
        raise CheckpointError(
            "its text encoder knows {found} words and CLIP's tokenizer, which is the one for single files, {expected}. "
            "Use the model as a folder of diffusers, which brings its own.",
            found=words, expected=len(vocabulary),
        )  # fmt: skip
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=padding, model_max_length=77)


def _clip(weights: Weights, prefix: str, device: Device) -> Any:
    config = CLIPTextConfig(**shapes.clip_config(weights.shapes, prefix))
    tensors = {
        key.removeprefix(prefix).removeprefix("text_model."): tensor for key, tensor in weights.below(prefix).items()
    }
    return filled(lambda: CLIPTextModel(config), tensors, device, Sentence("text encoder"))


def _open_clip(weights: Weights, prefix: str, device: Device, without: int = 0) -> Any:
    """`without`: that many of the last layers, and the projection; all of them without it."""
    values = shapes.open_clip_config(weights.shapes, prefix)
    config = CLIPTextConfig(**{**values, "num_hidden_layers": values["num_hidden_layers"] - without})
    build: Callable[[], Any] = lambda: (CLIPTextModel if without else CLIPTextModelWithProjection)(config)  # noqa: E731
    with torch.device("meta"):
        shape_alone = build()
    tensors: dict[str, torch.Tensor] = convert_open_clip_checkpoint(shape_alone, weights.below(prefix), prefix)
    if without:
        left = range(config.num_hidden_layers)
        tensors = {
            key.removeprefix("text_model."): tensor
            for key, tensor in tensors.items()
            if key != "text_projection.weight" and _layer(key) in (None, *left)
        }
    return filled(build, tensors, device, Sentence("text encoder"))


def _layer(key: str) -> int | None:
    """The layer a weight belongs to; None for those outside of all layers."""
    match = re.search(r"encoder\.layers\.(\d+)\.", key)
    return int(match[1]) if match else None


def _unet(weights: Weights, kind: str, towers: tuple[Tower, ...], device: Device) -> Any:
    told = None
    if kind in NUMBERS_TOLD:
        told = int(towers[-1].encoder.config.projection_dim), NUMBERS_TOLD[kind]
    config = shapes.unet_config(weights.shapes, told)
    tensors = convert_ldm_unet_checkpoint(weights.below(shapes.UNET), config)
    return filled(lambda: UNet2DConditionModel(**config), tensors, device, Sentence("denoiser"))


def _vae(weights: Weights, device: Device, *, is_xl: bool) -> Any:
    below = [prefix for prefix in shapes.VAE_PREFIXES if any(key.startswith(prefix) for key in weights.shapes)]
    prefixes = below or ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."]
    mine = {key: shape for key, shape in weights.shapes.items() if key.startswith(tuple(prefixes))}
    config = shapes.vae_config(mine, XL_SCALE if is_xl else SD_SCALE)
    tensors = _vae_in_diffusers_names(weights.read(mine), config)
    precision = precision_of_vae(config, device.dtype, is_xl=is_xl)
    where = Device(torch_device=device.torch_device, name=device.name, dtype=precision)
    return filled(lambda: AutoencoderKL(**config), tensors, where, Sentence("autoencoder"))


def _vae_in_diffusers_names(tensors: dict[str, torch.Tensor], config: shapes.Config) -> dict[str, torch.Tensor]:
    """Converted from LDM's; files that have diffusers' may still call attention's parts as its first versions did."""
    if not any(key.startswith(shapes.VAE_OF_DIFFUSERS) for key in tensors):
        converted: dict[str, torch.Tensor] = convert_ldm_vae_checkpoint(tensors, config)
        return converted
    return {FIRST_NAME.sub(lambda found: f".{FIRST_NAMES[found[1]]}", key): value for key, value in tensors.items()}


def noise_config(passport: Passport) -> dict[str, Any]:
    """As a scheduler_config.json would say it."""
    config = {**NOISE, "prediction_type": passport.prediction_type or "epsilon"}
    if passport.zero_snr:
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return config
