"""Noise that belongs to the picture: one generator per seed, whatever the batch or device.

Picture k of a batch draws from its own generator only, so it equals the picture that its seed makes alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from webui.engine.brownian import BrownianPaths
from webui.engine.latents import LatentShape
from webui.engine.philox import cuda_normal

SEEDS = 2**32


@dataclass(frozen=True)
class Seeds:
    """What one picture's first noise comes from."""

    seed: int
    variation: int = 0
    """Seed of the noise that is mixed in."""
    strength: float = 0.0
    """How much of it, 0 to 1."""
    area: tuple[int, int] | None = None
    """(height, width) in latents of the picture whose noise is put in the middle."""


class Source(Protocol):
    """A generator of standard normal noise on the CPU, fp32."""

    def draw(self, shape: Sequence[int]) -> torch.Tensor: ...

    def save(self) -> torch.Tensor: ...

    def restore(self, state: torch.Tensor) -> None: ...


class _Torch:
    """torch's own generator for the CPU."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def draw(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.randn(*shape, generator=self._generator)

    def save(self) -> torch.Tensor:
        return self._generator.get_state()

    def restore(self, state: torch.Tensor) -> None:
        self._generator.set_state(state)


class _Cuda:
    """The generator of NVIDIA cards (`philox.py`)."""

    def __init__(self, seed: int) -> None:
        self._seed, self._draws = seed, 0

    def draw(self, shape: Sequence[int]) -> torch.Tensor:
        count = int(torch.Size(shape).numel())
        noise = torch.from_numpy(cuda_normal(count, self._seed, self._draws)).reshape(tuple(shape))
        self._draws += 1
        return noise

    def save(self) -> torch.Tensor:
        return torch.tensor([self._seed, self._draws])

    def restore(self, state: torch.Tensor) -> None:
        self._seed, self._draws = (int(number) for number in state)


SOURCES: Mapping[str, Callable[[int], Source]] = {"CPU": _Torch, "NV": _Cuda}
"""The implementations of `registry.CHOICES["noise_source"]`."""


class PictureNoise:
    """The noise of the pictures that are made together. Every draw goes on where each picture's last one ended."""

    def __init__(self, seeds: Sequence[Seeds], shape: LatentShape, device: torch.device, source: str = "CPU") -> None:
        """`shape` is one picture's latents (channels, height, width)."""
        self._seeds = seeds
        self._source = SOURCES[source]
        self._paths = BrownianPaths([each.seed for each in seeds], shape)
        self._generators: list[Source] = [self._source(each.seed) for each in seeds]
        self._shape = shape
        self._device = device

    def first(self) -> torch.Tensor:
        """The noise that the pictures begin with, as `draw` gives it; seeds with a variation or area have their own."""
        noise = [self._first(each, generator) for each, generator in zip(self._seeds, self._generators, strict=True)]
        return torch.stack(noise).to(self._device)

    def _first(self, seeds: Seeds, generator: Source) -> torch.Tensor:
        """Where AUTOMATIC1111 draws what, so that its pictures come back: the area's noise from generators of its own,
        after which the picture's generator still draws the whole."""
        if seeds.area in (None, self._shape[1:]):
            noise = generator.draw(self._shape)
            return self._varied(noise, seeds)
        assert seeds.area is not None
        small = self._varied(self._source(seeds.seed).draw((self._shape[0], *seeds.area)), seeds)
        return _in_the_middle(small, generator.draw(self._shape))

    def _varied(self, noise: torch.Tensor, seeds: Seeds) -> torch.Tensor:
        if not seeds.strength:
            return noise
        return slerp(noise, self._source(seeds.variation).draw(noise.shape), seeds.strength)

    def changed(
        self, noise: torch.Tensor, states: Sequence[torch.Tensor], before: Sequence[Seeds], delta: int = 0
    ) -> torch.Tensor:
        """`noise` (pictures, channels, height, width) that is left of pictures whose seeds were `before` and whose
        generators stand at `states`, as it is with these seeds: another seed gives its own, a variation is mixed in.
        A new generator goes on as `begin_again` with `delta` says."""
        rows = []
        for number, (seeds, old, state) in enumerate(zip(self._seeds, before, states, strict=True)):
            generator = self._generators[number]
            if seeds.seed == old.seed:
                generator.restore(state)
                rows.append(noise[number].cpu() if seeds == old else self._varied(noise[number].cpu(), seeds))
                continue
            rows.append(self._first(seeds, generator))
            if delta:
                self._generators[number] = self._source((seeds.seed + delta) % SEEDS)
        return torch.stack(rows).to(self._device)

    def draw(self) -> torch.Tensor:
        """Standard normal noise (pictures, channels, height, width), fp32, drawn on the CPU."""
        return torch.stack([generator.draw(self._shape) for generator in self._generators]).to(self._device)

    def between(self, sigma: float, sigma_next: float) -> torch.Tensor:
        """The same for the way between two noise levels: on each seed's Brownian path, whatever was drawn before."""
        return self._paths.between(sigma, sigma_next).to(self._device)

    def begin_again(self, delta: int) -> None:
        """Let every generator begin anew, with its picture's seed + `delta` (modulo 2^32)."""
        self._generators = [self._source((each.seed + delta) % SEEDS) for each in self._seeds]

    def save(self) -> tuple[torch.Tensor, ...]:
        return tuple(generator.save() for generator in self._generators)

    def restore(self, states: Sequence[torch.Tensor]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.restore(state)


def slerp(low: torch.Tensor, high: torch.Tensor, share: float) -> torch.Tensor:
    """From `low` (share 0) to `high` (1) along the arc between them (Shoemake 1985), each column of each channel for
    itself, as AUTOMATIC1111 does; straight where the columns are nearly parallel. Both (channels, height, width)."""
    unit_low, unit_high = (each / each.norm(dim=1, keepdim=True) for each in (low, high))
    cosine = (unit_low * unit_high).sum(1, keepdim=True)
    if cosine.mean() > 0.9995:
        return torch.lerp(low, high, share)
    angle = cosine.acos()
    return (torch.sin((1 - share) * angle) * low + torch.sin(share * angle) * high) / torch.sin(angle)


def _in_the_middle(small: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """`whole` with `small`, (channels, height, width), over its middle; of a larger one only the middle is taken."""
    result = whole.clone()
    spare = [whole.shape[axis] - small.shape[axis] for axis in (1, 2)]
    into = [slice(max(0, each // 2), max(0, each // 2) + min(w, s)) for each, w, s in
            zip(spare, whole.shape[1:], small.shape[1:], strict=True)]  # fmt: skip
    take = [slice(max(0, -(each // 2)), max(0, -(each // 2)) + min(w, s)) for each, w, s in
            zip(spare, whole.shape[1:], small.shape[1:], strict=True)]  # fmt: skip
    result[:, into[0], into[1]] = small[:, take[0], take[1]]
    return result
