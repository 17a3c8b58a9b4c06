"""Checkpoints from disk to networks on the device, ready to draw: folders and single files, nothing ever fetched.

Owns how parts are put together and whether they fit; how they are read is known to `folder` and `single_file`.
"""

import dataclasses
from pathlib import Path
from typing import Any

import diffusers.utils.logging
import transformers.utils.logging

from webui.engine.attention import use_attention
from webui.engine.class_prompts import ClassPrompts
from webui.engine.device import Device
from webui.engine.embeddings import EmbeddingShelf
from webui.engine.loading.folder import load_vae_folder, read_folder
from webui.engine.loading.parts import Parts
from webui.engine.loading.single_file import read_single_file, read_vae_file
from webui.engine.models import Components
from webui.engine.preview_decoder import read_preview_decoder
from webui.engine.previews import MeasuredRgb, read_latent_rgb
from webui.engine.text import PromptEncoder, PromptReader, Tower
from webui.engine.vae import latent_channels
from webui.errors import CheckpointError
from webui.library import Passport


def load_checkpoint(
    passport: Passport, device: Device, attention: str, embeddings: EmbeddingShelf | None = None
) -> Components:
    """All parts of a checkpoint on the device, in its precision, ready to draw. Raises `CheckpointError`.

    Prompts may name the `embeddings` that fit to it.
    """
    _quieten()
    try:
        parts = read_single_file(passport, device) if passport.layout == "file" else read_folder(passport, device)
        _check_fit(parts)
        return _assembled(passport, parts, device, attention, embeddings)
    except CheckpointError as error:
        raise CheckpointError(
            "Checkpoint '{name}' cannot be used: {problem}", name=passport.name, problem=error.sentence
        ) from error


def load_vae(path: Path, device: Device, *, is_xl: bool = False) -> Any:  # AutoencoderKL; diffusers is not typed
    """An autoencoder from a folder of diffusers or a single file. Raises `CheckpointError`.

    A file does not say by what its latents are scaled nor whose it is; `with_vae` takes that from the checkpoint.
    """
    _quieten()
    try:
        return (load_vae_folder if path.is_dir() else read_vae_file)(path, device, is_xl=is_xl)
    except CheckpointError as error:
        raise CheckpointError(
            "VAE '{name}' cannot be used: {problem}", name=path.name, problem=error.sentence
        ) from error


def with_vae(components: Components, path: Path, device: Device) -> Components:
    """The checkpoint with the autoencoder at `path`, everything else shared. Raises `CheckpointError`.

    A single file has no configuration: the checkpoint's own scale of latents holds.
    """
    vae = load_vae(path, device, is_xl=components.is_xl)
    channels = latent_channels(vae)
    if channels != components.latent_channels:
        raise CheckpointError(
            "The VAE's latents have {found} channels and those of checkpoint '{name}' {expected}. Choose another VAE.",
            found=channels, name=components.name, expected=components.latent_channels,
        )  # fmt: skip
    if path.is_file():
        vae.register_to_config(scaling_factor=components.vae.config.scaling_factor)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    latent_rgb = MeasuredRgb(vae, channels)
    return dataclasses.replace(components, vae=vae, latent_rgb=latent_rgb, preview_decoder=None, factor=factor)


def _quieten() -> None:
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _assembled(
    passport: Passport, parts: Parts, device: Device, attention: str, embeddings: EmbeddingShelf | None
) -> Components:
    is_xl = parts.unet.config.addition_embed_type == "text_time"
    use_attention(parts.unet, attention)
    channels = latent_channels(parts.vae)
    colours = passport.path / "latent_rgb.json"
    latent_rgb = read_latent_rgb(colours, channels) if passport.layout == "folder" else None
    prompts: PromptReader
    if parts.embedder is not None:
        prompts = ClassPrompts(parts.embedder, parts.classes)
    else:
        prompts = PromptEncoder(parts.towers, is_xl=is_xl, zeroes_empty=parts.zeroes_empty, embeddings=embeddings)
    return Components(
        name=passport.name,
        path=passport.path,
        unet=parts.unet,
        vae=parts.vae,
        towers=parts.towers,
        prompts=prompts,
        prediction_type=parts.prediction_type,
        table=dataclasses.replace(parts.table, is_sdxl=is_xl),
        latent_rgb=latent_rgb or MeasuredRgb(parts.vae, channels),
        preview_decoder=read_preview_decoder(passport.path, channels, device.torch_device),
        native_size=passport.native_size,
        factor=2 ** (len(parts.vae.config.block_out_channels) - 1),
        dtype=device.dtype,
        device=device.torch_device,
    )


def _check_fit(parts: Parts) -> None:
    """Raise `CheckpointError` unless the parts belong together."""
    unet, latents = parts.unet.config, latent_channels(parts.vae)
    pairs = (
        ("text_encoder's hidden_size", parts.features, "unet's cross_attention_dim", unet.cross_attention_dim),
        ("vae's latent_channels", latents, "unet's out_channels", unet.out_channels),
    )
    for name, value, other_name, other in pairs:
        if value != other:
            raise CheckpointError(
                "{name} is {value} but {other_name} is {other}. Take all parts from one model.",
                name=name,
                value=value,
                other_name=other_name,
                other=other,
            )
    if unet.in_channels < latents:
        raise CheckpointError(
            "{name} is {value} but {other_name} is {other}. Take all parts from one model.",
            name="vae's latent_channels",
            value=latents,
            other_name="unet's in_channels",
            other=unet.in_channels,
        )
    for tower in parts.towers:
        _check_words(tower)


def _check_words(tower: Tower) -> None:
    tokenizer, config = tower.tokenizer, tower.encoder.config
    if len(tokenizer) > config.vocab_size:
        raise CheckpointError("tokenizer has more words than text_encoder. Take all parts from one model.")
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings)
