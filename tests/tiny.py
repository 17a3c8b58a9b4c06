"""Tiny real checkpoints for tests: diffusers' and transformers' own classes at toy size, made offline in a second."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = ("t h", "th e</w>", "a n", "an d</w>", "i n", "r e", "re d</w>", "c a", "ca t</w>", "d o", "do g</w>")
"""A few words are one token, everything else goes byte by byte."""
NATIVE_SIZE = 64


def build_tiny_checkpoint(
    folder: Path, *, prediction_type: str = "epsilon", image_channels: int = 0, seed: int = 0
) -> Path:
    """A complete StableDiffusionPipeline folder under 2 MB with random weights, native size 64 px; returns `folder`.

    `prediction_type` is "epsilon", "v_prediction" or "sample"; `image_channels` are seen beside the latents, 5 by an
    inpainting checkpoint, 4 by an instruct-pix2pix one. Same arguments, same weights.
    """
    vocabulary = _write_tokenizer(folder / "tokenizer")
    parts = {
        "text_encoder": lambda: _text_encoder(vocabulary),
        "unet": lambda: _unet(in_channels=4 + image_channels),
        "vae": _vae,
    }
    _write_parts(folder, parts, seed)
    _write_scheduler(folder, prediction_type)
    _write_index(folder, "StableDiffusionPipeline")
    return folder


def build_tiny_sd2(folder: Path, *, seed: int = 0) -> Path:
    """As `build_tiny_checkpoint`, shaped as Stable Diffusion 2.1: v-prediction, OpenCLIP's text encoder as transformers
    has it (GELU, padding "!"), linear projections in the attention."""
    vocabulary = _write_tokenizer(folder / "tokenizer", padding="!")
    parts = {
        "text_encoder": lambda: _text_encoder(vocabulary, hidden_act="gelu", pad_token_id=33),
        "unet": lambda: _unet(use_linear_projection=True, attention_head_dim=(2, 4)),
        "vae": _vae,
    }
    _write_parts(folder, parts, seed)
    _write_scheduler(folder, "v_prediction")
    _write_index(folder, "StableDiffusionPipeline")
    return folder


def build_tiny_sdxl(folder: Path, *, seed: int = 0) -> Path:
    """As `build_tiny_checkpoint`, shaped as Stable Diffusion XL: two text encoders, pooled text and sizes beside the
    timestep, several transformer layers per block."""
    from transformers import CLIPTextModelWithProjection

    vocabulary = _write_tokenizer(folder / "tokenizer")
    _write_tokenizer(folder / "tokenizer_2", padding="!")
    second: dict[str, Any] = {"hidden_size": 24, "hidden_act": "gelu", "projection_dim": 24, "pad_token_id": 33}
    parts = {
        "text_encoder": lambda: _text_encoder(vocabulary),
        "text_encoder_2": lambda: CLIPTextModelWithProjection(_text_config(vocabulary, **second)),
        "unet": lambda: _unet(
            layers_per_block=2, transformer_layers_per_block=(1, 2), use_linear_projection=True,
            attention_head_dim=(2, 4), cross_attention_dim=16 + 24,
            addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24 + 6 * 8,
        ),
        "vae": _vae,
    }  # fmt: skip
    _write_parts(folder, parts, seed)
    _write_scheduler(folder, "epsilon")
    _write_index(
        folder,
        "StableDiffusionXLPipeline",
        text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
        tokenizer_2=["transformers", "CLIPTokenizer"],
        force_zeros_for_empty_prompt=True,
    )
    return folder


def build_tiny_refiner(folder: Path, *, seed: int = 0) -> Path:
    """As `build_tiny_sdxl`, shaped as its refiner: one text encoder, a score among the sizes."""
    from transformers import CLIPTextModelWithProjection

    vocabulary = _write_tokenizer(folder / "tokenizer_2", padding="!")
    second: dict[str, Any] = {"hidden_size": 24, "hidden_act": "gelu", "projection_dim": 24, "pad_token_id": 33}
    parts = {
        "text_encoder_2": lambda: CLIPTextModelWithProjection(_text_config(vocabulary, **second)),
        "unet": lambda: _unet(
            transformer_layers_per_block=2, use_linear_projection=True, attention_head_dim=(2, 4),
            cross_attention_dim=24, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24 + 5 * 8,
        ),
        "vae": _vae,
    }  # fmt: skip
    _write_parts(folder, parts, seed)
    _write_scheduler(folder, "epsilon")
    _write_index(
        folder,
        "StableDiffusionXLImg2ImgPipeline",
        text_encoder=[None, None],
        tokenizer=[None, None],
        text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
        tokenizer_2=["transformers", "CLIPTokenizer"],
        force_zeros_for_empty_prompt=False,
        requires_aesthetics_score=True,
    )
    return folder


def _write_parts(folder: Path, parts: Mapping[str, Callable[[], Any]], seed: int) -> None:
    """Make each part with random weights of that seed, in order, and save it."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = {name: make() for name, make in parts.items()}
    for name, part in made.items():
        part.save_pretrained(folder / name, safe_serialization=True)


def _write_scheduler(folder: Path, prediction_type: str) -> None:
    from diffusers import DDIMScheduler

    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, timestep_spacing="leading", prediction_type=prediction_type,
    ).save_pretrained(folder / "scheduler")  # fmt: skip


def _write_index(folder: Path, pipeline: str, **others: object) -> None:
    index: dict[str, object] = {
        "_class_name": pipeline,
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    if pipeline == "StableDiffusionPipeline":
        index |= {"requires_safety_checker": False, "safety_checker": [None, None]}
    _write_json(folder / "model_index.json", {**index, **others})


def _write_tokenizer(folder: Path, padding: str = END) -> int:
    """CLIP's file format: 256 bytes, 256 word-final bytes, merges, start, end. Returns the number of tokens."""
    alphabet = _byte_letters()
    merged = ("".join(pair.split()) for pair in MERGES)
    names = [*alphabet, *(letter + "</w>" for letter in alphabet), *merged, START, END]
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "vocab.json", {name: number for number, name in enumerate(names)})
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n", "utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": padding}
    _write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **special},
    )
    return len(names)


def _byte_letters() -> list[str]:
    """GPT-2's printable letter for every byte, which CLIP's vocabulary files use."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def _text_config(vocabulary: int, **others: Any) -> Any:
    from transformers import CLIPTextConfig

    usual: dict[str, Any] = {
        "vocab_size": vocabulary, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 77, "projection_dim": 16, "initializer_factor": 5.0,
        "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1,
    }  # fmt: skip
    return CLIPTextConfig(**(usual | others))


def _text_encoder(vocabulary: int, **others: Any) -> Any:
    from transformers import CLIPTextModel

    return CLIPTextModel(_text_config(vocabulary, **others))


def _unet(**others: Any) -> Any:
    from diffusers import UNet2DConditionModel

    usual: dict[str, Any] = {
        "sample_size": NATIVE_SIZE // 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1,
        "block_out_channels": (8, 16), "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 16, "attention_head_dim": 2,
        "norm_num_groups": 4,
    }  # fmt: skip
    return UNet2DConditionModel(**(usual | others))


def _vae(**others: Any) -> Any:
    from diffusers import AutoencoderKL

    usual: dict[str, Any] = {
        "block_out_channels": (8, 8, 8, 8), "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 4,
        "sample_size": NATIVE_SIZE,
    }  # fmt: skip
    return AutoencoderKL(**(usual | others))


def _write_json(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", "utf-8")
