"""Exponential moving average of weights: owns the averages of what is trained, and nothing else of the networks."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """Average with a ramp, so that early steps do not linger; a decay of 0 switches it off.

    The decay at step k is min(decay, (1 + k) / (10 + k)), as in TensorFlow's ExponentialMovingAverage. Only
    `tensors`, a part of `model`'s state, is averaged: weights that are not trained are never copied.
    """

    def __init__(self, model: nn.Module, tensors: Mapping[str, torch.Tensor], decay: float) -> None:
        self.decay = decay
        self.averages = {name: tensor.detach().clone() for name, tensor in tensors.items()} if decay else {}
        self._model = model
        self._tensors = tensors

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the averages towards the weights after optimiser step `step` (1-based)."""
        keep = min(self.decay, (1 + step) / (10 + step))
        smooth = [name for name, average in self.averages.items() if average.is_floating_point()]
        if smooth:
            move = get_ema_multi_avg_fn(keep)  # type: ignore[no-untyped-call]  # torch ships no annotation for it
            move([self.averages[name] for name in smooth], [self._tensors[name].detach() for name in smooth], step)
        for name in self.averages.keys() - set(smooth):  # counters, e.g. of batch normalisation
            self.averages[name].copy_(self._tensors[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights and is in evaluation mode; afterwards it is as before.

        Weights change places with their averages, nothing is computed: they come back bit for bit.
        """
        modes = {module: module.training for module in self._model.modules()}
        self._swap()
        self._model.eval()
        try:
            yield
        finally:
            self._swap()
            for module, training in modes.items():
                module.training = training

    def _swap(self) -> None:
        for name, average in self.averages.items():
            tensor = self._tensors[name]
            tensor.data, self.averages[name] = average, tensor.data

    @property
    def model(self) -> nn.Module:
        """A new copy of the model with the averaged weights, for evaluation. It shares the weights that are frozen."""
        ours = {id(tensor) for tensor in self._tensors.values()}
        frozen = {id(weight): weight for weight in self._model.parameters() if id(weight) not in ours}
        with self.applied():
            return copy.deepcopy(self._model, frozen).requires_grad_(False)
