"""The configuration of each network of a single file, found from the shapes of its tensors alone.

Such files have the keys of Rombach et al.'s own code (latent-diffusion, "LDM") and no configuration. Widths, levels and
layers stand in the shapes; the number of attention heads does not and follows from the habits of the families.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from webui.engine.loading.weights import Shapes
from webui.errors import CheckpointError

UNET = "model.diffusion_model."
VAE_PREFIXES = ("first_stage_model.", "vae.")
VAE_OF_DIFFUSERS = "encoder.down_blocks."
"""Stands in the keys of an autoencoder alone in a file that has diffusers' names."""
CLIP_SD = "cond_stage_model.transformer."
OPEN_CLIP_SD = "cond_stage_model.model."
CLIP_XL = "conditioner.embedders.0.transformer."
OPEN_CLIP_XL = "conditioner.embedders.1.model."
OPEN_CLIP_REFINER = "conditioner.embedders.0.model."

HEADS = 8
"""Of Stable Diffusion 1, whatever the width."""
HEAD_WIDTH = 64
"""Of Stable Diffusion 2, SDXL and all CLIP text encoders."""
GROUPS = 32
"""Of every group norm of the big models; small ones have the largest number that divides their widths."""
Config = dict[str, Any]


def unet_config(shapes: Shapes, told: tuple[int, int] | None = None) -> Config:
    """Arguments of diffusers' UNet2DConditionModel. Raises `CheckpointError` for another kind of denoiser.

    `told`: for SDXL, the features of the whole text's vector, and how many numbers it is told of a picture.
    """
    unet = {key.removeprefix(UNET): shape for key, shape in shapes.items() if key.startswith(UNET)}
    try:
        return {**_unet_config(unet), **_told(unet, told)}
    except (LookupError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            "its denoiser is of a kind that Easel does not know ({reason}).", reason=str(error)
        ) from None


