"""Keys of diffusers' networks as latent-diffusion ("LDM") calls them: the way back from what `loading` does.

Names follow from names alone; where one of LDM's tensors is several of diffusers' (OpenCLIP's attention) or has another
shape (the autoencoder's attention), the entry puts it right when it is read.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import torch

from webui.engine.forge.plans import Entry
from webui.engine.forge.sources import Spec
from webui.engine.loading.single_file import FIRST_NAME, FIRST_NAMES

Entries = Mapping[str, Entry]

UNET_ENDS = {
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
"""Layers outside of all blocks."""
RESIDUAL = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
VAE_NAMES = {
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut", "to_out.0": "proj_out",
}  # fmt: skip
OPEN_CLIP_NAMES = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip
OPEN_CLIP_ENDS = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def unet_keys(keys: Sequence[str]) -> dict[str, str]:
    """Key of diffusers' UNet -> LDM's, without its prefix. Raises `KeyError` for one that LDM has no place for."""
    layers = len({key.split(".")[3] for key in keys if key.startswith("down_blocks.0.resnets.")})
    attentive = {key.split(".")[1] for key in keys if key.startswith("up_blocks.") and ".attentions." in key}
    return {key: _unet_key(key, layers, attentive) for key in keys}


def _unet_key(key: str, layers: int, attentive: set[str]) -> str:
    """`layers`: residual blocks of a level; `attentive`: numbers of the upper levels that have attention."""
    place, _, ending = key.rpartition(".")
    if place in UNET_ENDS:
        return f"{UNET_ENDS[place]}.{ending}"
    side, *rest = key.split(".")
    if side == "mid_block":
        number = {"resnets.0": 0, "attentions.0": 1, "resnets.1": 2}[".".join(rest[:2])]
        return f"middle_block.{number}.{_inside(rest[2:])}"
    level, sort, layer = int(rest[0]), rest[1], int(rest[2])
    number = level * (layers + 1) + layer + (side == "down_blocks")
    name = {"down_blocks": "input_blocks", "up_blocks": "output_blocks"}[side]
    if sort == "downsamplers":
        return f"{name}.{number + layers}.0.op.{ending}"
    if sort == "upsamplers":
        return f"{name}.{number + layers}.{2 if rest[0] in attentive else 1}.conv.{ending}"
    return f"{name}.{number}.{'01'[sort == 'attentions']}.{_inside(rest[3:])}"


def _inside(rest: Sequence[str]) -> str:
    return ".".join((RESIDUAL.get(rest[0], rest[0]), *rest[1:]))


def vae_entries(entries: Entries) -> dict[str, Entry]:
    """An autoencoder's tensors under LDM's keys, without its prefix; one that has them already stays as it is."""
    if not any(key.startswith("encoder.down_blocks.") for key in entries):
        return dict(entries)
    current = {FIRST_NAME.sub(lambda found: f".{FIRST_NAMES[found[1]]}", key): entry for key, entry in entries.items()}
    levels = len({key.split(".")[2] for key in current if key.startswith("encoder.down_blocks.")})
    return {_vae_key(key, levels): _as_convolution(key, entry) for key, entry in current.items()}


def _vae_key(key: str, levels: int) -> str:
    key = re.sub(r"mid_block\.attentions\.0", "mid.attn_1", key)
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", key)
    key = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
    # LDM counts upper levels from the widest picture, diffusers from the smallest.
    key = re.sub(r"up_blocks\.(\d+)\.resnets", lambda found: f"up.{levels - 1 - int(found[1])}.block", key)
    key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda found: f"up.{levels - 1 - int(found[1])}.upsample", key)
    for ours, theirs in VAE_NAMES.items():
        key = key.replace(f".{ours}.", f".{theirs}.")
    return key


def _as_convolution(key: str, entry: Entry) -> Entry:
    """The attention's projections, which LDM has as convolutions of one pixel."""
    if ".attentions." not in key or len(entry.spec.shape) != 2:
        return entry
    return Entry(Spec((*entry.spec.shape, 1, 1), entry.spec.dtype), lambda: entry.make()[:, :, None, None])


def clip_entries(entries: Entries) -> dict[str, Entry]:
    """CLIP's own keys, which LDM keeps."""
    return {f"text_model.{key.removeprefix('text_model.')}": entry for key, entry in entries.items()}


def open_clip_entries(entries: Entries, *, spare: bool) -> dict[str, Entry]:
    """A text encoder under OpenCLIP's keys. `spare`: the last layer once more, as Stable Diffusion 2 reads the layer
    before the last and diffusers leaves the last away."""
    body = {key.removeprefix("text_model."): entry for key, entry in entries.items()}
    body = {key: entry for key, entry in body.items() if not key.endswith("position_ids")}
    found = {OPEN_CLIP_ENDS[key]: entry for key, entry in body.items() if key in OPEN_CLIP_ENDS}
    if (projection := body.get("text_projection.weight")) is not None:
        shape = projection.spec.shape[::-1]
        found["text_projection"] = Entry(Spec(shape, projection.spec.dtype), lambda: projection.make().T)
    layers = 1 + max(int(key.split(".")[2]) for key in body if key.startswith("encoder.layers."))
    for layer in range(layers + spare):
        inside = f"encoder.layers.{min(layer, layers - 1)}."
        mine = {key.removeprefix(inside): entry for key, entry in body.items() if key.startswith(inside)}
        found |= {f"transformer.resblocks.{layer}.{key}": entry for key, entry in _open_clip_layer(mine)}
    return found


def _open_clip_layer(layer: Entries) -> Iterator[tuple[str, Entry]]:
    for ending in ("weight", "bias"):
        sides = [layer[f"self_attn.{side}_proj.{ending}"] for side in "qkv"]
        yield f"attn.in_proj_{ending}", _joined(sides)
    for key, entry in layer.items():
        place, _, ending = key.rpartition(".")
        if place in OPEN_CLIP_NAMES:
            yield f"{OPEN_CLIP_NAMES[place]}.{ending}", entry


def _joined(entries: Sequence[Entry]) -> Entry:
    first = entries[0].spec
    shape = (sum(entry.spec.shape[0] for entry in entries), *first.shape[1:])
    return Entry(Spec(shape, first.dtype), lambda: torch.cat([entry.make() for entry in entries]))
