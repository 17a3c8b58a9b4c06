"""Trained weights with their optimiser, and the device and precision they learn on.

Owns how gradients become a change of weights: averaged over processes, shortened, fp16 unscaled. Knows neither what
is learnt nor when.
"""

import math
from collections.abc import Iterable

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from webui.errors import TrainingError


def start_accelerator(device: str, precision: str) -> Accelerator:
    """The `Accelerator` of one run. Raises `TrainingError` for a device or precision that this machine does not have.

    accelerate keeps device and precision once per process, but an engine trains many jobs one after the other, so what
    the last one chose is forgotten first. Hence one run at a time per process.
    """
    on_card = device != "cpu"
    if on_card and not torch.cuda.is_available():
        raise TrainingError("There is no graphics card '{device}' here. Train on the CPU.", device=device)
    if precision == "fp16" and not on_card:
        raise TrainingError("fp16 is trained on graphics cards only. Choose fp32 or bf16 for the CPU.")
    many = torch.distributed.is_available() and torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=not many)
    if ":" in device and not many:
        torch.cuda.set_device(device)
    try:
        return Accelerator(cpu=not on_card, mixed_precision="no" if precision == "fp32" else precision)
    except ValueError as error:
        raise TrainingError(
            "{device} does not train in {precision}. Choose fp32.", device=device, precision=precision
        ) from error


class Learner:
    """A set of trained weights and their AdamW (Loshchilov & Hutter 2019). Weights are fp32 in every precision."""

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        accelerator: Accelerator,
        *,
        betas: tuple[float, float],
        weight_decay: float,
        gradient_norm: float,
    ) -> None:
        self.weights = list(weights)
        if wrong := {weight.dtype for weight in self.weights} - {torch.float32}:
            raise ValueError(f"Trained weights must be float32, whatever the precision; got {wrong}.")
        self.optimizer = torch.optim.AdamW(self.weights, betas=betas, weight_decay=weight_decay, fused=True)
        self._accelerator = accelerator
        self._norm = gradient_norm

    def change(self, rate: float) -> bool:
        """One optimiser step with the gradients at hand; False, and nothing changes, when they are not numbers.

        fp16 is the exception: there the scaler leaves out a step that overflows and tries a smaller scale.
        """
        if all(weight.grad is None for weight in self.weights):
            return True
        self._average_over_processes()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        scaler = self._accelerator.scaler
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.weights, self._norm)
        if scaler is not None:
            scaler.step(self.optimizer)
        elif math.isfinite(float(norm)):
            self.optimizer.step()
        else:
            return False
        self.optimizer.zero_grad()
        return True

    def _average_over_processes(self) -> None:
        """By hand and not by DistributedDataParallel: a loss calls its networks as it likes, in parts or many times."""
        if self._accelerator.num_processes == 1:
            return
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in self.weights]
        mean = self._accelerator.reduce(torch.cat([each.flatten() for each in gradients]), "mean")
        for weight, part in zip(self.weights, mean.split([each.numel() for each in gradients]), strict=True):
            weight.grad = part.view_as(weight)