def _unet_config(unet: Shapes) -> Config:
    levels = list(_levels(unet))
    widths = [unet[f"input_blocks.{level[0]}.0.out_layers.3.weight"][0] for level in levels]
    layers = {len(level) for level in levels}
    if len(layers) != 1:
        raise ValueError("its levels have different numbers of layers")
    depths = [_depth(unet, f"input_blocks.{level[0]}.1.") for level in levels]
    names = [key for key in unet if key.endswith("attn2.to_k.weight")]
    is_linear = any(len(shape) == 2 for key, shape in unet.items() if key.endswith("proj_in.weight"))
    has_heads_of_one_width = is_linear and all(width % HEAD_WIDTH == 0 for width in widths)
    # The middle has as many layers as the last level says, which is free to say where it has none itself.
    transformer_layers = [depth or 1 for depth in depths[:-1]] + [_depth(unet, "middle_block.1.")]
    return {
        "in_channels": unet["input_blocks.0.0.weight"][1],
        "out_channels": unet["out.2.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": layers.pop(),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": transformer_layers,
        "cross_attention_dim": unet[names[0]][1],
        "use_linear_projection": is_linear,
        "attention_head_dim": [width // HEAD_WIDTH for width in widths] if has_heads_of_one_width else HEADS,
        "norm_num_groups": _groups(widths),
    }


def _levels(unet: Shapes) -> Iterator[list[int]]:
    """The numbers of the residual blocks of each level, from the widest picture down."""
    count = len({key.split(".")[1] for key in unet if key.startswith("input_blocks.")})
    level: list[int] = []
    for number in range(1, count):
        if f"input_blocks.{number}.0.op.weight" in unet:
            yield level
            level = []
        else:
            level.append(number)
    yield level


def _depth(unet: Shapes, prefix: str) -> int:
    """Transformer layers at a place; 0 without attention."""
    found = {re.match(r"transformer_blocks\.(\d+)", key.removeprefix(prefix)) for key in unet if key.startswith(prefix)}
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _told(unet: Shapes, told: tuple[int, int] | None) -> Config:
    """How SDXL is given the whole text's vector and some numbers, side by side."""
    if ("label_emb.0.0.weight" in unet) != (told is not None):
        raise ValueError("it is given other things beside text")
    if told is None:
        return {}
    features = unet["label_emb.0.0.weight"][1]
    pooled, numbers = told
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": (features - pooled) // numbers,
        "projection_class_embeddings_input_dim": features,
    }


def vae_config(shapes: Shapes, scaling_factor: float) -> Config:
    """Arguments of diffusers' AutoencoderKL, from a whole model's keys or those of a file with nothing else."""
    vae = {_without_vae_prefix(key): shape for key, shape in shapes.items()}
    is_converted = any(key.startswith(VAE_OF_DIFFUSERS) for key in vae)
    down, block = (VAE_OF_DIFFUSERS, "resnets") if is_converted else ("encoder.down.", "block")
    try:
        levels = 1 + max(int(key.split(".")[2]) for key in vae if key.startswith(down))
        widths = [vae[f"{down}{level}.{block}.0.conv2.weight"][0] for level in range(levels)]
        return {
            "in_channels": vae["encoder.conv_in.weight"][1],
            "out_channels": vae["decoder.conv_out.weight"][0],
            "latent_channels": vae["decoder.conv_in.weight"][1],
            "block_out_channels": widths,
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "layers_per_block": len({key.split(".")[4] for key in vae if key.startswith(f"{down}0.{block}.")}),
            "norm_num_groups": _groups(widths),
            "scaling_factor": scaling_factor,
            "use_quant_conv": "quant_conv.weight" in vae,
            "use_post_quant_conv": "post_quant_conv.weight" in vae,
        }
    except (LookupError, ValueError) as error:
        raise CheckpointError("it holds no autoencoder that Easel knows ({reason}).", reason=str(error)) from None


def _without_vae_prefix(key: str) -> str:
    for prefix in VAE_PREFIXES:
        key = key.removeprefix(prefix)
    return key


def clip_config(shapes: Shapes, prefix: str) -> Config:
    """Arguments of transformers' CLIPTextConfig for a text encoder in CLIP's own keys."""
    body = {key.removeprefix(prefix).removeprefix("text_model."): shape for key, shape in shapes.items()
            if key.startswith(prefix)}  # fmt: skip
    words, width = _found(body, "embeddings.token_embedding.weight")
    return {
        **_text_config(words, width, _count(body, "encoder.layers.")),
        "intermediate_size": _found(body, "encoder.layers.0.mlp.fc1.weight")[0],
        "max_position_embeddings": _found(body, "embeddings.position_embedding.weight")[0],
        "hidden_act": "quick_gelu",
    }


def open_clip_config(shapes: Shapes, prefix: str) -> Config:
    """The same for one in OpenCLIP's keys."""
    body = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
    words, width = _found(body, "token_embedding.weight")
    return {
        **_text_config(words, width, _count(body, "transformer.resblocks.")),
        "intermediate_size": _found(body, "transformer.resblocks.0.mlp.c_fc.weight")[0],
        "max_position_embeddings": _found(body, "positional_embedding")[0],
        "projection_dim": body.get("text_projection", (width, width))[1],
        "hidden_act": "gelu",
    }


def _text_config(words: int, width: int, layers: int) -> Config:
    # CLIP's end mark is its last word, so that the end of a text is where its highest id stands.
    marks = {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    heads = max(1, width // HEAD_WIDTH)
    return {
        "vocab_size": words,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        **marks,
    }


def _count(body: Mapping[str, object], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in body if key.startswith(prefix)})


def _found(body: Shapes, key: str) -> tuple[int, ...]:
    if key not in body:
        raise CheckpointError("its text encoder lacks {key}. Download the whole file again.", key=key)
    return body[key]


def _groups(widths: list[int]) -> int:
    return math.gcd(GROUPS, *widths)
