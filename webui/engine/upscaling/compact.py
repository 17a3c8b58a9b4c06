"""The compact family of Real-ESRGAN: plain convolutions at the small size, the enlargement at the very end.

SRVGGNetCompact of Wang et al. 2021 (arXiv:2107.10833, realesr-general and realesr-animevideo), after VGG (Simonyan and
Zisserman 2014) and the sub-pixel convolution of Shi et al. 2016 (arXiv:1609.05158). Knows no files and no pictures.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

_KEY = re.compile(r"body\.(\d+)\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class CompactShape:
    """The numbers that a file's keys and shapes tell."""

    colours: int
    features: int
    convolutions: int
    """Between the first and the last."""
    scale: int


class CompactNet(nn.Module):
    """(batch, colours, height, width) in 0..1 to `scale` times as large; adds to nearest neighbours."""

    def __init__(self, shape: CompactShape) -> None:
        super().__init__()
        features = shape.features
        layers: list[nn.Module] = [nn.Conv2d(shape.colours, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(shape.convolutions):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, shape.colours * shape.scale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)
        self.scale = shape.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added = functional.pixel_shuffle(self.body(x), self.scale)
        return added + functional.interpolate(x, scale_factor=float(self.scale))


def compact_shape(shapes: Mapping[str, tuple[int, ...]]) -> CompactShape | None:
    """The network that these weights belong to; None when they are not of this family.

    Only nets with PReLU are: the others keep no weight that would tell which activation they have.
    """
    matches = [_KEY.fullmatch(key) for key in shapes]
    if not matches or not all(matches):
        return None
    last = max(int(match[1]) for match in matches if match)
    try:
        features, colours = shapes["body.0.weight"][:2]
        outputs = shapes[f"body.{last}.weight"][0]
        has_slopes = shapes["body.1.weight"] == (features,)
    except (LookupError, ValueError):
        return None
    scale = math.isqrt(outputs // colours)
    if not has_slopes or last % 2 or scale < 1 or colours * scale**2 != outputs:
        return None
    return CompactShape(colours=colours, features=features, convolutions=last // 2 - 1, scale=scale)
