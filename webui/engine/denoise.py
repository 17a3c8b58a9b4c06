"""The denoising loop: a generator that yields after every step, so that its consumer shows, stops or saves.

Knows samplers only by their contract and the model only as `denoise(x, sigma)`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from webui.engine.samplers import History, Sampler, SamplerOptions, Step, Stepped
from webui.engine.seeds import PictureNoise
from webui.engine.sigmas import Sigmas
from webui.errors import CheckpointError


class Denoiser(Protocol):
    """A model under its conditioning, able to repeat a step with more precision."""

    def __call__(self, x: torch.Tensor, sigma: float, /) -> torch.Tensor: ...

    @property
    def is_full_precision(self) -> bool: ...

    def to_full_precision(self) -> None: ...


class StepHooks(Protocol):
    """What extensions change around a step."""

    def before_step(self, x: torch.Tensor, /) -> torch.Tensor: ...

    def after_step(self, x: torch.Tensor, pred_original: torch.Tensor, /) -> torch.Tensor: ...


@dataclass(frozen=True)
class SamplerState:
    """Everything the next step depends on: going on from a saved one gives the same bits."""

    x: torch.Tensor
    """(pictures, channels, height, width), fp32, at noise level sigmas[index]."""
    index: int
    """Steps done."""
    noise: tuple[torch.Tensor, ...]
    """State of each picture's generator."""
    history: History = field(default_factory=dict)
    is_full_precision: bool = False
    """A step was not a number at the model's own precision, so all later ones run in fp32."""


@dataclass(frozen=True)
class Plan:
    """One run of the loop."""

    sampler: Sampler
    sigmas: Sigmas
    denoise: Denoiser
    noise: PictureNoise
    begin: Callable[[torch.Tensor, float], torch.Tensor] | None = None
    """From standard normal noise and the highest level to the first x; None: nothing but noise."""
    options: SamplerOptions = field(default_factory=SamplerOptions)
    eta_noise_seed_delta: int = 0
    """Not 0: all noise after the first comes from generators of the pictures' seeds + this (AUTOMATIC1111's ENSD)."""
    until: int | None = None
    """Steps after which it ends although levels are left, for another plan to go on; None: it goes to the last."""

    hooks: StepHooks | None = None

    @property
    def total(self) -> int:
        return len(self.sigmas) - 1

    @property
    def end(self) -> int:
        return self.total if self.until is None else self.until

    def first_state(self) -> SamplerState:
        """Noise at the highest level."""
        noise, highest = self.noise.first(), self.sigmas[0]
        x = self.begin(noise, highest) if self.begin else noise * self.sampler.initial_scale(highest)
        if self.eta_noise_seed_delta:
            self.noise.begin_again(self.eta_noise_seed_delta)
        return SamplerState(x, 0, self.noise.save(), is_full_precision=False)

    def step(self, state: SamplerState) -> Step:
        """What the sampler is given to go on from `state`."""
        between = self.noise.between if self.sampler.is_brownian else None
        return Step(state.x, self.sigmas, state.index, self.noise.draw, state.history, self.options, between)


@dataclass(frozen=True)
class DenoiseStep:
    """What is known after one step."""

    index: int
    """Steps done, 1 to `total`."""
    total: int
    pred_original: torch.Tensor
    """(pictures, channels, height, width): the picture as the model sees it now."""
    state: SamplerState
    was_repeated: bool = False
    """The step was redone in fp32."""


@torch.inference_mode()
def denoise(plan: Plan, state: SamplerState) -> Iterator[DenoiseStep]:
    """Go from `state` to the plan's end. Raises `CheckpointError` when a step is not a number even in fp32."""
    plan.noise.restore(state.noise)
    if state.is_full_precision and not plan.denoise.is_full_precision:
        plan.denoise.to_full_precision()
    while state.index < plan.end:
        stepped, was_repeated = _advance(plan, state)
        state = SamplerState(
            stepped.x,
            state.index + 1,
            plan.noise.save(),
            stepped.history,
            is_full_precision=state.is_full_precision or was_repeated,
        )
        yield DenoiseStep(state.index, plan.total, stepped.pred_original, state, was_repeated)


def _advance(plan: Plan, state: SamplerState) -> tuple[Stepped, bool]:
    """One step, and whether it had to be repeated in fp32."""
    if plan.hooks is not None:
        state = replace(state, x=plan.hooks.before_step(state.x))
    step = plan.step(state)
    stepped = plan.sampler.step(plan.denoise, step)
    if _is_number(stepped):
        return _hooked(plan, stepped), False
    if not plan.denoise.is_full_precision:
        plan.denoise.to_full_precision()
        plan.noise.restore(state.noise)
        stepped = plan.sampler.step(plan.denoise, step)
        if _is_number(stepped):
            return _hooked(plan, stepped), True
    raise CheckpointError(
        "The checkpoint's prediction is not a number at step {step} of {total}, in full precision "
        "too. Lower the guidance scale or use another sampling method; if it stays, copy the checkpoint again.",
        step=state.index + 1,
        total=plan.total,
    )


def _hooked(plan: Plan, stepped: Stepped) -> Stepped:
    if plan.hooks is None:
        return stepped
    return replace(stepped, x=plan.hooks.after_step(stepped.x, stepped.pred_original))


def _is_number(stepped: Stepped) -> bool:
    """x alone tells: what is not a number in the estimate is not a number in x."""
    return bool(torch.isfinite(stepped.x).all())
