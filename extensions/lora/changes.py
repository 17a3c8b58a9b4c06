"""What a file does to one weight, by the formulas of its kind. Knows neither names nor networks.

All tensors of a change are as they lie in the file; sums are made in fp32.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch


class Change(Protocol):
    """A change of one weight, such as an addition of low rank."""

    def fits(self, weight: torch.Tensor) -> bool:
        """Whether `weight` has the shape that this was made for."""
        ...

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        """What is added to `weight` at full strength: fp32, of its shape and on its device."""
        ...


@dataclass(frozen=True)
class LowRank:
    """LoRA: Hu et al. 2021 (arXiv:2106.09685), eq. 3. With `mid`, a Tucker decomposition of a convolution."""

    up: torch.Tensor
    """(out, rank), for convolutions with 1 × 1 behind."""
    down: torch.Tensor
    """(rank, in), for convolutions with the kernel behind, which with `mid` is 1 × 1."""
    mid: torch.Tensor | None
    """(rank, rank, height, width), between the two."""
    scale: float

    def fits(self, weight: torch.Tensor) -> bool:
        rank = self.up.shape[1]
        if weight.dim() < 2 or self.up.shape[0] != weight.shape[0] or self.down.shape[0] != rank:
            return False
        if self.mid is None:
            return self.down.numel() == rank * weight[0].numel()
        kernel = self.mid.shape[2:]
        return self.down.shape[1] == weight.shape[1] and kernel == weight.shape[2:]

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        up, down = (_like(each, weight).flatten(1) for each in (self.up, self.down))
        if self.mid is None:
            return (up @ down * self.scale).view(weight.shape)
        mid = _like(self.mid, weight)
        whole: torch.Tensor = torch.einsum("on,nmhw,mi->oihw", up, mid, down)
        return whole * self.scale

    def factors(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(out, rank) and (rank, in) whose product is the change before its scale; None when there are three."""
        if self.mid is not None:
            return None
        return _like(self.up, weight).flatten(1), _like(self.down, weight).flatten(1)

    def limited(self, rank: int) -> "LowRank":
        """Its first `rank` directions alone."""
        mid = None if self.mid is None else self.mid[:rank, :rank]
        return replace(self, up=self.up[:, :rank], down=self.down[:rank], mid=mid)


@dataclass(frozen=True)
class Hadamard:
    """LoHa, the elementwise product of two low ranks: Hyeon-Woo et al. 2022 (FedPara, arXiv:2108.06098), eq. 1 and,
    with `cores`, proposition 3 for convolutions."""

    pairs: tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    """Twice (out, rank) and (rank, in); with cores (rank, out) and (rank, in)."""
    cores: tuple[torch.Tensor, torch.Tensor] | None
    """Twice (rank, rank, height, width)."""
    scale: float

    def fits(self, weight: torch.Tensor) -> bool:
        (a, b), _ = self.pairs
        if self.cores is None:
            return weight.dim() > 1 and (a.shape[0], b.shape[1]) == (weight.shape[0], weight[0].numel())
        return (a.shape[1], b.shape[1], *self.cores[0].shape[2:]) == tuple(weight.shape)

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        factors = []
        for number, (a, b) in enumerate(self.pairs):
            core = None if self.cores is None else _like(self.cores[number], weight)
            factors.append(_product(_like(a, weight), _like(b, weight), core))
        return (factors[0] * factors[1] * self.scale).view(weight.shape)


@dataclass(frozen=True)
class Kronecker:
    """LoKr, the Kronecker product of a small matrix and a larger one, each whole or of low rank: Yeh et al. 2023
    (LyCORIS, arXiv:2309.14859), section 3.3."""

    small: tuple[torch.Tensor, ...]
    """The matrix, or its two factors."""
    large: tuple[torch.Tensor, ...]
    """The matrix, its two factors, or two factors and the core between them."""
    scale: float

    def fits(self, weight: torch.Tensor) -> bool:
        return math.prod(_size(self.small)) * math.prod(_size(self.large)) == weight.numel() and weight.dim() > 1

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        small, large = (_whole(tuple(_like(each, weight) for each in side)) for side in (self.small, self.large))
        small = small.reshape(*small.shape, *[1] * (large.dim() - small.dim()))
        return (torch.kron(small, large.contiguous()) * self.scale).reshape(weight.shape)


@dataclass(frozen=True)
class Scaling:
    """(IA)³, every input or output times a factor of its own: Liu et al. 2022 (arXiv:2205.05638), eq. 3 to 5."""

    factors: torch.Tensor
    """How much more than once each counts: one number for each."""
    is_on_input: bool | None
    """None: on the outputs where there are as many, else on the inputs."""

    def fits(self, weight: torch.Tensor) -> bool:
        return weight.dim() > 1 and self.factors.numel() == weight.shape[self._side(weight)]

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        shape = [1] * weight.dim()
        shape[self._side(weight)] = -1
        return weight.float() * _like(self.factors, weight).view(shape)

    def _side(self, weight: torch.Tensor) -> int:
        is_on_input = self.factors.numel() != weight.shape[0] if self.is_on_input is None else self.is_on_input
        return int(is_on_input)


