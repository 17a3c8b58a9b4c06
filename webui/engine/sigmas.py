"""Noise levels: a model's own table of sigmas, and how a schedule spreads them over the steps.

sigma is the standard deviation of the noise on an unscaled picture (Karras et al. 2022, arXiv:2206.00364):
sigma² = (1 - alphas_cumprod) / alphas_cumprod. Knows no sampler and no network.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

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
    is_sdxl: bool = False
    """Trained as SDXL was, for which "Align Your Steps" has levels of its own."""
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


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """What people may ask of a schedule beside its name and number of steps."""

    sigma_min: float = 0.0
    sigma_max: float = 0.0
    """Lowest and highest noise level; 0: the model's own. Schedules that pick from the model's table keep to it."""
    rho: float = 0.0
    """Bend of Karras (7) and Polyexponential (1); 0: their own."""
    discard_next_to_last: bool = False
    """One more level than asked for, of which the last above zero is left out again."""

    def ends(self, table: NoiseTable) -> tuple[float, float]:
        """(highest, lowest) noise level. Raises `InvalidRequest` when they are the wrong way round."""
        highest, lowest = self.sigma_max or table.largest, self.sigma_min or table.smallest
        if highest <= lowest:
            raise InvalidRequest(
                "The highest noise level ({highest}) must be above the lowest ({lowest}). "
                "Set both to 0 for the checkpoint's own.",
                highest=f"{highest:g}", lowest=f"{lowest:g}",
            )  # fmt: skip
        return highest, lowest

    def timestep_ends(self, table: NoiseTable) -> tuple[float, float]:
        """`ends` as training timesteps."""
        highest, lowest = self.ends(table)
        return (
            table.timestep(highest) if self.sigma_max else table.size - 1,
            table.timestep(lowest) if self.sigma_min else 0,
        )


AS_USUAL = ScheduleOptions()


class Rule(Protocol):
    """A schedule: `steps` + 1 falling noise levels."""

    def __call__(self, table: NoiseTable, steps: int, options: ScheduleOptions = AS_USUAL, /) -> Sigmas: ...


def uniform(table: NoiseTable, steps: int, _options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Timesteps evenly from the last to the first (k-diffusion's `get_sigmas`)."""
    return (*(table.sigma(timestep) for timestep in _line(table.size - 1, 0, steps)), 0.0)


