"""Seamless pictures: while it lasts, every convolution sees the opposite edge beyond an edge.

Changes how layers pad, never a weight.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from webui.engine.models import Components


@contextmanager
def tiled(components: Components) -> Iterator[None]:
    """UNet and autoencoder pad with what lies at the other side, not with zeros; as before at the end."""
    parts: tuple[Any, ...] = components.unet, components.vae
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, torch.nn.Conv2d)]
    before = [layer.padding_mode for layer in layers]
    try:
        for layer in layers:
            layer.padding_mode = "circular"
        yield
    finally:
        for layer, mode in zip(layers, before, strict=True):
            layer.padding_mode = mode
