"""Samplers: how noise becomes latents, one step at a time, one short function each.

Every sampler sees the model as `denoise(x, sigma) -> pred_original` and x as picture plus sigma times noise
(Karras et al. 2022, arXiv:2206.00364, in the manner of k-diffusion). It keeps nothing to itself: what it needs
of earlier steps is `history`, so a run can be put aside after any step and go on elsewhere bit for bit.
This file is their list; knows neither networks nor schedules' rules.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from webui.engine import sigmas as schedules
from webui.engine.samplers import dpm_adaptive, dpm_fast, dpm_solver, euler, timesteps, unipc
from webui.engine.samplers.step import Denoise, History, SamplerOptions, Step, Stepped
from webui.engine.sigmas import NoiseTable, Rule, ScheduleOptions, Sigmas
from webui.errors import UnknownName

__all__ = ("SAMPLERS", "Denoise", "History", "Sampler", "SamplerOptions", "Step", "Stepped", "find_sampler")


def _as_they_are(sigmas: Sigmas) -> Sigmas:
    return sigmas


@dataclass(frozen=True)
class Sampler:
    """A sampler with what the loop must know about it."""

    name: str
    step: Callable[[Denoise, Step], Stepped]
    own_schedule: Rule
    """What "Automatic" means for it."""
    keeps_variance: bool = False
    """Starts from noise times sqrt(1 + sigma²) as in diffusers' variance-preserving schedulers, not times sigma."""
    discards_next_to_last: bool = False
    """Leaves the smallest level out, on which it would waste a step."""
    is_brownian: bool = False
    """Its noise is the path of `brownian.py`, not drawn step by step."""
    is_adaptive: bool = False
    """Its steps depend on all the pictures made together, so each is made alone to be the picture of its seed."""
    arrange: Callable[[Sigmas], Sigmas] = _as_they_are
    """The levels as it walks them, from those of the schedule."""

    def levels(self, schedule: str, table: NoiseTable, steps: int, options: ScheduleOptions) -> Sigmas:
        """`steps` + 1 noise levels of the schedule of that name, not yet arranged. Raises as `schedules.schedule`."""
        if self.discards_next_to_last:
            options = dataclasses.replace(options, discard_next_to_last=True)
        return schedules.schedule(schedule, table, steps, self.own_schedule, options)

    def initial_scale(self, sigma: float) -> float:
        return math.sqrt(1 + sigma**2) if self.keeps_variance else sigma


_ALL = (
    Sampler("Euler", euler.euler, schedules.uniform),
    Sampler("Euler a", euler.euler_ancestral, schedules.uniform),
    Sampler("Heun", euler.heun, schedules.uniform),
    Sampler("LMS", euler.lms, schedules.uniform),
    Sampler("DPM2", euler.dpm2, schedules.karras, discards_next_to_last=True),
    Sampler("DPM2 a", euler.dpm2_ancestral, schedules.karras, discards_next_to_last=True),
    Sampler("DPM++ 2M", dpm_solver.dpmpp_2m, schedules.karras),
    # Not Brownian, so that its pictures stay those of the first version: docs/compatibility.md.
    Sampler("DPM++ 2M SDE", dpm_solver.dpmpp_2m_sde, schedules.exponential),
    Sampler("DPM++ 2M SDE Heun", dpm_solver.dpmpp_2m_sde_heun, schedules.exponential, is_brownian=True),
    Sampler(
        "DPM++ 3M SDE", dpm_solver.dpmpp_3m_sde, schedules.exponential, discards_next_to_last=True, is_brownian=True
    ),
    Sampler("DPM++ SDE", dpm_solver.dpmpp_sde, schedules.karras, is_brownian=True),
    Sampler("DPM++ 2S a", dpm_solver.dpmpp_2s_ancestral, schedules.karras),
    Sampler("DPM fast", dpm_fast.dpm_fast, schedules.uniform, arrange=dpm_fast.one_level_per_call),
    Sampler("DPM adaptive", dpm_adaptive.dpm_adaptive, schedules.uniform, arrange=dpm_adaptive.marks, is_adaptive=True),
    Sampler("Restart", euler.restart, schedules.karras, arrange=euler.with_restarts),
    Sampler("DDIM", timesteps.ddim, schedules.own_spacing, keeps_variance=True),
    Sampler("DDIM CFG++", timesteps.ddim_cfg_pp, schedules.own_spacing, keeps_variance=True),
    Sampler("PLMS", timesteps.plms, schedules.own_spacing, keeps_variance=True),
    Sampler("UniPC", unipc.unipc, schedules.uniform, keeps_variance=True),
    Sampler("DDPM", timesteps.ddpm, schedules.own_spacing, keeps_variance=True),
    Sampler("LCM", timesteps.lcm, schedules.lcm_spacing, keeps_variance=True),
)

SAMPLERS: Mapping[str, Sampler] = {sampler.name: sampler for sampler in _ALL}
"""The implementations of `registry.SAMPLERS`."""


def find_sampler(name: str) -> Sampler:
    if name not in SAMPLERS:
        raise UnknownName("sampler", name, SAMPLERS)
    return SAMPLERS[name]