def normal(table: NoiseTable, steps: int, options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """`uniform` that keeps to the levels asked for."""
    highest, lowest = options.timestep_ends(table)
    return (*(table.sigma(timestep) for timestep in _line(highest, lowest, steps)), 0.0)


def karras(table: NoiseTable, steps: int, options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Even steps in sigma^(1/rho): Karras et al. 2022, eq. 5 with rho = 7."""
    return (*karras_between(*options.ends(table), steps, options.rho or 7.0), 0.0)


def karras_between(highest: float, lowest: float, count: int, rho: float = 7.0) -> Sigmas:
    """`count` levels of Karras et al. 2022, eq. 5, without the 0 at the end."""
    return tuple(root**rho for root in _line(highest ** (1 / rho), lowest ** (1 / rho), count))


def exponential(table: NoiseTable, steps: int, options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Even steps in log sigma."""
    highest, lowest = options.ends(table)
    return (*(math.exp(level) for level in _line(math.log(highest), math.log(lowest), steps)), 0.0)


def polyexponential(table: NoiseTable, steps: int, options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Log sigma falls as a power of the way left (k-diffusion): with rho = 1 that is `exponential`."""
    highest, lowest = options.ends(table)
    left = (share ** (options.rho or 1.0) for share in _line(1, 0, steps))
    return (*(lowest * (highest / lowest) ** share for share in left), 0.0)


def sgm_uniform(table: NoiseTable, steps: int, options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Timesteps evenly with one more than asked for, the last left out (Stability's generative-models)."""
    highest, lowest = options.timestep_ends(table)
    return (*(table.sigma(timestep) for timestep in _line(highest, lowest, steps + 1)[:-1]), 0.0)


def kl_optimal(table: NoiseTable, steps: int, options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Even steps in arctan sigma, which are best for Gaussian data: Sabour et al. 2024 (arXiv:2404.14507). It stops at
    the lowest level, not at 0, as in AUTOMATIC1111."""
    highest, lowest = options.ends(table)
    return tuple(math.tan(angle) for angle in _line(math.atan(highest), math.atan(lowest), steps + 1))


ALIGNED_SD1 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
ALIGNED_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)


def align_your_steps(table: NoiseTable, steps: int, _options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Levels optimised for Stable Diffusion 1.5 and SDXL, between them linear in log sigma: Sabour et al. 2024."""
    logs = [math.log(level) for level in (ALIGNED_SDXL if table.is_sdxl else ALIGNED_SD1)]
    result = []
    for place in _line(0, len(logs) - 1, steps):
        low = min(math.floor(place), len(logs) - 2)
        result.append(math.exp(logs[low] + (place - low) * (logs[low + 1] - logs[low])))
    return (*result, 0.0)


def simple(table: NoiseTable, steps: int, _options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Every (size / steps)-th entry of the model's table, from the top."""
    stride = table.size / steps
    return (*(float(table.sigmas[-(1 + int(step * stride))]) for step in range(steps)), 0.0)


def ddim(table: NoiseTable, steps: int, _options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """DDIM's "leading" timesteps with offset 1, whatever the checkpoint's scheduler prefers. Always `steps` of them;
    AUTOMATIC1111 makes one more where they do not divide the table."""
    stride = table.size // steps
    timesteps = (min(step * stride + 1, table.size - 1) for step in reversed(range(steps)))
    return (*(float(table.sigmas[timestep]) for timestep in timesteps), 0.0)


def beta(table: NoiseTable, steps: int, options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Quantiles of the beta distribution with both shapes 0.6, dense at both ends: Lee et al. 2024
    (arXiv:2407.12173), in sigma as AUTOMATIC1111 and diffusers have it."""
    highest, lowest = options.ends(table)
    return (*(lowest + _beta_quantile(share, 0.6) * (highest - lowest) for share in _line(1, 0, steps)), 0.0)


def _beta_quantile(share: float, shape: float) -> float:
    """x below which `share` of the beta distribution with both shapes `shape` < 1 lies, to about 1e-14.

    Newton's method on the power series of the distribution function (DLMF 8.17.7), in the half where x <= 0.5.
    """
    if share > 0.5:
        return 1 - _beta_quantile(1 - share, shape)
    whole = math.gamma(shape) ** 2 / math.gamma(2 * shape)
    x: float = (share * shape * whole) ** (1 / shape)
    for _ in range(50 if share > 0 else 0):
        below, weight = 0.0, 1.0
        for n in range(60):
            below += weight * x ** (shape + n) / (shape + n)
            weight *= (n + 1 - shape) / (n + 1)
        change = (below / whole - share) * whole / (x * (1 - x)) ** (shape - 1)
        x -= change
        if abs(change) < 1e-15:
            break
    return x


def lcm_spacing(table: NoiseTable, steps: int, _options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """Evenly from the 50 timesteps on which latent consistency models are distilled, as diffusers' `LCMScheduler`."""
    trained = max(50, steps)
    stride = table.size // trained
    picked = (trained - math.floor(step * trained / steps) for step in range(steps))
    return (*(float(table.sigmas[number * stride - 1]) for number in picked), 0.0)


def own_spacing(table: NoiseTable, steps: int, _options: ScheduleOptions = AS_USUAL) -> Sigmas:
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


SCHEDULE_RULES: Mapping[str, Rule] = {
    "Uniform": uniform,
    "Karras": karras,
    "Exponential": exponential,
    "Polyexponential": polyexponential,
    "SGM Uniform": sgm_uniform,
    "KL Optimal": kl_optimal,
    "Align Your Steps": align_your_steps,
    "Simple": simple,
    "Normal": normal,
    "DDIM": ddim,
    "Beta": beta,
}
"""Every name of `registry.SCHEDULES` except "Automatic", which stands for the sampler's own."""


def schedule(name: str, table: NoiseTable, steps: int, own: Rule, options: ScheduleOptions = AS_USUAL) -> Sigmas:
    """`steps` + 1 falling noise levels. "Automatic" is `own`, the sampler's default.

    Raises `UnknownName`, or `InvalidRequest` for more steps than the model has noise levels.
    """
    count = steps + 1 if options.discard_next_to_last else steps
    if count > table.size:
        raise InvalidRequest(
            "This checkpoint knows {levels} noise levels. Use at most as many sampling steps.", levels=table.size
        )
    if name != "Automatic" and name not in SCHEDULE_RULES:
        raise UnknownName("schedule", name, ("Automatic", *SCHEDULE_RULES))
    rule = own if name == "Automatic" else SCHEDULE_RULES[name]
    try:
        sigmas = rule(table, count, options)
    except (OverflowError, ZeroDivisionError):
        sigmas = ()
    if not _falls(sigmas):
        raise InvalidRequest(
            "Lowest and highest noise level and rho do not go together with the schedule {name}: its levels do not "
            "fall from step to step. Set them to 0 for the checkpoint's own.",
            name=name,
        )
    return (*sigmas[:-2], sigmas[-1]) if options.discard_next_to_last else sigmas


def _falls(sigmas: Sigmas) -> bool:
    """Finite levels above 0, each below the one before; the last may be 0, or once more that before it."""
    steps = sigmas[:-1]
    return bool(
        steps
        and math.isfinite(steps[0])
        and steps[-1] > 0
        and steps[-1] >= sigmas[-1]
        and all(after < before for before, after in itertools.pairwise(steps))
    )


def _line(first: float, last: float, count: int) -> list[float]:
    """`count` even values from `first` to `last`; a single one is `first`."""
    return [first + (last - first) * index / (count - 1) for index in range(count)] if count > 1 else [first]
