"""A set of LoRAs in a checkpoint's weights, for as long as a job lasts.

What the weights become is computed once into tensors of their own. A job then only has to swap them in, and the very
same originals back: nothing is subtracted, so nothing can be off by a bit, and the same set again costs nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from .changes import Change, LowRank
from .files import LoraFile
from .names import UNET, Place, places


@dataclass(frozen=True)
class Networks:
    """The networks of a checkpoint that a LoRA can change."""

    unet: nn.Module
    layers_per_block: int
    text_encoders: tuple[nn.Module, ...]

    @property
    def parts(self) -> dict[str, nn.Module]:
        names = (UNET, "text_encoder", "text_encoder_2")
        return dict(zip(names, (self.unet, *self.text_encoders), strict=False))

    def places(self) -> dict[str, Place]:
        """Every name that a file may have for a layer -> the layer."""
        layers = {
            part: [name for name, layer in network.named_modules() if _weight(layer) is not None]
            for part, network in self.parts.items()
        }
        return places(layers, self.layers_per_block)

    def parameter(self, place: Place, name: str) -> nn.Parameter | None:
        """ "weight" or "bias" of a layer; None when it has none."""
        found = getattr(self.parts[place.part].get_submodule(place.layer), name, None)
        return found if isinstance(found, nn.Parameter) else None


def _weight(layer: nn.Module) -> nn.Parameter | None:
    found = getattr(layer, "weight", None)
    return found if isinstance(found, nn.Parameter) else None


@dataclass(frozen=True)
class Fit:
    """A file on a checkpoint."""

    changes: Mapping[tuple[Place, str], Change]
    """What of it has its place there, by layer and parameter."""
    layers: int
    """How many layers that are."""
    of: int
    """How many the file has."""

    @property
    def is_whole(self) -> bool:
        return self.layers == self.of


def fit(file: LoraFile, networks: Networks, known: Mapping[str, Place]) -> Fit:
    """Find the place of every change in a file; `known` are the networks' own `places()`."""
    changes: dict[tuple[Place, str], Change] = {}
    for name, of_layer in file.layers.items():
        place = known.get(name)
        for parameter, change in of_layer.items() if place else ():
            assert place is not None
            weight = networks.parameter(place, parameter)
            if weight is not None and change.fits(weight):
                changes[place, parameter] = change
    return Fit(changes, len({place for place, _ in changes}), len(file.layers) + len(file.unknown))


@dataclass(frozen=True)
class Part:
    """One LoRA of a set: its changes at the strengths asked for."""

    changes: Mapping[tuple[Place, str], Change]
    te: float
    unet: float
    rank: int | None = None
    is_whole: bool = True
    """Nothing of its file was left out."""

    def strength(self, place: Place) -> float:
        return self.unet if place.part == UNET else self.te

    def limited(self, change: Change) -> Change:
        return change.limited(self.rank) if self.rank is not None and isinstance(change, LowRank) else change


@dataclass(frozen=True)
class _Swap:
    parameter: nn.Parameter
    original: torch.Tensor
    mixed: torch.Tensor


@dataclass(frozen=True)
class Mixture:
    """The weights under a set of LoRAs, beside the originals."""

    swaps: tuple[_Swap, ...]

    def is_current(self) -> bool:
        """Whether the networks still hold the very weights that this was computed from."""
        return all(
            swap.parameter.data_ptr() == swap.original.data_ptr() and swap.parameter.dtype == swap.original.dtype
            for swap in self.swaps
        )

    def tensors(self) -> dict[nn.Parameter, torch.Tensor]:
        return {swap.parameter: swap.mixed for swap in self.swaps}


class Swapped:
    """What is in the networks instead of their own weights."""

    def __init__(self) -> None:
        self._originals: dict[nn.Parameter, torch.Tensor] = {}

    def put(self, mixture: Mixture) -> None:
        """Have this mixture in the networks and nothing of the one before.

        In the middle of a job they may have gone over to fp32: what comes in then does too.
        """
        mixed = mixture.tensors()
        for swap in mixture.swaps:
            self._originals.setdefault(swap.parameter, swap.original)
        for parameter, original in self._originals.items():
            parameter.data = mixed.get(parameter, original).to(parameter.device, parameter.dtype)

    def restore(self) -> None:
        """Have the very originals in the networks again."""
        for parameter, original in self._originals.items():
            parameter.data = original.to(parameter.device)
        self._originals.clear()


@contextmanager
def swapped(mixture: Mixture) -> Iterator[Swapped]:
    """The networks have the mixed weights inside, and outside the originals, whatever happens."""
    inside = Swapped()
    try:
        inside.put(mixture)
        yield inside
    finally:
        inside.restore()


Spare = Mapping[nn.Parameter, torch.Tensor]
"""Memory of a mixture that is needed no more: asking the system for a gigabyte takes longer than to compute it."""


def mix(parts: Iterable[Part], networks: Networks, spare: Spare | None = None) -> Mixture:
    """Compute the weights under all of `parts` together; the networks are not touched, `spare` is written over."""
    wanted: dict[tuple[Place, str], list[tuple[Change, float]]] = {}
    for part in parts:
        for (place, name), change in part.changes.items():
            if strength := part.strength(place):
                wanted.setdefault((place, name), []).append((part.limited(change), strength))
    swaps = []
    with torch.inference_mode(mode=False), torch.no_grad():
        for (place, name), changes in wanted.items():
            parameter = networks.parameter(place, name)
            assert parameter is not None
            weight = parameter.data
            room = (spare or {}).get(parameter)
            if room is None or room.dtype != weight.dtype or room.stride() != weight.stride():
                room = torch.empty_like(weight)
            _mix_into(room, weight, changes)
            swaps.append(_Swap(parameter, weight, room))
    return Mixture(tuple(swaps))


def _mix_into(room: torch.Tensor, weight: torch.Tensor, changes: Sequence[tuple[Change, float]]) -> None:
    """Write `weight` with all changes added into `room`; the sum is made in fp32."""
    (change, strength), *others = changes
    total = _added(room, weight, change, strength)
    for change, strength in others:
        total.add_(change.delta(weight), alpha=strength)
    if total is not room:
        room.copy_(total)


def _added(room: torch.Tensor, weight: torch.Tensor, change: Change, strength: float) -> torch.Tensor:
    """`weight` + `strength` × `change` in fp32: in `room` where that is fp32, in one pass for a plain product."""
    if weight.dtype != torch.float32:
        return weight.float().add_(change.delta(weight), alpha=strength)
    factors = change.factors(weight) if isinstance(change, LowRank) else None
    if factors is None or not weight.is_contiguous():
        return torch.add(weight, change.delta(weight), alpha=strength, out=room)
    assert isinstance(change, LowRank)
    torch.addmm(weight.flatten(1), *factors, alpha=strength * change.scale, out=room.flatten(1))
    return room