@dataclass(frozen=True)
class Difference:
    """The whole difference, of a weight or of a bias."""

    difference: torch.Tensor

    def fits(self, weight: torch.Tensor) -> bool:
        return self.difference.numel() == weight.numel()

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        return _like(self.difference, weight).view(weight.shape)


@dataclass(frozen=True)
class Decomposed:
    """DoRA, direction and length apart: Liu et al. 2024 (arXiv:2402.09353), eq. 5. At half strength the weight lies
    half-way to its result."""

    change: Change
    """Of the direction."""
    magnitude: torch.Tensor
    """(out,), (out, 1, …), or (1, in, …): lengths of the rows, or as LyCORIS once had it, of the columns."""

    def fits(self, weight: torch.Tensor) -> bool:
        sides = [weight.shape[0]] if self.magnitude.dim() < 2 or self.magnitude.shape[0] > 1 else [weight.shape[1]]
        return self.magnitude.numel() in sides and self.change.fits(weight)

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        original = weight.float()
        moved = original + self.change.delta(weight)
        is_of_columns = self.magnitude.dim() > 1 and self.magnitude.shape[0] == 1 != weight.shape[0]
        kept = 1 if is_of_columns else 0
        others = [dimension for dimension in range(weight.dim()) if dimension != kept]
        lengths: torch.Tensor = torch.linalg.vector_norm(moved, dim=others, keepdim=True)
        shape = [1] * weight.dim()
        shape[kept] = -1
        return moved * (_like(self.magnitude, weight).view(shape) / lengths) - original


def _like(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return tensor.to(weight.device, torch.float32)


def _product(a: torch.Tensor, b: torch.Tensor, core: torch.Tensor | None) -> torch.Tensor:
    """(out, rank) @ (rank, in), or the Tucker product (out, in, height, width) of (rank, out), core, (rank, in)."""
    if core is None:
        return a @ b.flatten(1)
    return torch.einsum("nmhw,no,mi->oihw", core, a, b)


def _whole(side: tuple[torch.Tensor, ...]) -> torch.Tensor:
    if len(side) == 1:
        return side[0]
    return _product(side[0], side[1], side[2] if len(side) == 3 else None)


def _size(side: tuple[torch.Tensor, ...]) -> tuple[int, ...]:
    if len(side) == 1:
        return tuple(side[0].shape)
    a, b = side[:2]
    if len(side) == 2:
        return a.shape[0], b[0].numel()
    return a.shape[1], b.shape[1], *side[2].shape[2:]


Roles = Mapping[str, torch.Tensor]
"""What a file holds for one layer: role -> tensor, see `files.ROLES`."""


def changes_of(roles: Roles, scale: float | None = None) -> dict[str, Change]:
    """The changes of a layer's "weight" and "bias" that its tensors stand for; nothing for kinds that are not known.

    `scale` overrides alpha / rank, for files that say it elsewhere.
    """
    changes: dict[str, Change] = {}
    change = _change_of_weight(roles, scale)
    if change is not None:
        magnitude = roles.get("magnitude")
        changes["weight"] = change if magnitude is None else Decomposed(change, magnitude)
    if "diff_b" in roles:
        changes["bias"] = Difference(roles["diff_b"])
    return changes


def _change_of_weight(roles: Roles, scale: float | None) -> Change | None:
    if {"up", "down"} <= roles.keys():
        rank = roles["up"].shape[1]
        return LowRank(roles["up"], roles["down"], roles.get("mid"), _scale(roles, rank, scale))
    if {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"} <= roles.keys():
        cores = (roles["hada_t1"], roles["hada_t2"]) if {"hada_t1", "hada_t2"} <= roles.keys() else None
        pairs = (roles["hada_w1_a"], roles["hada_w1_b"]), (roles["hada_w2_a"], roles["hada_w2_b"])
        return Hadamard(pairs, cores, _scale(roles, roles["hada_w1_b"].shape[0], scale))
    if (small := _side(roles, "1")) and (large := _side(roles, "2")):
        ranks = [side[1].shape[0] for side in (small, large) if len(side) > 1]
        return Kronecker(small, large, _scale(roles, ranks[0] if ranks else None, scale))
    if "ia3" in roles:  # of LyCORIS: how much more than once, and on which side
        is_on_input = bool(roles["on_input"].item()) if "on_input" in roles else False
        return Scaling(roles["ia3"], is_on_input)
    if "ia3_l" in roles:  # of PEFT: how often, (1, in) or (out, 1); of convolutions always (1, either, 1, 1)
        factors = roles["ia3_l"].float() - 1
        return Scaling(factors, None if factors.dim() > 2 else factors.shape[0] == 1)
    return Difference(roles["diff"]) if "diff" in roles else None


def _side(roles: Roles, number: str) -> tuple[torch.Tensor, ...]:
    """One of the two matrices of a Kronecker product; empty when the file does not hold it."""
    whole = f"lokr_w{number}"
    if whole in roles:
        return (roles[whole],)
    factors = [roles[name] for name in (f"{whole}_a", f"{whole}_b", f"lokr_t{number}") if name in roles]
    return tuple(factors) if len(factors) > 1 else ()


def _scale(roles: Roles, rank: int | None, scale: float | None) -> float:
    if scale is None:
        scale = float(roles["alpha"]) / rank if "alpha" in roles and rank else 1.0
    return scale * float(roles.get("scalar", 1.0))
