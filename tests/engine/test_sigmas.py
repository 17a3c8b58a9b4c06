"""Schedules against published vectors and diffusers' own timesteps."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from webui.engine.samplers import SAMPLERS
from webui.engine.sigmas import (
    NoiseTable,
    Rule,
    ScheduleOptions,
    _beta_quantile,
    exponential,
    karras,
    lcm_spacing,
    noise_table,
    own_spacing,
    schedule,
    uniform,
)
from webui.errors import CheckpointError, InvalidRequest, UnknownName
from webui.registry import SCHEDULES

pytestmark = pytest.mark.torch

VECTORS = {
    "Karras": "14.6146 9.1029 5.4784 3.1686 1.7494 .9141 .4469 .2014 .0819 .0292",
    "Exponential": "14.6146 7.3249 3.6712 1.8400 .9222 .4622 .2317 .1161 .0582 .0292",
    "Uniform": "14.6146 7.8399 4.6092 2.9183 1.9502 1.3449 .9324 .6250 .3687 .0292",
    "SGM Uniform": "14.6146 8.3072 5.0924 3.3251 2.2797 1.6156 1.1629 .8319 .5712 .3437",
    "Normal": "14.6146 7.8399 4.6092 2.9183 1.9502 1.3449 .9324 .6250 .3687 .0292",
    "Polyexponential": "14.6146 7.3249 3.6712 1.8400 .9222 .4622 .2317 .1161 .0582 .0292",
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
    own: dict[str, Rule] = {
        **dict.fromkeys(("DPM2", "DPM2 a", "DPM++ 2M", "DPM++ SDE", "DPM++ 2S a", "Restart"), karras),
        **dict.fromkeys(("DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"), exponential),
        **dict.fromkeys(("DDIM", "DDIM CFG++", "PLMS", "DDPM"), own_spacing),
        "LCM": lcm_spacing,
    }
    for name, sampler in SAMPLERS.items():
        levels = schedule("Automatic", table(), 7, sampler.own_schedule)
        assert levels == own.get(name, uniform)(table(), 7), name


@pytest.mark.parametrize("name", ["Beta", "Karras", "Exponential"])
def test_a_schedule_gives_diffusers_levels(name: str) -> None:
    from diffusers import EulerDiscreteScheduler

    option = {f"use_{name.lower()}_sigmas": True}
    theirs = EulerDiscreteScheduler(**SD1, timestep_spacing="linspace", **option)
    theirs.set_timesteps(13)
    assert schedule(name, table(), 13, own_spacing) == pytest.approx(theirs.sigmas.tolist(), rel=1e-4)


def test_the_beta_quantile_is_scipys() -> None:
    """scipy 1.17's stats.beta.ppf(share, 0.6, 0.6)."""
    known = {
        0.0: 0.0,
        1e-6: 1.8558824624053043e-10,
        0.01: 0.0008612388215429059,
        0.25: 0.17568037865269498,
        0.5: 0.5,
        0.9: 0.9604155944112192,
        0.999: 0.9999814412614826,
        1.0: 1.0,
    }
    for share, quantile in known.items():
        assert _beta_quantile(share, 0.6) == pytest.approx(quantile, rel=1e-9, abs=1e-14)


def test_ddims_schedule_is_that_of_its_paper_whatever_the_checkpoint_prefers() -> None:
    picked = [float(table().sigmas[timestep]) for timestep in (801, 601, 401, 201, 1)]
    assert schedule("DDIM", table(timestep_spacing="trailing"), 5, uniform) == pytest.approx([*picked, 0])


@pytest.mark.parametrize("steps", [1, 4, 8, 13, 50])
def test_lcm_takes_the_timesteps_of_diffusers(steps: int) -> None:
    from diffusers import LCMScheduler

    theirs = LCMScheduler(**SD1)
    theirs.set_timesteps(steps, original_inference_steps=50)
    expected = [float(table().sigmas[timestep]) for timestep in theirs.timesteps]
    assert lcm_spacing(table(), steps) == pytest.approx([*expected, 0])
    assert len(set(lcm_spacing(table(), 150))) == 151


