"""A network that enlarges pictures, with what it needs around it: sides that divide, numbers that are numbers.

Knows neither files nor tiles.
"""

import torch
from torch import nn
from torch.nn import functional


class Enlarger:
    """`scale`: the factor; `multiple`: what width and height must divide by, which is seen to in here."""

    def __init__(self, network: nn.Module, scale: int, multiple: int, device: torch.device, dtype: torch.dtype) -> None:
        self.scale = scale
        self._network = network
        self._multiple = multiple
        self._device = device
        self._dtype = dtype

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 3, height, width) in 0..1 on the CPU to (1, 3, height × scale, width × scale), fp32, in 0..1."""
        height, width = pixels.shape[2:]
        right, below = -width % self._multiple, -height % self._multiple
        padded = functional.pad(pixels, (0, right, 0, below), mode="replicate") if right or below else pixels
        enlarged = self._run(padded)
        if self._dtype is not torch.float32 and not torch.isfinite(enlarged).all():
            # Some networks leave the range of fp16 on some pictures; from then on this one is fp32.
            self._network.to(torch.float32)
            self._dtype = torch.float32
            enlarged = self._run(padded)
        return enlarged[:, :, : height * self.scale, : width * self.scale].nan_to_num(0.0).clamp(0.0, 1.0)

    def _run(self, pixels: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._network(pixels.to(self._device, self._dtype))
        return result.float().cpu()
