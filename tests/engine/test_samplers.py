"""Every sampler against diffusers step by step, against the exact solution, and across a break."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.engine.helpers import ALL_SAMPLERS, gaussian_mixture
from webui.engine.samplers import SAMPLERS, Step, Stepped, find_sampler
from webui.engine.sigmas import Sigmas, exponential, karras, noise_table
from webui.errors import UnknownName
from webui.registry import SAMPLERS as NAMES

pytestmark = pytest.mark.torch

SD1 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHAPE = (2, 4, 5, 3)
STEPS = 9


def noises(seed: int = 1, dtype: torch.dtype = torch.float32) -> Callable[[], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(SHAPE, generator=generator, dtype=dtype)


def walk(name: str, sigmas: Sigmas, x: torch.Tensor, draw: Callable[[], torch.Tensor]) -> list[Stepped]:
    """All steps of a sampler on the Gaussian mixture."""
    denoise, steps, history = gaussian_mixture(x.dtype), [], {}
    for index in range(len(sigmas) - 1):
        stepped = SAMPLERS[name].step(denoise, Step(x, sigmas, index, draw, history))
        x, history = stepped.x, stepped.history
        steps.append(stepped)
    return steps


def test_every_name_people_can_choose_is_implemented() -> None:
    assert tuple(SAMPLERS) == NAMES == ALL_SAMPLERS
    with pytest.raises(UnknownName, match="Euler a"):
        find_sampler("Eulerish")


def diffusers_scheduler(name: str) -> Any:
    import diffusers

    plain = {**SD1, "timestep_spacing": "linspace"}
    return {
        "Euler": lambda: diffusers.EulerDiscreteScheduler(**plain, use_karras_sigmas=True),
        "Euler a": lambda: diffusers.EulerAncestralDiscreteScheduler(**plain),
        "Heun": lambda: diffusers.HeunDiscreteScheduler(**plain, use_karras_sigmas=True),
        "DPM++ 2M": lambda: diffusers.DPMSolverMultistepScheduler(**plain, use_karras_sigmas=True),
        "DPM++ 2M SDE": lambda: diffusers.DPMSolverMultistepScheduler(
            **plain, use_karras_sigmas=True, algorithm_type="sde-dpmsolver++"
        ),
        "UniPC": lambda: diffusers.UniPCMultistepScheduler(
            **plain, use_karras_sigmas=True, solver_type="bh2", solver_order=2, final_sigmas_type="zero"
        ),
    }[name]()


def levels_of(scheduler: Any) -> Sigmas:
    """The scheduler's own levels, each once (Heun's lists the inner ones twice)."""
    return tuple(dict.fromkeys(float(sigma) for sigma in scheduler.sigmas))


@pytest.mark.parametrize("name", ["Euler", "Euler a", "Heun"])
def test_samplers_over_sigma_equal_diffusers_step_by_step(name: str) -> None:
    scheduler = diffusers_scheduler(name)
    scheduler.set_timesteps(STEPS)
    sigmas, denoise = levels_of(scheduler), gaussian_mixture(torch.float32)
    theirs = noises()() * sigmas[0]
    ours = walk(name, sigmas, theirs, noises(seed=2))
    generator = torch.Generator().manual_seed(2)
    calls = [1 if sigma_next == 0 or name != "Heun" else 2 for sigma_next in sigmas[1:]]
    timesteps = iter(scheduler.timesteps)
    for index, count in enumerate(calls):
        for _ in range(count):
            timestep = next(timesteps)
            scheduler.scale_model_input(theirs, timestep)
            sigma = float(scheduler.sigmas[scheduler.step_index])
            noise_pred = (theirs - denoise(theirs, sigma)) / sigma
            extra = {"generator": generator} if name == "Euler a" else {}
            theirs = scheduler.step(noise_pred, timestep, theirs, **extra).prev_sample
        torch.testing.assert_close(ours[index].x, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["DPM++ 2M", "DPM++ 2M SDE", "UniPC"])
def test_multistep_samplers_equal_diffusers_step_by_step(name: str) -> None:
    """diffusers keeps variance 1, so its x is ours divided by sqrt(1 + sigma²)."""
    scheduler = diffusers_scheduler(name)
    scheduler.set_timesteps(STEPS)
    sigmas, denoise = levels_of(scheduler), gaussian_mixture(torch.float32)
    x = noises()() * sigmas[0]
    ours, draw = walk(name, sigmas, x, noises(seed=2)), noises(seed=2)
    theirs = x / (1 + sigmas[0] ** 2) ** 0.5
    for index, timestep in enumerate(scheduler.timesteps):
        full = theirs * (1 + sigmas[index] ** 2) ** 0.5
        noise_pred = (full - denoise(full, sigmas[index])) / sigmas[index]
        extra = {"variance_noise": draw()} if name == "DPM++ 2M SDE" else {}
        theirs = scheduler.step(noise_pred, timestep, theirs, **extra).prev_sample
        expected = theirs * (1 + sigmas[index + 1] ** 2) ** 0.5
        torch.testing.assert_close(ours[index].x, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("is_one", [True, False])
def test_ddim_equals_diffusers_step_by_step(is_one: bool) -> None:
    from diffusers import DDIMScheduler

    from webui.engine.sigmas import own_spacing

    scheduler = DDIMScheduler(**SD1, clip_sample=False, set_alpha_to_one=is_one, steps_offset=1)
    scheduler.set_timesteps(STEPS)
    sigmas = own_spacing(noise_table(scheduler.config, scheduler.alphas_cumprod), STEPS)
    denoise, theirs = gaussian_mixture(torch.float32), noises()()
    ours = walk("DDIM", sigmas, theirs * SAMPLERS["DDIM"].initial_scale(sigmas[0]), noises())
    for index, timestep in enumerate(scheduler.timesteps):
        full = theirs * (1 + sigmas[index] ** 2) ** 0.5
        noise_pred = (full - denoise(full, sigmas[index])) / sigmas[index]
        theirs = scheduler.step(noise_pred, timestep, theirs).prev_sample
        torch.testing.assert_close(ours[index].x, theirs * (1 + sigmas[index + 1] ** 2) ** 0.5, rtol=1e-4, atol=1e-4)


def even_levels(steps: int) -> Sigmas:
    """From 5 to 0.2 in even steps of log sigma."""
    return tuple(5 * (0.2 / 5) ** (step / steps) for step in range(steps + 1))


def begin() -> torch.Tensor:
    return noises(dtype=torch.float64)() * 5


@pytest.fixture(scope="module")
def exact() -> torch.Tensor:
    """Where the probability flow leads, to about seven digits."""
    return walk("Heun", even_levels(1500), begin(), noises())[-1].x


def error_after(name: str, steps: int, exact: torch.Tensor) -> float:
    return float((walk(name, even_levels(steps), begin(), noises())[-1].x - exact).abs().mean())


@pytest.mark.parametrize(("name", "order"), [("Euler", 1), ("DDIM", 1), ("Heun", 2), ("DPM++ 2M", 2), ("UniPC", 2)])
def test_twice_the_steps_shrink_the_error_as_the_order_promises(name: str, order: int, exact: torch.Tensor) -> None:
    assert error_after(name, 64, exact) / error_after(name, 128, exact) > 2**order * 0.85


@pytest.mark.parametrize(("name", "steps"), [("Euler a", 200), ("DPM++ 2M SDE", 40)])
def test_samplers_with_noise_reach_the_right_distribution(name: str, steps: int) -> None:
    """Mean and spread of the mixture from thousands of independent walks."""
    generator = torch.Generator().manual_seed(3)
    table = noise_table({}, _alphas())
    sigmas, denoise, history = karras(table, steps), gaussian_mixture(), {}
    x = torch.randn(20_000, generator=generator, dtype=torch.float64) * sigmas[0]
    draw = lambda: torch.randn(20_000, generator=generator, dtype=torch.float64)  # noqa: E731
    for index in range(steps):
        stepped = SAMPLERS[name].step(denoise, Step(x, sigmas, index, draw, history))
        x, history = stepped.x, stepped.history
    mean = 0.3 * -1.5 + 0.5 * 0.2 + 0.2 * 1.0
    variance = 0.3 * 1.5**2 + 0.5 * 0.2**2 + 0.2 * 1.0**2 + 0.3**2 - mean**2
    assert float(x.mean()) == pytest.approx(mean, abs=0.05)
    assert float(x.var()) == pytest.approx(variance, rel=0.06)


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_the_last_step_to_zero_ends_at_the_models_picture(name: str) -> None:
    sigmas = exponential(noise_table({}, _alphas()), 5)
    last = walk(name, sigmas, noises()() * sigmas[0], noises())[-1]
    torch.testing.assert_close(last.x, last.pred_original, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ALL_SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_few_steps_give_numbers(name: str, steps: int) -> None:
    sigmas = karras(noise_table({}, _alphas()), steps)
    assert torch.isfinite(walk(name, sigmas, noises()() * sigmas[0], noises())[-1].x).all()


def _alphas() -> torch.Tensor:
    from diffusers import DDIMScheduler

    alphas = DDIMScheduler(**SD1).alphas_cumprod
    assert isinstance(alphas, torch.Tensor)
    return alphas
