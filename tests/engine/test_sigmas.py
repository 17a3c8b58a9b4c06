"""Schedules against published vectors and diffusers' own timesteps."""

from itertools import pairwise

import pytest
import torch

from webui.engine.samplers import SAMPLERS
from webui.engine.sigmas import NoiseTable, noise_table, own_spacing, schedule
from webui.errors import CheckpointError, InvalidRequest, UnknownName
from webui.registry import SCHEDULES

pytestmark = pytest.mark.torch

VECTORS = {
    "Karras": "14.6146 9.1029 5.4784 3.1686 1.7494 .9141 .4469 .2014 .0819 .0292",
    "Exponential": "14.6146 7.3249 3.6712 1.8400 .9222 .4622 .2317 .1161 .0582 .0292",
    "Uniform": "14.6146 7.8399 4.6092 2.9183 1.9502 1.3449 .9324 .6250 .3687 .0292",
    "SGM Uniform": "14.6146 8.3072 5.0924 3.3251 2.2797 1.6156 1.1629 .8319 .5712 .3437",
    "Simple": "14.6146 8.3028 5.0878 3.3211 2.2765 1.6129 1.1606 .8299 .5693 .3417",
}
"""AUTOMATIC1111's schedules of Stable Diffusion 1 with 10 steps, measured on its code."""

SD1 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def table(**config: object) -> NoiseTable:
    from diffusers import DDIMScheduler

    return noise_table(config, DDIMScheduler(**SD1).alphas_cumprod)


@pytest.mark.parametrize("name", VECTORS)
def test_a_schedule_gives_the_published_levels(name: str) -> None:
    levels = schedule(name, table(), 10, own_spacing)
    expected = [float(level) for level in VECTORS[name].split()]
    assert levels[:-1] == pytest.approx(expected, abs=5.1e-5)
    assert levels[-1] == 0


def test_automatic_is_the_samplers_own_schedule() -> None:
    own = {"DPM++ 2M": "Karras", "DPM++ 2M SDE": "Exponential"}
    for name, sampler in SAMPLERS.items():
        levels = schedule("Automatic", table(), 7, sampler.own_schedule)
        if name == "DDIM":
            assert levels == own_spacing(table(), 7)
        else:
            assert levels == schedule(own.get(name, "Uniform"), table(), 7, sampler.own_schedule)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "Automatic"])
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 150])
def test_every_schedule_falls_at_every_step(name: str, steps: int) -> None:
    levels = schedule(name, table(), steps, own_spacing)
    assert len(levels) == steps + 1
    assert all(high > low for high, low in pairwise(levels))


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 4, 13, 20, 50])
def test_ddims_own_spacing_is_that_of_diffusers(spacing: str, steps: int) -> None:
    from diffusers import DDIMScheduler

    offset = 1 if spacing == "leading" and steps > 1 else 0
    scheduler = DDIMScheduler(**SD1, timestep_spacing=spacing, steps_offset=offset)
    scheduler.set_timesteps(steps)
    levels = table(timestep_spacing=spacing, steps_offset=offset)
    expected = [float(levels.sigmas[timestep]) for timestep in scheduler.timesteps]
    # numpy's linspace(0, 999, 1) begins at 0, which would ask for a picture out of no noise at all
    if spacing == "linspace" and steps == 1:
        expected = [levels.largest]
    assert own_spacing(levels, steps)[:-1] == pytest.approx(expected)


def test_without_set_alpha_to_one_the_last_level_is_the_lowest_trained() -> None:
    levels = table(set_alpha_to_one=False)
    assert own_spacing(levels, 5)[-1] == pytest.approx(levels.smallest)
    assert own_spacing(table(set_alpha_to_one=True), 5)[-1] == 0


def test_timestep_and_sigma_are_inverse_and_exact_on_the_table() -> None:
    levels = table()
    for timestep in (0, 1, 500, 998, 999):
        assert levels.timestep(float(levels.sigmas[timestep])) == timestep
    for timestep in (0.25, 333.3, 998.9):
        assert levels.timestep(levels.sigma(timestep)) == pytest.approx(timestep, abs=1e-6)


def test_levels_outside_the_table_take_its_ends() -> None:
    levels = table()
    assert levels.timestep(1e-6) == 0
    assert levels.timestep(1e6) == 999


def test_a_table_that_ends_in_pure_noise_stays_finite() -> None:
    from diffusers import DDIMScheduler

    alphas = DDIMScheduler(**SD1, rescale_betas_zero_snr=True).alphas_cumprod
    levels = noise_table({}, alphas)
    assert torch.isfinite(levels.sigmas).all()
    assert levels.largest == pytest.approx(4096, rel=1e-3)


def test_unknown_names_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(UnknownName, match="Karras"):
        schedule("Linear", table(), 10, own_spacing)
    with pytest.raises(InvalidRequest, match="1000 noise levels"):
        schedule("Karras", table(), 1001, own_spacing)
    with pytest.raises(CheckpointError, match="timestep_spacing 'sideways'"):
        table(timestep_spacing="sideways")
