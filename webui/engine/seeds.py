"""Noise that belongs to the picture: one CPU generator per seed, whatever the batch or device.

Picture k of a batch draws from its own generator only, so it equals the picture that its seed makes alone.
"""

from collections.abc import Sequence

import torch

from webui.engine.brownian import BrownianPaths

SEEDS = 2**32


class PictureNoise:
    """The noise of the pictures that are made together. Every draw goes on where each picture's last one ended."""

    def __init__(self, seeds: Sequence[int], shape: tuple[int, int, int], device: torch.device) -> None:
        """`shape` is one picture's latents (channels, height, width)."""
        self._seeds = seeds
        self._paths = BrownianPaths(seeds, shape)
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self._shape = shape
        self._device = device

    def draw(self) -> torch.Tensor:
        """Standard normal noise (pictures, channels, height, width), fp32, drawn on the CPU."""
        noise = [torch.randn(self._shape, generator=generator) for generator in self._generators]
        return torch.stack(noise).to(self._device)

    def between(self, sigma: float, sigma_next: float) -> torch.Tensor:
        """The same for the way between two noise levels: on each seed's Brownian path, whatever was drawn before."""
        return self._paths.between(sigma, sigma_next).to(self._device)

    def begin_again(self, delta: int) -> None:
        """Let every generator begin anew, with its picture's seed + `delta` (modulo 2^32)."""
        for generator, seed in zip(self._generators, self._seeds, strict=True):
            generator.manual_seed((seed + delta) % SEEDS)

    def save(self) -> tuple[torch.Tensor, ...]:
        return tuple(generator.get_state() for generator in self._generators)

    def restore(self, states: Sequence[torch.Tensor]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)
