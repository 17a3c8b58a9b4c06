"""Configurations found from shapes: those of the published models, built without weights, come back as they are."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import nn

from tests.tiny_single import unet_to_ldm, vae_to_ldm
from webui.engine.loading import shapes

pytestmark = pytest.mark.torch

PLAIN, CROSS = "DownBlock2D", "CrossAttnDownBlock2D"
XL = {"use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256}
PUBLISHED: dict[str, tuple[dict[str, Any], tuple[int, int] | None]] = {
    "sd1": ({"cross_attention_dim": 768, "attention_head_dim": 8}, None),
    "sd1 inpainting": ({"cross_attention_dim": 768, "attention_head_dim": 8, "in_channels": 9}, None),
    "sd2": (
        {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}, None,
    ),
    "sdxl": (
        {
            **XL, "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
            "block_out_channels": [320, 640, 1280],
            "down_block_types": [PLAIN, CROSS, CROSS], "transformer_layers_per_block": [1, 2, 10],
            "projection_class_embeddings_input_dim": 2816,
        },
        (1280, 6),
    ),
    "sdxl refiner": (
        {
            **XL, "cross_attention_dim": 1280, "attention_head_dim": [6, 12, 24, 24],
            "block_out_channels": [384, 768, 1536, 1536], "down_block_types": [PLAIN, CROSS, CROSS, PLAIN],
            "transformer_layers_per_block": 4, "projection_class_embeddings_input_dim": 2560,
        },
        (1280, 5),
    ),
}  # fmt: skip


def empty_unet(**config: Any) -> Any:
    """A UNet without memory; the levels upwards mirror those downwards."""
    if "down_block_types" in config and "up_block_types" not in config:
        config["up_block_types"] = [kind.replace("Down", "Up") for kind in reversed(config["down_block_types"])]
    with torch.device("meta"):
        return UNet2DConditionModel(**config)


def described(network: nn.Module) -> Mapping[str, object]:
    """Every weight's shape, every attention's heads and every norm's groups."""
    named = dict(network.named_modules())
    heads = {name: module.heads for name, module in named.items() if isinstance(module, Attention)}
    groups = {f"{name} groups": module.num_groups for name, module in named.items() if isinstance(module, nn.GroupNorm)}
    return heads | groups | {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_denoisers_of_the_families_are_known_from_their_shapes(name: str) -> None:
    config, told = PUBLISHED[name]
    published = empty_unet(**config)
    found = {shapes.UNET + key: tuple(value.shape) for key, value in unet_to_ldm(published.state_dict(), 2).items()}
    assert described(empty_unet(**shapes.unet_config(found, told))) == described(published)


def test_the_familys_autoencoder_is_known_from_its_shapes() -> None:
    widths = [128, 256, 512, 512]
    with torch.device("meta"):
        published = AutoencoderKL(
            block_out_channels=widths, down_block_types=["DownEncoderBlock2D"] * 4, layers_per_block=2,
            up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=4,
        )  # fmt: skip
        found = {key: tuple(value.shape) for key, value in vae_to_ldm(published.state_dict()).items()}
        inferred = AutoencoderKL(**shapes.vae_config(found, 0.18215))
    assert described(inferred) == described(published)
    assert inferred.config.scaling_factor == 0.18215


def text_shapes(width: int, layers: int, *, is_open: bool) -> dict[str, tuple[int, ...]]:
    if is_open:
        inside = {f"transformer.resblocks.{layer}.mlp.c_fc.weight": (4 * width, width) for layer in range(layers)}
        outside = {"token_embedding.weight": (49408, width), "positional_embedding": (77, width)}
        return {**inside, **outside, "text_projection": (width, width)}
    inside = {f"text_model.encoder.layers.{layer}.mlp.fc1.weight": (4 * width, width) for layer in range(layers)}
    return inside | {
        "text_model.embeddings.token_embedding.weight": (49408, width),
        "text_model.embeddings.position_embedding.weight": (77, width),
    }


@pytest.mark.parametrize(
    ("width", "layers", "heads", "is_open"), [(768, 12, 12, False), (1024, 24, 16, True), (1280, 32, 20, True)]
)
def test_the_families_text_encoders_are_known_from_their_shapes(
    width: int, layers: int, heads: int, is_open: bool
) -> None:
    find = shapes.open_clip_config if is_open else shapes.clip_config
    config = find({f"x.{key}": shape for key, shape in text_shapes(width, layers, is_open=is_open).items()}, "x.")
    assert (config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]) == (width, layers, heads)
    assert (config["intermediate_size"], config["max_position_embeddings"]) == (4 * width, 77)
    assert (config["vocab_size"], config["eos_token_id"]) == (49408, 49407)
    assert config["hidden_act"] == ("gelu" if is_open else "quick_gelu")