def test_align_your_steps_has_the_published_levels_and_interpolates_their_logarithms() -> None:
    levels = schedule("Align Your Steps", table(), 11, own_spacing)
    assert levels == pytest.approx([14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029, 0])
    between = schedule("Align Your Steps", table(), 21, own_spacing)
    assert between[::2] == pytest.approx([*levels[:-1], between[-2]][:11], rel=1e-6)
    assert between[1] == pytest.approx((14.615 * 6.475) ** 0.5)
    sdxl = schedule("Align Your Steps", replace(table(), is_sdxl=True), 11, own_spacing)
    assert sdxl[:4] == pytest.approx([14.615, 6.315, 3.771, 2.181])


def test_kl_optimal_is_even_in_the_arctangent_and_stops_at_the_lowest_level() -> None:
    levels = schedule("KL Optimal", table(), 9, own_spacing)
    angles = [math.atan(level) for level in levels]
    assert [high - low for high, low in pairwise(angles)] == pytest.approx([(angles[0] - angles[-1]) / 9] * 9)
    assert (levels[0], levels[-1]) == pytest.approx((table().largest, table().smallest))


BETWEEN = ("Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Normal", "Beta")


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "Automatic"])
def test_the_ends_asked_for_hold_where_a_schedule_is_free_to_choose(name: str) -> None:
    levels = schedule(name, table(), 6, own_spacing, ScheduleOptions(sigma_min=0.1, sigma_max=8.0))
    if name not in BETWEEN:
        assert levels == schedule(name, table(), 6, own_spacing)
        return
    assert levels[0] == pytest.approx(8.0)
    lowest = min(level for level in levels if level > 0)
    assert 0.1 < lowest < 1 if name == "SGM Uniform" else lowest == pytest.approx(0.1)
    assert all(high > low for high, low in pairwise(levels))


def test_rho_bends_karras_and_polyexponential() -> None:
    middle = karras(table(), 3, ScheduleOptions(rho=2.0))[1]
    assert middle == pytest.approx(((table().largest ** 0.5 + table().smallest ** 0.5) / 2) ** 2)
    assert karras(table(), 9, ScheduleOptions(rho=7.0)) == karras(table(), 9)
    bent = schedule("Polyexponential", table(), 3, own_spacing, ScheduleOptions(rho=2.0))[1]
    share = math.log(bent / table().smallest) / math.log(table().largest / table().smallest)
    assert share == pytest.approx(0.25)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_discarding_leaves_out_the_next_to_last_of_one_more(name: str, steps: int) -> None:
    levels = schedule(name, table(), steps, own_spacing, ScheduleOptions(discard_next_to_last=True))
    more = schedule(name, table(), steps + 1, own_spacing)
    assert levels == (*more[:-2], more[-1])


@pytest.mark.parametrize("name", SAMPLERS)
def test_dpm2_and_3m_sde_always_discard(name: str) -> None:
    sampler = SAMPLERS[name]
    does = sampler.levels("Karras", table(), 8, ScheduleOptions()) != karras(table(), 8)
    assert does == (name in ("DPM2", "DPM2 a", "DPM++ 3M SDE"))


def test_ends_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"14.6146\) must be above the lowest \(20"):
        karras(table(), 9, ScheduleOptions(sigma_min=20.0))


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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Polyexponential", {"rho": 20.0}),
        ("Normal", {"sigma_min": 20.0, "sigma_max": 30.0}),
        ("Karras", {"rho": 0.1}),
        ("Karras", {"rho": 0.002}),
    ],
)
def test_levels_that_do_not_fall_are_refused_in_words(name: str, options: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest, match=name):
        schedule(name, table(), 20, karras, ScheduleOptions(**options))
