"""ControlNets and T2I-Adapters: found by name, loaded for a UNet. Fetches nothing and knows no pictures.

Folders are as diffusers writes them. Of a single file, with diffusers' or Stability's names, only the weights are read:
what the network looks like follows from them and from the UNet that it is for.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import ControlNetModel, T2IAdapter
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

from webui.extension import CheckpointError, UnknownName

SUFFIXES = (".safetensors", ".sft", ".pth", ".pt", ".ckpt", ".bin")
CONFIG = "config.json"

Tensors: TypeAlias = Mapping[str, torch.Tensor]
Network: TypeAlias = Any  # ControlNetModel or T2IAdapter: diffusers is not typed


def find(known: Mapping[str, Path], name: str) -> Path:
    """Of those that Easel's library knows, with or without suffix. Raises `UnknownName`."""
    bare = name[: -len(Path(name).suffix)] if name.endswith(SUFFIXES) else name
    for candidate in (name, bare):
        if candidate in known:
            return known[candidate]
    raise UnknownName("ControlNet", name, known)


def load(path: Path, unet: Any, tensors: Tensors | None, device: torch.device, dtype: torch.dtype) -> Network:
    """The network, for this UNet; `tensors` are those of a single file. Raises `CheckpointError`."""
    try:
        network = _from_folder(path, dtype) if tensors is None else _from_file(tensors, unet, dtype)
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError("it cannot be loaded ({reason}). Copy it again.", reason=reason.rstrip(".")) from error
    _check_fit(network, unet)
    return network.eval().requires_grad_(False).to(device)


def _from_folder(path: Path, dtype: torch.dtype) -> Network:
    kind = json.loads((path / CONFIG).read_text("utf-8")).get("_class_name", "")
    kinds = {"ControlNetModel": ControlNetModel, "T2IAdapter": T2IAdapter}
    if kind not in kinds:
        raise CheckpointError(
            "it is a {kind}; only ControlNetModel and T2IAdapter are possible.", kind=str(kind)[:60] or "?"
        )
    network, found = kinds[kind].from_pretrained(
        path, local_files_only=True, use_safetensors=True, output_loading_info=True, torch_dtype=dtype
    )
    if missing := [*found["missing_keys"], *found["mismatched_keys"]]:
        raise CheckpointError("it lacks {count} of its weights. Copy the whole folder again.", count=len(missing))
    return network


def _check_fit(network: Network, unet: Any) -> None:
    """Raise `CheckpointError` unless what the network adds has the UNet's shapes."""
    is_adapter = isinstance(network, T2IAdapter)
    own = network.config.channels if is_adapter else network.config.block_out_channels
    widths, context = list(unet.config.block_out_channels), unet.config.cross_attention_dim
    if list(own) != widths and not (is_adapter and network.config.adapter_type == "full_adapter_xl"):
        raise CheckpointError(
            "it was made for a UNet of the widths {own}, and this checkpoint's has {widths}.",
            own=str(list(own)),
            widths=str(widths),
        )
    if not is_adapter and _reads_text(network) and network.config.cross_attention_dim != context:
        raise CheckpointError(
            "it was made for a checkpoint that reads texts {own} wide, and this one's are {context} wide.",
            own=int(network.config.cross_attention_dim),
            context=int(context),
        )


def _reads_text(network: Network) -> bool:
    return any("CrossAttn" in kind for kind in (*network.config.down_block_types, network.config.mid_block_type))


# Single files.


def _from_file(tensors: Tensors, unet: Any, dtype: torch.dtype) -> Network:
    tensors = {name.removeprefix("control_model."): tensor for name, tensor in tensors.items()}
    if "input_hint_block.0.weight" in tensors:
        tensors = convert_controlnet_checkpoint(dict(tensors), {"layers_per_block": unet.config.layers_per_block})
    if "controlnet_cond_embedding.conv_in.weight" not in tensors:
        raise CheckpointError(
            "it holds no ControlNet. T2I-Adapters and other kinds are read from folders as diffusers has them."
        )
    with torch.device("meta"):  # its own random weights would only cost time
        network = ControlNetModel.from_config(_config(tensors, unet))
    wanted = network.state_dict()
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    wrong = [name for name, tensor in wanted.items() if name not in given or given[name].shape != tensor.shape]
    if wrong:
        raise CheckpointError(
            "{count} of its weights do not fit this checkpoint's UNet, first {first}: it was made for another family "
            "of models, or the file is damaged.",
            count=len(wrong),
            first=wrong[0][:120],
        )
    network.load_state_dict({name: given[name].to(dtype) for name in wanted}, assign=True)
    return network


def _config(tensors: Tensors, unet: Any) -> dict[str, object]:
    """The UNet's, with the blocks that the file really has: some are without attention in places or everywhere."""
    with torch.device("meta"):
        config = dict(ControlNetModel.from_unet(unet, load_weights_from_unet=False).config)
    hint = "controlnet_cond_embedding"
    blocks = _numbers(tensors, rf"{hint}\.blocks\.(\d+)\.")
    halving = [tensors[f"{hint}.blocks.{number}.weight"].shape[0] for number in blocks if number % 2]
    config["conditioning_embedding_out_channels"] = (tensors[f"{hint}.conv_in.weight"].shape[0], *halving)
    sides = range(len(unet.config.down_block_types))
    depths = [
        len(_numbers(tensors, rf"down_blocks\.{side}\.attentions\.0\.transformer_blocks\.(\d+)\.")) for side in sides
    ]
    config["down_block_types"] = tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths)
    config["transformer_layers_per_block"] = tuple(max(depth, 1) for depth in depths)
    depth = len(_numbers(tensors, r"mid_block\.attentions\.0\.transformer_blocks\.(\d+)\."))
    config["mid_block_type"] = "UNetMidBlock2DCrossAttn" if depth else "UNetMidBlock2D"
    if depth:  # the middle has the depth of the last block, which need not have attention itself
        config["transformer_layers_per_block"] = (*config["transformer_layers_per_block"][:-1], depth)
    return config


def _numbers(tensors: Tensors, pattern: str) -> list[int]:
    return sorted({int(found[1]) for name in tensors if (found := re.match(pattern, name))})
