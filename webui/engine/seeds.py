"""Noise that belongs to the picture: one CPU generator per seed, whatever the batch or device.

Picture k of a batch draws from its own generator only, so it equals the picture that its seed makes alone.
"""

from collections.abc import Sequence

import torch


class PictureNoise:
    """The noise of the pictures that are made together. Every draw goes on where each picture's last one ended."""

    def __init__(self, seeds: Sequence[int], shape: tuple[int, int, int], device: torch.device) -> None:
        """`shape` is one picture's latents (channels, height, width)."""
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self._shape = shape
        self._device = device

    def draw(self) -> torch.Tensor:
        """Standard normal noise (pictures, channels, height, width), fp32, drawn on the CPU."""
        noise = [torch.randn(self._shape, generator=generator) for generator in self._generators]
        return torch.stack(noise).to(self._device)

    def save(self) -> tuple[torch.Tensor, ...]:
        return tuple(generator.get_state() for generator in self._generators)

    def restore(self, states: Sequence[torch.Tensor]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)
