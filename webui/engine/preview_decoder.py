"""A small decoder for live previews: latents to pixels at half the picture's size, in a thousandth of the work.

Comes with a checkpoint as `preview_decoder.safetensors`; `webui/training/embedded/preview.py` trains one.
"""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

log = logging.getLogger(__name__)

FILE = "preview_decoder.safetensors"
WIDTHS = (32, 32, 24)
REACH = 3.0
"""Latents beyond this many deviations are squashed: early steps have some, and no picture does."""


class PreviewDecoder(nn.Module):
    """Convolutions of 3×3, the picture doubled after each but the first and the last."""

    def __init__(self, channels: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1), nn.ReLU()]
        for width, wider in itertools.pairwise(widths):
            layers += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 3, 3, padding=1))
        self.scale = 2 ** (len(widths) - 1)
        """Pixels per latent along a side."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """(n, channels, height, width), scaled -> (n, 3, scale * height, scale * width) in about [-1, 1]."""
        pixels: torch.Tensor = self.layers(torch.tanh(latents / REACH) * REACH)
        return pixels


def read_preview_decoder(folder: Path, channels: int, device: torch.device) -> PreviewDecoder | None:
    """The one that came with the checkpoint in `folder`; None when there is none that fits."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        weights = load_file(path)
        biases = sorted((int(name.split(".")[1]), len(tensor)) for name, tensor in weights.items() if "bias" in name)
        decoder = PreviewDecoder(channels, [width for _, width in biases[:-1]])
        decoder.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError, LookupError, ValueError) as error:
        log.warning("%s cannot be used (%s); previews are linear instead", path, error)
        return None
    return decoder.to(device).eval()
