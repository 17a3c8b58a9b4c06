"""The ESRGAN family: RRDBNet, and the three ways in which its files name the same weights.

Wang et al. 2018 (arXiv:1809.00219): residual in residual dense blocks without normalisation, enlargement by nearest
neighbours and a convolution. Wang et al. 2021 (Real-ESRGAN, arXiv:2107.10833) puts a pixel-unshuffle before it for the
factors 1 and 2. Knows no files and no pictures.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

SLOPE = 0.2
RESIDUAL = 0.2
"""Weight of every branch before it is added: ESRGAN, section 3.1."""
CONVOLUTIONS = 5
"""Of a dense block."""


class DenseBlock(nn.Module):
    """Each convolution sees what all before it made (ESRGAN, figure 4). (batch, features, height, width) in and out."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(features + number * growth, growth if number < CONVOLUTIONS - 1 else features, 3, padding=1)
            for number in range(CONVOLUTIONS)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = x
        for convolution in self.convolutions[:-1]:
            maps = torch.cat((maps, functional.leaky_relu(convolution(maps), SLOPE)), dim=1)
        last: torch.Tensor = self.convolutions[-1](maps)
        return x + RESIDUAL * last


class ResidualInResidual(nn.Module):
    """Three dense blocks in a row, themselves a residual branch."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(features, growth) for _ in range(3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch: torch.Tensor = self.blocks(x)
        return x + RESIDUAL * branch


@dataclass(frozen=True, kw_only=True)
class RrdbShape:
    """The numbers that a file's keys and shapes tell."""

    colours: int
    """Channels that come out; those that go in are these times `unshuffle` squared."""
    features: int
    growth: int
    blocks: int
    doublings: int
    """How often the maps are enlarged twofold."""
    unshuffle: int
    """So many pixels along a side become channels of one before the network: 1, 2 or 4."""

    @property
    def scale(self) -> int:
        return int(2**self.doublings) // self.unshuffle


class RrdbNet(nn.Module):
    """(batch, colours, height, width) in 0..1 to the same `scale` times as large; sides divide by `unshuffle`."""

    def __init__(self, shape: RrdbShape) -> None:
        super().__init__()
        features = shape.features
        self.unshuffle = shape.unshuffle
        self.first = nn.Conv2d(shape.colours * shape.unshuffle**2, features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualInResidual(features, shape.growth) for _ in range(shape.blocks)))
        self.trunk = nn.Conv2d(features, features, 3, padding=1)
        self.doublings = nn.ModuleList(nn.Conv2d(features, features, 3, padding=1) for _ in range(shape.doublings))
        self.fine = nn.Conv2d(features, features, 3, padding=1)
        self.last = nn.Conv2d(features, shape.colours, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.first(functional.pixel_unshuffle(x, self.unshuffle))
        maps = maps + self.trunk(self.body(maps))
        for doubling in self.doublings:
            maps = functional.leaky_relu(doubling(functional.interpolate(maps, scale_factor=2.0)), SLOPE)
        result: torch.Tensor = self.last(functional.leaky_relu(self.fine(maps), SLOPE))
        return result


_BLOCK = re.compile(
    r"(?:model\.1\.sub|RRDB_trunk|body)\.(?P<block>\d+)\.(?:RDB|rdb)(?P<dense>[123])\.conv(?P<number>[1-5])(?:\.0)?"
)
"""Layer of a dense block in all three layouts: ESRGAN of old, ESRGAN, BasicSR (Real-ESRGAN)."""
_DOUBLING = re.compile(r"(?:upconv|conv_up)(?P<number>\d)")
_OLD = re.compile(r"model\.(?P<place>\d+)")
_SINGLE = {
    "conv_first": "first",
    "model.0": "first",
    "trunk_conv": "trunk",
    "conv_body": "trunk",
    "HRconv": "fine",
    "conv_hr": "fine",
    "conv_last": "last",
}
"""Layer in a file -> ours; the old layout numbers the layers after the trunk, see `_old_tail`."""


def rrdb_keys(keys: list[str]) -> Mapping[str, str] | None:
    """Every key of a file -> that of `RrdbNet`; None when they are not of this family."""
    layers = {key.rpartition(".")[0] for key in keys}
    names = _old_tail(layers) | _SINGLE
    blocks = sum(1 for layer in layers if _BLOCK.fullmatch(layer)) // (3 * CONVOLUTIONS)
    names[f"model.1.sub.{blocks}"] = "trunk"
    found = {}
    for key in keys:
        layer, _, kind = key.rpartition(".")
        ours = names.get(layer) or _in_body(layer)
        if ours is None or kind not in ("weight", "bias"):
            return None
        found[key] = f"{ours}.{kind}"
    return found if blocks and len(set(found.values())) == len(found) else None


def _in_body(layer: str) -> str | None:
    if match := _BLOCK.fullmatch(layer):
        dense, number = int(match["dense"]) - 1, int(match["number"]) - 1
        return f"body.{int(match['block'])}.blocks.{dense}.convolutions.{number}"
    if match := _DOUBLING.fullmatch(layer):
        return f"doublings.{int(match['number']) - 1}"
    return None


def _old_tail(layers: set[str]) -> dict[str, str]:
    """The old layout counts what follows the trunk: the last two are `fine` and `last`, those before double."""
    matches = (_OLD.fullmatch(layer) for layer in layers)
    places = sorted(int(match["place"]) for match in matches if match and int(match["place"]) > 1)
    ours = [*(f"doublings.{number}" for number in range(len(places) - 2)), "fine", "last"]
    return {f"model.{place}": name for place, name in zip(places, ours, strict=False)} if len(places) >= 2 else {}


def rrdb_shape(shapes: Mapping[str, tuple[int, ...]]) -> RrdbShape | None:
    """The network that weights of `RrdbNet`'s keys belong to; None when there is none."""
    try:
        features, inputs = shapes["first.weight"][:2]
        colours = shapes["last.weight"][0]
        growth = shapes["body.0.blocks.0.convolutions.0.weight"][0]
    except (LookupError, ValueError):
        return None
    unshuffle = {1: 1, 4: 2, 16: 4}.get(inputs // colours if inputs % colours == 0 else 0)
    doublings = len({key.split(".")[1] for key in shapes if key.startswith("doublings.")})
    blocks = len({key.split(".")[1] for key in shapes if key.startswith("body.")})
    if unshuffle is None or 2**doublings % unshuffle:
        return None
    return RrdbShape(
        colours=colours, features=features, growth=growth, blocks=blocks, doublings=doublings, unshuffle=unshuffle
    )
