"""Brownian motion over the noise level that depends on the seed alone: SDE samplers take their noise from it.

However many steps ask, the path is the same one, so more steps refine a picture instead of making another. Nothing
has to be saved for a later resume: every value is a function of seed and level.
"""

import hashlib
import math
from collections.abc import Sequence

import torch

ROOT = 16.0
"""The tree's root spans levels 0 to this; above it come spans of twice the size each."""
FINEST = 2.0**-20
"""Below this distance the path is taken as straight."""


def brownian_path(seed: int, sigma: float, shape: tuple[int, ...]) -> torch.Tensor:
    """W(sigma), fp32 of `shape`, W(0) = 0: a virtual Brownian tree, Li et al. 2020 (arXiv:2001.01328), algorithm 3.

    The span that holds `sigma` is halved again and again; the value at each middle is drawn from the Brownian bridge
    between the ends (mean of the two, variance a quarter of the distance) by a generator of its own.
    """
    low, high, octave, node = 0.0, ROOT, 0, 1
    at_low, at_high = torch.zeros(shape), _normal(seed, "end", 0, shape) * math.sqrt(ROOT)
    while sigma > high:
        octave += 1
        low, high, at_low = high, 2 * high, at_high
        at_high = at_low + _normal(seed, "end", octave, shape) * math.sqrt(high - low)
    while high - low > FINEST and sigma < high:
        middle, node = (low + high) / 2, 2 * node
        at_middle = (at_low + at_high) / 2 + _normal(seed, f"bridge {octave}", node, shape) * (
            math.sqrt(high - low) / 2
        )
        if sigma < middle:
            high, at_high = middle, at_middle
        else:
            low, at_low, node = middle, at_middle, node + 1
    return torch.lerp(at_low, at_high, (sigma - low) / (high - low))


class BrownianPaths:
    """The paths of the pictures that are made together, one per seed."""

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...]) -> None:
        self._seeds = seeds
        self._shape = shape
        self._known: dict[float, torch.Tensor] = {}
        """The levels asked for last: a step begins where the one before ended."""

    def between(self, sigma: float, sigma_next: float) -> torch.Tensor:
        """Standard normal noise (len(seeds), *shape) for the way between two different levels, fp32, on the CPU."""
        return (self._at(sigma_next) - self._at(sigma)) / math.sqrt(abs(sigma_next - sigma))

    def _at(self, sigma: float) -> torch.Tensor:
        if sigma not in self._known:
            if len(self._known) == 4:
                del self._known[next(iter(self._known))]
            self._known[sigma] = torch.stack([brownian_path(seed, sigma, self._shape) for seed in self._seeds])
        return self._known[sigma]


def _normal(seed: int, what: str, number: int, shape: tuple[int, ...]) -> torch.Tensor:
    digest = hashlib.blake2b(f"{seed} {what} {number}".encode(), digest_size=4).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "big"))
    return torch.randn(shape, generator=generator)
