"""What eta, churn, noise scale and seed delta do to samplers, and runs that are put aside after every step."""

import pytest
import torch

from tests.engine.helpers import ALL_SAMPLERS, gaussian_mixture
from webui.engine.denoise import Plan, SamplerState, denoise
from webui.engine.samplers import SAMPLERS, SamplerOptions
from webui.engine.seeds import PictureNoise, Seeds
from webui.engine.sigmas import ScheduleOptions, Sigmas, noise_table
from webui.engine.state import SavedJob, dump, load

pytestmark = pytest.mark.torch

SHAPE = (4, 6, 5)
STEPS = 22
"""Enough for Restart to go up again."""
CHURNING = {"Euler", "Heun", "DPM2"}
HEEDS_ETA = {
    *(
        "Euler a",
        "DPM2 a",
        "DPM++ 2S a",
        "DPM fast",
        "DPM adaptive",
        "DPM++ SDE",
        "DPM++ 2M SDE",
        "DPM++ 2M SDE Heun",
        "DPM++ 3M SDE",
    ),
}
HEEDS_DDIM_ETA = {"DDIM", "DDIM CFG++"}
HEEDS_NOISE = HEEDS_ETA | {"Restart", "DDPM", "LCM"}
"""Samplers that add noise when left alone."""


class Mixture:
    """The Gaussian mixture as the loop wants its model."""

    is_full_precision = True

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        return gaussian_mixture(torch.float32)(x, sigma)

    def to_full_precision(self) -> None:
        raise AssertionError("there are no other numbers than fp32 here")


def levels(name: str, steps: int = STEPS, *, is_zero_snr: bool = False) -> Sigmas:
    from diffusers import DDIMScheduler

    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    alphas = DDIMScheduler(**betas, rescale_betas_zero_snr=is_zero_snr).alphas_cumprod
    table = noise_table({"timestep_spacing": "trailing" if is_zero_snr else "leading"}, alphas)
    sampler = SAMPLERS[name]
    return sampler.arrange(sampler.levels("Automatic", table, steps, ScheduleOptions()))


def plan(name: str, sigmas: Sigmas, seeds: tuple[int, ...] = (3,), delta: int = 0, **options: float) -> Plan:
    noise = PictureNoise([Seeds(seed) for seed in seeds], SHAPE, torch.device("cpu"))
    return Plan(SAMPLERS[name], sigmas, Mixture(), noise, options=SamplerOptions(**options), eta_noise_seed_delta=delta)


def result(made: Plan, state: SamplerState | None = None) -> torch.Tensor:
    return list(denoise(made, state or made.first_state()))[-1].state.x


def changes(name: str, *, delta: int = 0, **options: float) -> bool:
    """Whether the picture is another one than without these options."""
    sigmas = levels(name)
    return not torch.equal(result(plan(name, sigmas)), result(plan(name, sigmas, delta=delta, **options)))


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_each_option_changes_exactly_the_samplers_whose_method_has_it(name: str) -> None:
    assert changes(name, eta=0.5) == (name in HEEDS_ETA)
    assert changes(name, ddim_eta=0.5) == (name in HEEDS_DDIM_ETA)
    assert changes(name, s_churn=8.0) == (name in CHURNING)
    assert changes(name, s_noise=0.98) == (name in HEEDS_NOISE)


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_the_seed_delta_changes_all_noise_but_the_first_and_brownian(name: str) -> None:
    draws = name in HEEDS_NOISE and not SAMPLERS[name].is_brownian
    assert changes(name, delta=31337) == draws
    plain, other = plan(name, levels(name)), plan(name, levels(name), delta=31337)
    assert torch.equal(plain.first_state().x, other.first_state().x)


@pytest.mark.parametrize(("delta", "seed"), [(4, 7), (-1, 2), (-5, 2**32 - 2)])
def test_the_seed_delta_is_added_to_the_seed(delta: int, seed: int) -> None:
    """So that the noise of seed 3 with delta 4 is what seed 7 draws first; below 0 it goes on from 2^32 down."""
    made = plan("LCM", (2.0, 1.0), delta=delta)
    state = made.first_state()
    x, clean = result(made, state), Mixture()(state.x, 2.0)
    expected = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close((x - clean)[0], expected, rtol=0, atol=1e-5)


def test_churn_keeps_to_its_levels() -> None:
    sigmas = levels("Euler")
    plain = result(plan("Euler", sigmas))
    assert torch.equal(plain, result(plan("Euler", sigmas, s_churn=8.0, s_tmin=20.0)))
    assert torch.equal(plain, result(plan("Euler", sigmas, s_churn=8.0, s_tmax=0.001)))
    low, high = (result(plan("Euler", sigmas, s_churn=8.0, **limit)) for limit in ({"s_tmax": 1.0}, {"s_tmin": 1.0}))
    assert not torch.equal(low, high)


def test_churn_raises_the_level_as_the_paper_says() -> None:
    """gamma is S_churn / steps, at most sqrt(2) - 1; one Euler step from there, by hand."""
    for churn, gamma in ((0.25, 0.25), (9.0, 2**0.5 - 1)):
        made = plan("Euler", (2.0, 1.0), s_churn=churn, s_noise=0.9)
        state = made.first_state()
        noise = torch.Generator()
        noise.set_state(state.noise[0])
        raised = 2.0 * (1 + gamma)
        x = state.x + torch.randn(SHAPE, generator=noise) * 0.9 * (raised**2 - 4) ** 0.5
        expected = x + (x - Mixture()(x, raised)) / raised * (1 - raised)
        torch.testing.assert_close(result(made, state), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", sorted(HEEDS_ETA | HEEDS_DDIM_ETA))
def test_at_eta_zero_nothing_is_random_but_the_beginning(name: str) -> None:
    sigmas = levels(name)
    without = plan(name, sigmas, eta=0.0)
    other = plan(name, sigmas, eta=0.0, s_noise=0.5, delta=5)
    torch.testing.assert_close(result(without), result(other), rtol=0, atol=0)


def test_more_steps_refine_a_brownian_picture_and_change_one_of_drawn_noise() -> None:
    def apart(name: str) -> float:
        coarse, fine = (result(plan(name, levels(name, steps))) for steps in (40, 80))
        return float((coarse - fine).abs().mean())

    assert apart("DPM++ SDE") < apart("DPM++ 2S a") / 3
    assert apart("DPM++ 3M SDE") < apart("DPM++ 2M SDE") / 3


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_a_run_put_aside_after_any_step_goes_on_to_the_same_bits(name: str) -> None:
    sigmas = levels(name)
    options = {"s_churn": 3.0, "ddim_eta": 0.5, "delta": 9}
    made = plan(name, sigmas, (3, 4), **options)
    states = [step.state for step in denoise(made, made.first_state())]
    for state in states[:-1]:
        saved = load(dump(SavedJob((0, 1), state)), torch.device("cpu")).sampler
        assert torch.equal(result(plan(name, sigmas, (3, 4), **options), saved), states[-1].x)


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_every_sampler_begins_at_pure_noise_of_a_zero_terminal_snr_model(name: str) -> None:
    """The highest level is 4096 there; the picture must be one all the same."""
    sigmas = levels(name, is_zero_snr=True)
    assert sigmas[0] == pytest.approx(4096, rel=1e-3)
    x = result(plan(name, sigmas))
    assert torch.isfinite(x).all()
    assert float(x.abs().max()) < 4
