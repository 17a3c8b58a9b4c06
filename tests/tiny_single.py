"""Tiny checkpoints twice: as a folder of diffusers, and with latent-diffusion's keys in one file, the same weights.

The folders have the numbers of heads and groups that such files cannot say, and CLIP's own words.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import tiny
from webui.prompt.clip_vocabulary import clip_merges, clip_vocabulary

WORDS = 49408
KINDS = ("sd1", "sd2", "sdxl", "sdxl-refiner", "inpaint", "instruct-pix2pix")
LAYERS = {"sdxl": 2}
"""Residual blocks of a level, where they are not 1."""

Tensors = dict[str, Any]


def build_tiny_pair(folder: Path, kind: str) -> tuple[Path, Path]:
    """(folder/`kind`, folder/`kind`.safetensors), both under 10 MB; `kind` is one of `KINDS`."""
    from safetensors.torch import save_file

    made = folder / kind
    _build_folder(made, kind)
    file = folder / f"{kind}.safetensors"
    save_file({key: tensor.clone().contiguous() for key, tensor in ldm_tensors(made, kind).items()}, file)
    return made, file


def _build_folder(folder: Path, kind: str) -> None:
    is_xl = kind in ("sdxl", "sdxl-refiner")
    has_first, has_second = kind != "sdxl-refiner", is_xl
    parts: dict[str, Any] = {}
    if has_first:
        _write_words(folder / "tokenizer", "!" if kind == "sd2" else tiny.END)
        act = "gelu" if kind == "sd2" else "quick_gelu"
        parts["text_encoder"] = lambda: _text_encoder(hidden_act=act)
    if has_second:
        _write_words(folder / "tokenizer_2", "!")
        parts["text_encoder_2"] = lambda: _text_encoder(
            hidden_act="gelu", hidden_size=24, projection_dim=24, is_big=True
        )
    parts["unet"] = lambda: tiny._unet(**_unet_values(kind))
    parts["vae"] = lambda: tiny._vae(norm_num_groups=8, scaling_factor=0.13025 if is_xl else 0.18215)
    tiny._write_parts(folder, parts, 0)
    tiny._write_scheduler(folder, "epsilon")
    second = ["transformers", "CLIPTextModelWithProjection"] if has_second else [None, None]
    others: dict[str, object] = {"text_encoder_2": second, "force_zeros_for_empty_prompt": True} if is_xl else {}
    if not has_first:
        others["text_encoder"] = [None, None]
    tiny._write_index(folder, "StableDiffusionXLPipeline" if is_xl else "StableDiffusionPipeline", **others)


def _unet_values(kind: str) -> dict[str, Any]:
    usual: dict[str, Any] = {"norm_num_groups": 8, "attention_head_dim": 8, "layers_per_block": LAYERS.get(kind, 1)}
    told = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "use_linear_projection": True}
    return usual | {
        "sd1": {},
        "sd2": {"use_linear_projection": True},
        "sdxl": {
            **told, "transformer_layers_per_block": (1, 2), "cross_attention_dim": 40,
            "projection_class_embeddings_input_dim": 24 + 6 * 8,
        },
        "sdxl-refiner": {
            **told, "transformer_layers_per_block": 2, "cross_attention_dim": 24,
            "projection_class_embeddings_input_dim": 24 + 5 * 8,
        },
        "inpaint": {"in_channels": 9},
        "instruct-pix2pix": {"in_channels": 8},
    }[kind]  # fmt: skip


def _text_encoder(*, is_big: bool = False, **others: Any) -> Any:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    config = tiny._text_config(WORDS, num_attention_heads=1, **others)
    return (CLIPTextModelWithProjection if is_big else CLIPTextModel)(config)


def _write_words(folder: Path, padding: str) -> None:
    merges = clip_merges()
    folder.mkdir(parents=True)
    tiny._write_json(folder / "vocab.json", clip_vocabulary(merges))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n", "utf-8")
    special = {"bos_token": tiny.START, "eos_token": tiny.END, "unk_token": tiny.END, "pad_token": padding}
    tiny._write_json(
        folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    )


# From diffusers' names to latent-diffusion's.


def ldm_tensors(folder: Path, kind: str) -> Tensors:
    """Every weight of the folder under the key that the original code gave it."""
    found = {
        f"model.diffusion_model.{key}": value
        for key, value in unet_to_ldm(_weights(folder / "unet"), LAYERS.get(kind, 1)).items()
    }
    found |= {f"first_stage_model.{key}": value for key, value in vae_to_ldm(_weights(folder / "vae")).items()}
    if kind == "sd2":
        return found | open_clip(_weights(folder / "text_encoder"), "cond_stage_model.model.", spare=True)
    if kind == "sdxl-refiner":
        return found | open_clip(_weights(folder / "text_encoder_2"), "conditioner.embedders.0.model.")
    prefix = "cond_stage_model" if kind != "sdxl" else "conditioner.embedders.0"
    found |= {f"{prefix}.transformer.text_model.{key.removeprefix('text_model.')}": value
              for key, value in _weights(folder / "text_encoder").items()}  # fmt: skip
    if kind == "sdxl":
        found |= open_clip(_weights(folder / "text_encoder_2"), "conditioner.embedders.1.model.")
    return found


def _weights(folder: Path) -> Tensors:
    from safetensors.torch import load_file

    return dict(load_file(next(folder.glob("*.safetensors"))))


RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip


def unet_to_ldm(tensors: Mapping[str, Any], layers: int) -> Tensors:
    """`layers`: residual blocks of a level."""
    return {_unet_key(key, tensors, layers): tensor for key, tensor in tensors.items()}


def _unet_key(key: str, tensors: Mapping[str, Any], layers: int) -> str:
    stem, ending = key.rsplit(".", 1)
    if stem in OUTSIDE:
        return f"{OUTSIDE[stem]}.{ending}"
    block, *rest = key.split(".")
    if block == "mid_block":
        number = {("resnets", "0"): 0, ("attentions", "0"): 1, ("resnets", "1"): 2}[rest[0], rest[1]]
        return f"middle_block.{number}.{_resnet(rest[2:])}"
    level, what, layer = int(rest[0]), rest[1], int(rest[2])
    begin, side = (1, "input_blocks") if block == "down_blocks" else (0, "output_blocks")
    number = begin + level * (layers + 1) + layer
    if what == "downsamplers":
        return f"input_blocks.{number + layers}.0.op.{ending}"
    if what == "upsamplers":
        place = 2 if any(other.startswith(f"up_blocks.{level}.attentions") for other in tensors) else 1
        return f"output_blocks.{number + layers}.{place}.conv.{ending}"
    return f"{side}.{number}.{0 if what == 'resnets' else 1}.{_resnet(rest[3:])}"


def _resnet(rest: list[str]) -> str:
    return ".".join([RESNET.get(rest[0], rest[0]), *rest[1:]])


VAE = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "conv_norm_out": "norm_out",
       "conv_shortcut": "nin_shortcut"}  # fmt: skip


def vae_to_ldm(tensors: Mapping[str, Any]) -> Tensors:
    levels = len({key.split(".")[2] for key in tensors if key.startswith("encoder.down_blocks.")})
    found = {}
    for key, tensor in tensors.items():
        is_attention = ".attentions." in key and tensor.dim() == 2
        found[_vae_key(key, levels)] = tensor[:, :, None, None] if is_attention else tensor
    return found


def _vae_key(key: str, levels: int) -> str:
    key = key.replace("to_out.0", "proj_out").replace("mid_block.attentions.0", "mid.attn_1")
    key = key.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
    pieces = [VAE.get(piece, piece) for piece in key.split(".")]
    if pieces[1] in ("down_blocks", "up_blocks"):
        is_down, level = pieces[1] == "down_blocks", int(pieces[2])
        sampler = "downsample" if is_down else "upsample"
        inner = ["block", *pieces[4:]] if pieces[3] == "resnets" else [sampler, *pieces[5:]]
        pieces = [pieces[0], "down" if is_down else "up", str(level if is_down else levels - 1 - level), *inner]
    return ".".join(pieces)


OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
             "self_attn.out_proj": "attn.out_proj"}  # fmt: skip


def open_clip(tensors: Mapping[str, Any], prefix: str, *, spare: bool = False) -> Tensors:
    """`spare`: with the layer and projection that Stable Diffusion 2's files have and nobody reads."""
    import torch

    body = {key.removeprefix("text_model."): tensor for key, tensor in tensors.items()}
    found = {
        "positional_embedding": body.pop("embeddings.position_embedding.weight"),
        "token_embedding.weight": body.pop("embeddings.token_embedding.weight"),
        "ln_final.weight": body.pop("final_layer_norm.weight"),
        "ln_final.bias": body.pop("final_layer_norm.bias"),
        "logit_scale": torch.tensor(4.6),
    }
    if "text_projection.weight" in body:
        found["text_projection"] = body.pop("text_projection.weight").T
    layers = 1 + max(int(key.split(".")[2]) for key in body)
    for layer in range(layers + spare):
        inside = f"encoder.layers.{min(layer, layers - 1)}."
        mine = {key.removeprefix(inside): tensor for key, tensor in body.items() if key.startswith(inside)}
        for ending in ("weight", "bias"):
            joined = [mine.pop(f"self_attn.{side}_proj.{ending}") for side in "qkv"]
            found[f"transformer.resblocks.{layer}.attn.in_proj_{ending}"] = torch.cat(joined)
        for key, tensor in mine.items():
            stem, ending = key.rsplit(".", 1)
            found[f"transformer.resblocks.{layer}.{OPEN_CLIP[stem]}.{ending}"] = tensor
    if spare:
        found["text_projection"] = torch.eye(len(found["ln_final.weight"]))
    return {prefix + key: tensor for key, tensor in found.items()}
