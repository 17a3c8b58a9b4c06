"""Tiny real upscaler files for tests: ESRGAN and Compact networks, under the names that others gave their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from webui.engine.upscaling.esrgan import RrdbNet

LAYOUTS = ("old", "esrgan", "basicsr")
"""In which the weights of ESRGAN networks are found."""


def build_tiny_rrdb(
    path: Path,
    *,
    doublings: int = 2,
    unshuffle: int = 1,
    layout: str = "basicsr",
    wrapping: str = "",
    growth: int = 4,
    seed: int = 0,
) -> Path:
    """An ESRGAN file of 20 kB with random weights; the suffix of `path` says whether as safetensors or pickle.

    What it makes resembles nearest neighbours, as that of a trained network does.
    """
    import torch

    from webui.engine.upscaling.esrgan import RrdbNet, RrdbShape

    torch.manual_seed(seed)
    shape = RrdbShape(colours=3, features=8, growth=growth, blocks=2, doublings=doublings, unshuffle=unshuffle)
    network = RrdbNet(shape)
    _pass_colours_on(network, unshuffle)
    names = {ours: theirs for theirs, ours in _names(layout, shape.blocks, doublings).items()}
    weights = network.state_dict().items()
    tensors = {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": tensor for key, tensor in weights}
    return _save(path, tensors, wrapping)


def build_tiny_compact(path: Path, *, scale: int = 2, wrapping: str = "", seed: int = 0) -> Path:
    """A Compact file with random weights."""
    import torch

    from webui.engine.upscaling.compact import CompactNet, CompactShape

    torch.manual_seed(seed)
    network = CompactNet(CompactShape(colours=3, features=8, convolutions=2, scale=scale))
    return _save(path, network.state_dict(), wrapping)


def _pass_colours_on(network: "RrdbNet", unshuffle: int) -> None:
    """Let the first three features carry the colours from end to end beside what the random weights add."""
    import torch

    with torch.no_grad():
        _carry(network.first.weight, unshuffle**2)
        for layer in (network.fine, network.last, *network.doublings):
            _carry(layer.get_parameter("weight"), 1)
        for name, values in network.named_parameters():
            if name.endswith("bias"):
                values.mul_(0.1)
        network.trunk.weight.mul_(0.5)


def _carry(weight: "torch.Tensor", inputs: int) -> None:
    weight.mul_(0.1)
    for colour in range(3):
        weight[colour, :] *= 0.1
        weight[colour, colour * inputs, 1, 1] += 1.0


def _names(layout: str, blocks: int, doublings: int) -> Mapping[str, str]:
    """Layer as the layout calls it -> ours."""
    block, dense, end = {"old": ("model.1.sub", "RDB", ".0"), "esrgan": ("RRDB_trunk", "RDB", ""),
                         "basicsr": ("body", "rdb", "")}[layout]  # fmt: skip
    names = {
        f"{block}.{b}.{dense}{d + 1}.conv{c + 1}{end}": f"body.{b}.blocks.{d}.convolutions.{c}"
        for b in range(blocks)
        for d in range(3)
        for c in range(5)
    }
    if layout == "old":
        tail = 2 + 3 * doublings
        names |= {f"model.{3 * n + 3}": f"doublings.{n}" for n in range(doublings)}
        return names | {
            "model.0": "first", f"model.1.sub.{blocks}": "trunk", f"model.{tail}": "fine", f"model.{tail + 2}": "last"
        }  # fmt: skip
    single = {"esrgan": ("conv_first", "trunk_conv", "HRconv", "conv_last", "upconv"),
              "basicsr": ("conv_first", "conv_body", "conv_hr", "conv_last", "conv_up")}[layout]  # fmt: skip
    names |= dict(zip(single[:4], ("first", "trunk", "fine", "last"), strict=True))
    return names | {f"{single[4]}{n + 1}": f"doublings.{n}" for n in range(doublings)}


def _save(path: Path, tensors: Mapping[str, "torch.Tensor"], wrapping: str) -> Path:
    import torch
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(contiguous, path)
    else:
        torch.save({wrapping: contiguous} if wrapping else contiguous, path)
    return path
