"""Noise levels: a model's own table of sigmas, and how a schedule spreads them over the steps.

sigma is the standard deviation of the noise on an unscaled picture (Karras et al. 2022, arXiv:2206.00364):
sigma² = (1 - alphas_cumprod) / alphas_cumprod. Knows no sampler and no network.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from webui.errors import CheckpointError, InvalidRequest, UnknownName

SMALLEST_ALPHA = 2.0**-24
"""Stands for 0 at the last timestep of a zero-terminal-SNR model, so that its sigma (4096) is finite."""

Sigmas = tuple[float, ...]
"""Falling noise levels, one more than there are steps; the last is the level of the finished latents, usually 0."""


@dataclass(frozen=True)
class NoiseTable:
    """The noise levels a model was trained on, and its scheduler's habits of picking timesteps from them."""

    sigmas: torch.Tensor
    """(train_timesteps,), float64, rising."""
    timestep_spacing: str = "leading"
    """"linspace", "leading" or "trailing": Table 2 of Lin et al. 2023 (arXiv:2305.08891)."""
    steps_offset: int = 0
    ends_at_zero: bool = True
    """False: the last step stops at the lowest trained noise level (`set_alpha_to_one` of DDIM is off)."""
    log_sigmas: torch.Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_sigmas", self.sigmas.log())

    @property
    def size(self) -> int:
        return len(self.sigmas)

    @property
    def smallest(self) -> float:
        return float(self.sigmas[0])

    @property
    def largest(self) -> float:
        return float(self.sigmas[-1])

    def timestep(self, sigma: float) -> float:
        """Training timestep of a noise level, between two neighbours linear in log sigma; exact on the table."""
        log_sigma = torch.tensor(sigma, dtype=torch.float64).log()
        low = int((log_sigma - self.log_sigmas).ge(0).sum()) - 1
        low = min(max(low, 0), self.size - 2)
        below, above = self.log_sigmas[low], self.log_sigmas[low + 1]
        share = float(((log_sigma - below) / (above - below)).clamp(0, 1))
        return low + share

    def sigma(self, timestep: float) -> float:
        """Noise level of a training timestep, the inverse of `timestep`."""
        low = min(max(math.floor(timestep), 0), self.size - 2)
        share = min(max(timestep - low, 0.0), 1.0)
        return float(torch.lerp(self.log_sigmas[low], self.log_sigmas[low + 1], share).exp())


def noise_table(config: Mapping[str, Any], alphas_cumprod: torch.Tensor) -> NoiseTable:
    """The table that a scheduler_config.json describes. Raises `CheckpointError` for a spacing that is not known."""
    spacing = str(config.get("timestep_spacing", "leading"))
    if spacing not in ("linspace", "leading", "trailing"):
        raise CheckpointError(
            "scheduler_config.json names the timestep_spacing '{spacing}'; "
            "linspace, leading and trailing are possible.",
            spacing=spacing[:40],
        )
    alphas = alphas_cumprod.double().clamp(min=SMALLEST_ALPHA)
    return NoiseTable(
        sigmas=((1 - alphas) / alphas).sqrt(),
        timestep_spacing=spacing,
        steps_offset=int(config.get("steps_offset", 0)),
        ends_at_zero=bool(config.get("set_alpha_to_one", True)),
    )


def uniform(table: NoiseTable, steps: int) -> Sigmas:
    """Timesteps evenly from the last to the first (k-diffusion's `get_sigmas`)."""
    return (*(table.sigma(timestep) for timestep in _line(table.size - 1, 0, steps)), 0.0)


def karras(table: NoiseTable, steps: int) -> Sigmas:
    """Even steps in sigma^(1/7): Karras et al. 2022, eq. 5 with rho = 7."""
    rho = 7.0
    ramp = _line(table.largest ** (1 / rho), table.smallest ** (1 / rho), steps)
    return (*(root**rho for root in ramp), 0.0)


def exponential(table: NoiseTable, steps: int) -> Sigmas:
    """Even steps in log sigma."""
    return (*(math.exp(level) for level in _line(math.log(table.largest), math.log(table.smallest), steps)), 0.0)


def sgm_uniform(table: NoiseTable, steps: int) -> Sigmas:
    """Timesteps evenly with one more than asked for, the last left out (Stability's generative-models)."""
    return (*(table.sigma(timestep) for timestep in _line(table.size - 1, 0, steps + 1)[:-1]), 0.0)


def simple(table: NoiseTable, steps: int) -> Sigmas:
    """Every (size / steps)-th entry of the model's table, from the top."""
    stride = table.size / steps
    return (*(float(table.sigmas[-(1 + int(step * stride))]) for step in range(steps)), 0.0)


def own_spacing(table: NoiseTable, steps: int) -> Sigmas:
    """The timesteps that the checkpoint's scheduler_config.json asks for, as diffusers' `DDIMScheduler` picks them.

    Each step ends at the timestep that the next one begins with. diffusers' own step ends at timestep - size // steps:
    another one when "trailing" or "linspace" timesteps are not evenly spaced (13 steps; with 10 or 20 they are).
    """
    if table.timestep_spacing == "linspace":
        timesteps = [round(timestep) for timestep in _line(table.size - 1, 0, steps)]
    elif table.timestep_spacing == "leading":
        stride = table.size // steps
        timesteps = [step * stride + table.steps_offset for step in reversed(range(steps))]
    else:
        timesteps = [round(table.size - step * table.size / steps) - 1 for step in range(steps)]
    end = 0.0 if table.ends_at_zero else table.smallest
    return (*(float(table.sigmas[min(timestep, table.size - 1)]) for timestep in timesteps), end)


SCHEDULE_RULES: Mapping[str, Callable[[NoiseTable, int], Sigmas]] = {
    "Uniform": uniform,
    "Karras": karras,
    "Exponential": exponential,
    "SGM Uniform": sgm_uniform,
    "Simple": simple,
}
"""Every name of `registry.SCHEDULES` except "Automatic", which stands for the sampler's own."""


def schedule(name: str, table: NoiseTable, steps: int, own: Callable[[NoiseTable, int], Sigmas]) -> Sigmas:
    """`steps` + 1 falling noise levels. "Automatic" is `own`, the sampler's default.

    Raises `UnknownName`, or `InvalidRequest` for more steps than the model has noise levels.
    """
    if steps > table.size:
        raise InvalidRequest(
            "This checkpoint knows {levels} noise levels. Use at most as many sampling steps.", levels=table.size
        )
    if name == "Automatic":
        return own(table, steps)
    if name not in SCHEDULE_RULES:
        raise UnknownName("schedule", name, ("Automatic", *SCHEDULE_RULES))
    return SCHEDULE_RULES[name](table, steps)


def _line(first: float, last: float, count: int) -> list[float]:
    """`count` even values from `first` to `last`; a single one is `first`."""
    return [first + (last - first) * index / (count - 1) for index in range(count)] if count > 1 else [first]
