"""Checkpoints from disk: StableDiffusionPipeline folders, safetensors only, nothing ever fetched.

Whatever is wrong with a file becomes a `CheckpointError` of one sentence that names the part and what to do. Headers
and file sizes were looked at by `webui.library` before; here the contents are.
"""

import logging
from pathlib import Path
from typing import Any

import diffusers.utils.logging
import torch
import transformers.utils.logging
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer

from webui.engine.attention import use_attention
from webui.engine.device import Device
from webui.engine.models import Components
from webui.engine.preview_decoder import read_preview_decoder
from webui.engine.previews import fit_latent_rgb, read_latent_rgb
from webui.engine.sigmas import NoiseTable, noise_table
from webui.engine.text import PromptEncoder
from webui.errors import CheckpointError
from webui.library import Passport, read_json

log = logging.getLogger(__name__)

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
VOCABULARIES = ("tokenizer.json", "vocab.json")


def load_checkpoint(passport: Passport, device: Device, attention: str) -> Components:
    """All parts of a checkpoint on the device, in its precision, ready to draw. Raises `CheckpointError`."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        return _load(passport, device, attention)
    except CheckpointError as error:
        raise CheckpointError(
            "Checkpoint '{name}' cannot be used: {problem}", name=passport.name, problem=error.sentence
        ) from error


def _load(passport: Passport, device: Device, attention: str) -> Components:
    path = passport.path
    table, prediction_type = load_noise_table(path / "scheduler" / "scheduler_config.json")
    tokenizer = load_tokenizer(path / "tokenizer")
    text_encoder = load_network(CLIPTextModel, path / "text_encoder", device, dtype=device.dtype)
    unet = load_network(UNet2DConditionModel, path / "unet", device, torch_dtype=device.dtype)
    vae = load_network(AutoencoderKL, path / "vae", device, torch_dtype=device.dtype)
    _check_fit(tokenizer, text_encoder, unet, vae)
    use_attention(unet, attention)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    channels = int(vae.config.latent_channels)
    latent_rgb = read_latent_rgb(path / "latent_rgb.json", channels) or fit_latent_rgb(vae, channels)
    return Components(
        name=passport.name,
        path=path,
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        prompts=PromptEncoder(tokenizer, text_encoder),
        prediction_type=prediction_type,
        table=table,
        latent_rgb=latent_rgb,
        preview_decoder=read_preview_decoder(path, channels, device.torch_device),
        native_size=passport.native_size,
        factor=factor,
        dtype=device.dtype,
        device=device.torch_device,
    )


def load_noise_table(path: Path) -> tuple[NoiseTable, str]:
    """Noise levels and prediction type that a scheduler_config.json describes. Raises `CheckpointError`."""
    config = read_json(path)
    prediction_type = str(config.get("prediction_type", "epsilon"))
    if prediction_type not in PREDICTION_TYPES:
        raise CheckpointError(
            "{file} names the prediction_type '{found}'; {known} are possible.",
            file=_name(path),
            found=prediction_type[:40],
            known=", ".join(PREDICTION_TYPES),
        )
    betas = {
        key: config[key]
        for key in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
        if config.get(key) is not None
    }
    zero_snr = bool(config.get("rescale_betas_zero_snr", False))
    try:
        scheduler = DDIMScheduler(**betas, rescale_betas_zero_snr=zero_snr)
        return noise_table(config, scheduler.alphas_cumprod), prediction_type
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            "{file} describes no noise schedule ({reason}).", file=_name(path), reason=_first_line(error)
        ) from error


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
            reason=_first_line(error),
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
            "tokenizer/ holds neither {one} nor {other}. Copy the folder again.", one=one, other=other
        )
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers, written in Rust, raises bare Exception for any fault of a file
        raise CheckpointError(
            "tokenizer/ cannot be loaded ({reason}). Copy the folder again.", reason=_first_line(error)
        ) from error


def _check_fit(tokenizer: Any, text_encoder: Any, unet: Any, vae: Any) -> None:  # both libraries are untyped
    """Raise `CheckpointError` unless the parts belong together."""
    pairs = (
        ("text_encoder's hidden_size", text_encoder.config.hidden_size,
         "unet's cross_attention_dim", unet.config.cross_attention_dim),
        ("vae's latent_channels", vae.config.latent_channels, "unet's out_channels", unet.config.out_channels),
    )  # fmt: skip
    for name, value, other_name, other in pairs:
        if value != other:
            raise CheckpointError(
                "{name} is {value} but {other_name} is {other}. Take all parts from one model.",
                name=name,
                value=value,
                other_name=other_name,
                other=other,
            )
    if len(tokenizer) > text_encoder.config.vocab_size:
        raise CheckpointError("tokenizer has more words than text_encoder. Take all parts from one model.")
    tokenizer.model_max_length = min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings)


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__
