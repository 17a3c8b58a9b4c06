"""Tensors of one file, whatever it is called inside: read when they are asked for, in the precision of the device.

Safetensors are read piece by piece from the disk's own pages; pickles only as `pickles` allows. Knows no network.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError, safe_open

from webui.engine.device import Device
from webui.engine.pickles import read_pickle
from webui.errors import CheckpointError
from webui.library import SAFETENSORS, check_safetensors
from webui.sentences import Sentence

SMALL = 2**14
"""Tensors up to this many values are looked at for numbers: biases and norms, enough to recognise a ruined file."""
WITHOUT_WEIGHTS = ("position_ids", "logit_scale")
"""Endings of what older files carry along and no network has a place for any more."""

Shapes = Mapping[str, tuple[int, ...]]
"""Keys of a file and the shapes of their tensors."""


@dataclass(frozen=True)
class Weights:
    """What a file holds. `read` gives the tensors of some keys, as they are in the file."""

    name: str
    """Of the file, for people."""
    shapes: Shapes
    metadata: Mapping[str, str]
    read: Callable[[Iterable[str]], dict[str, torch.Tensor]]

    def below(self, *prefixes: str) -> dict[str, torch.Tensor]:
        """The tensors whose keys begin with one of these."""
        return self.read(key for key in self.shapes if key.startswith(prefixes))


def open_weights(path: Path) -> Weights:
    """The file, its header read. Raises `CheckpointError` in one sentence for what is none or damaged."""
    if path.suffix in SAFETENSORS:
        return _open_safetensors(path)
    tensors = _tensors(read_pickle(path))
    if not tensors:
        raise CheckpointError("{name} holds no weights. Download it again.", name=path.name)
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    return Weights(path.name, shapes, {}, lambda keys: {key: tensors[key] for key in keys})


def _open_safetensors(path: Path) -> Weights:
    check_safetensors(path)

    def read(keys: Iterable[str]) -> dict[str, torch.Tensor]:
        try:
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in keys}
        except (OSError, SafetensorError) as error:
            raise _unreadable(path, error) from error

    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (no mapping)
            return Weights(path.name, shapes, file.metadata() or {}, read)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError("{name} cannot be read ({reason}). Copy it again.", name=path.name, reason=str(error)[:200])


def _tensors(content: object) -> dict[str, torch.Tensor]:
    """Of a pickle's content, which may lie under "state_dict"."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}


def filled(build: Callable[[], Any], tensors: Mapping[str, torch.Tensor], device: Device, part: Sentence | str) -> Any:
    """The network that `build` makes, with these tensors as its weights and nothing random left, frozen, on the device.

    Raises `CheckpointError` for weights that are missing, too many, of another shape or no numbers.
    """
    with init_empty_weights(include_buffers=False):
        network = build()
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    given = {key: tensor for key, tensor in tensors.items() if not key.endswith(WITHOUT_WEIGHTS)}
    _check_keys(part, wanted, {key: tuple(tensor.shape) for key, tensor in given.items()})
    placed = {key: _placed(given[key], device, f"{part}: {key}") for key in wanted}
    network.load_state_dict(placed, assign=True)
    return network.eval().requires_grad_(False).to(device.torch_device)


def _check_keys(part: Sentence | str, wanted: Shapes, given: Shapes) -> None:
    if missing := [key for key in wanted if key not in given]:
        raise CheckpointError(
            "its {part} lacks {count} of its weights, first {first}. Download the whole file again.",
            part=part, count=len(missing), first=missing[0][:120],
        )  # fmt: skip
    if unknown := [key for key in given if key not in wanted]:
        raise CheckpointError(
            "its {part} holds {count} weights that such a network has no place for, first {first}. It is of a kind "
            "that Easel does not know.",
            part=part, count=len(unknown), first=unknown[0][:120],
        )  # fmt: skip
    for key, shape in wanted.items():
        if given[key] != shape:
            raise CheckpointError(
                "its {part} has {key} in the shape {found} where {expected} is needed. Download the file again.",
                part=part, key=key[:120], found=str(list(given[key])), expected=str(list(shape)),
            )  # fmt: skip


def _placed(tensor: torch.Tensor, device: Device, name: str) -> torch.Tensor:
    if tensor.numel() <= SMALL and not torch.isfinite(tensor.float()).all():
        raise CheckpointError(
            "its weights are not numbers (first in {name}): the file is ruined. Download it again, or another one.",
            name=name[:160],
        )
    return tensor.to(device.torch_device, device.dtype)
