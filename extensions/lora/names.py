"""What files of every kind call the layers of a checkpoint: kohya's, diffusers', PEFT's and Stability's own names.

Names only: what a file holds under them is read in `files`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

UNET = "unet"
TEXT_ENCODERS = ("text_encoder", "text_encoder_2")


@dataclass(frozen=True, order=True)
class Place:
    """A layer of a checkpoint."""

    part: str
    """"unet", "text_encoder" or "text_encoder_2"."""
    layer: str
    """Its name in the module, as diffusers and transformers have it."""


def places(layers: Mapping[str, Iterable[str]], layers_per_block: int) -> dict[str, Place]:
    """Every name that a file may have for a layer -> the layer. `layers` are the modules' names by part."""
    found: dict[str, Place] = {}
    for part, names in layers.items():
        for name in names:
            place = Place(part, name)
            aliases = _of_unet(name, layers_per_block) if part == UNET else _of_text_encoder(name, part)
            for alias in aliases:
                found.setdefault(alias, place)
    return found


def _of_unet(name: str, layers_per_block: int) -> Iterator[str]:
    original = original_name(name, layers_per_block)
    for each in (name, original):
        yield f"lora_unet_{_flat(each)}"
        yield f"lycoris_{_flat(each)}"
    yield from (name, f"unet.{name}", f"base_model.model.{name}", f"unet.base_model.model.{name}")
    yield from (f"diffusion_model.{original}", f"model.diffusion_model.{original}")


def _of_text_encoder(name: str, part: str) -> Iterator[str]:
    short = name.removeprefix("text_model.")  # a level that transformers 5 left out and files still have
    full = f"text_model.{short}"
    prefixes = ("lora_te", "lora_te1") if part == TEXT_ENCODERS[0] else ("lora_te2",)
    yield from (f"{prefix}_{_flat(full)}" for prefix in prefixes)
    for each in (full, short):
        yield from (f"{part}.{each}", f"{part}.base_model.model.{each}")
    if part == TEXT_ENCODERS[0]:
        yield f"base_model.model.{full}"


def _flat(name: str) -> str:
    return name.replace(".", "_")


BLOCK = re.compile(
    r"(?:(?P<side>down|up)_blocks\.(?P<block>\d+)|mid_block)"
    r"\.(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<number>\d+)\.(?P<rest>.+)"
)
IN_RESNETS = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
OUTSIDE = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2", "conv_norm_out": "out.0",
    "conv_out": "out.2",
}  # fmt: skip
"""Layers that are in no block."""


def original_name(name: str, layers_per_block: int) -> str:
    """A layer of diffusers' UNet as Stability's code calls it; what is not there comes back unchanged.

    There all blocks of a side are in one list. Each side's block holds `layers_per_block` of them: one more on the way
    up, and on the way down the resampling is one of its own.
    """
    found = BLOCK.fullmatch(name)
    if found is None:
        return OUTSIDE.get(name, name)
    side, kind, number, rest = found["side"], found["kind"], int(found["number"]), found["rest"]
    if kind == "resnets":
        rest = IN_RESNETS.get(rest, rest)
    if side is None:
        return f"middle_block.{number * 2 if kind == 'resnets' else 1}.{rest}"
    within = number if kind in ("resnets", "attentions") else layers_per_block
    index = int(found["block"]) * (layers_per_block + 1) + within
    if side == "down":
        place = 1 if kind == "attentions" else 0
        return f"input_blocks.{index + 1}.{place}.{'op' if kind == 'downsamplers' else rest}"
    return f"output_blocks.{index}.{_place_up(kind)}.{rest}"


def _place_up(kind: str) -> str:
    return {"resnets": "0", "attentions": "1", "upsamplers": "2"}[kind]
