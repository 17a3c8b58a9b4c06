"""A file of models/upscalers as a network on a device: which family it is of is read from its keys and shapes.

ESRGAN and Compact are our own modules; everything else is spandrel's where somebody has installed it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from webui.engine.device import Device
from webui.engine.loading.weights import filled, open_weights
from webui.engine.pickles import read_pickle
from webui.engine.upscaling.compact import CompactNet, compact_shape
from webui.engine.upscaling.enlarger import Enlarger
from webui.engine.upscaling.esrgan import RrdbNet, rrdb_keys, rrdb_shape
from webui.errors import CheckpointError
from webui.library import SAFETENSORS
from webui.sentences import Sentence

WRAPPINGS = ("params_ema", "params", "state_dict", "model")
"""Under which trainers put the weights in a pickle; of several the first is taken, averaged weights before others."""

NETWORK = Sentence("network")

Tensors = Mapping[str, torch.Tensor]


def load_enlarger(path: Path, device: Device) -> Enlarger:
    """Read the file. Raises `CheckpointError` that says in one sentence what is wrong with it."""
    try:
        tensors = _tensors(path)
        return _rrdb(tensors, device) or _compact(tensors, device) or _of_spandrel(tensors, device)
    except CheckpointError as error:
        raise CheckpointError(
            "Upscaler '{name}' cannot be used: {problem}", name=path.name, problem=error.sentence
        ) from error


def _tensors(path: Path) -> Tensors:
    if path.suffix.lower() in SAFETENSORS:
        weights = open_weights(path)
        return _bare(weights.read(weights.shapes))
    content = read_pickle(path)
    unwrapped = content if isinstance(content, dict) else {}
    for _ in WRAPPINGS:  # a file may wrap itself, and then has no end
        unwrapped = next((unwrapped[w] for w in WRAPPINGS if isinstance(unwrapped.get(w), dict)), unwrapped)
    return _bare(unwrapped)


def _bare(content: Mapping[str, object]) -> Tensors:
    """Only tensors, without the prefix that training on several cards puts before every key."""
    return {
        key.removeprefix("module."): value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }


def _rrdb(tensors: Tensors, device: Device) -> Enlarger | None:
    """None when the weights are of another family."""
    keys = rrdb_keys(list(tensors))
    if keys is None:
        return None
    renamed = {ours: tensors[key] for key, ours in keys.items()}
    shape = rrdb_shape(_shapes(renamed))
    if shape is None or shape.colours != 3:
        return None
    network = filled(lambda: RrdbNet(shape), renamed, device, NETWORK)
    return Enlarger(network, shape.scale, shape.unshuffle, device.torch_device, device.dtype)


def _compact(tensors: Tensors, device: Device) -> Enlarger | None:
    shape = compact_shape(_shapes(tensors))
    if shape is None or shape.colours != 3:
        return None
    network = filled(lambda: CompactNet(shape), tensors, device, NETWORK)
    return Enlarger(network, shape.scale, 1, device.torch_device, device.dtype)


def _of_spandrel(tensors: Tensors, device: Device) -> Enlarger:
    """In fp32: which of its families hold in half precision is not known here."""
    try:
        import spandrel
    except (ImportError, RuntimeError) as error:  # its torchvision may be made for another torch
        raise CheckpointError(
            "it is neither of the ESRGAN family nor a Compact one, and the package that reads others cannot be "
            "imported ({reason}). Install spandrel and a torchvision that fits this torch, or use another upscaler.",
            reason=str(error)[:200],
        ) from error
    try:
        descriptor = spandrel.ModelLoader(device=device.torch_device).load_from_state_dict(dict(tensors))
    except spandrel.UnsupportedModelError as error:
        raise CheckpointError("no upscaler is known whose weights have such names. Use another one.") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.input_channels != 3:
        raise CheckpointError("it does something else than enlarging coloured pictures. Use another one.")
    descriptor.model.eval().requires_grad_(False)
    return Enlarger(_Described(descriptor), descriptor.scale, 1, device.torch_device, torch.float32)


class _Described(torch.nn.Module):
    """A network of spandrel's, called by its descriptor, which sees to the sides that it needs."""

    def __init__(self, descriptor: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._descriptor = descriptor

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._descriptor(pixels)


def _shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}
