"""Every sampler against diffusers step by step, against the exact solution, and across a break."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from tests.engine.helpers import ALL_SAMPLERS, gaussian_mixture
from webui.engine.brownian import BrownianPaths
from webui.engine.samplers import SAMPLERS, SamplerOptions, Step, Stepped, find_sampler
from webui.engine.samplers.dpm_fast import orders
from webui.engine.sigmas import Sigmas, exponential, karras, lcm_spacing, noise_table, own_spacing
from webui.errors import UnknownName
from webui.registry import SAMPLERS as NAMES

pytestmark = pytest.mark.torch

SD1 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHAPE = (2, 4, 5, 3)
STEPS = 9


def noises(seed: int = 1, dtype: torch.dtype = torch.float32) -> Callable[[], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(SHAPE, generator=generator, dtype=dtype)


def walk(name: str, sigmas: Sigmas, x: torch.Tensor, draw: Callable[[], torch.Tensor], **options: Any) -> list[Stepped]:
    """All steps of a sampler on the Gaussian mixture."""
    denoise, steps, history = gaussian_mixture(x.dtype), [], {}
    for index in range(len(sigmas) - 1):
        stepped = SAMPLERS[name].step(denoise, Step(x, sigmas, index, draw, history, SamplerOptions(**options)))
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
        "LMS": lambda: diffusers.LMSDiscreteScheduler(**plain, use_karras_sigmas=True),
        "DPM++ 2M": lambda: diffusers.DPMSolverMultistepScheduler(**plain, use_karras_sigmas=True),
        "DPM++ 2M SDE": lambda: diffusers.DPMSolverMultistepScheduler(
            **plain, use_karras_sigmas=True, algorithm_type="sde-dpmsolver++"
        ),
        "DPM++ 2M SDE Heun": lambda: diffusers.DPMSolverMultistepScheduler(
            **plain, use_karras_sigmas=True, algorithm_type="sde-dpmsolver++", solver_type="heun"
        ),
        # The ODE: in diffusers' SDE of order 3 the last term has 0.5 with the wrong sign and does not vanish with h.
        "DPM++ 3M SDE": lambda: diffusers.DPMSolverMultistepScheduler(
            **plain, use_karras_sigmas=True, solver_type="heun", solver_order=3, lower_order_final=False
        ),
    }[name]()


def levels_of(scheduler: Any) -> Sigmas:
    """The scheduler's own levels, each once (Heun's lists the inner ones twice)."""
    return tuple(dict.fromkeys(float(sigma) for sigma in scheduler.sigmas))


@pytest.mark.parametrize("name", ["Euler", "Euler a", "Heun", "LMS"])
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


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
def test_unipc_equals_diffusers_step_by_step_in_every_order(order: int, variant: str) -> None:
    import diffusers

    scheduler = diffusers.UniPCMultistepScheduler(
        **SD1, use_karras_sigmas=True, solver_type=variant, solver_order=order, final_sigmas_type="zero"
    )
    scheduler.set_timesteps(STEPS)
    sigmas, denoise = levels_of(scheduler), gaussian_mixture(torch.float32)
    x = noises()() * sigmas[0]
    ours = walk("UniPC", sigmas, x, noises(seed=2), unipc_order=order, unipc_variant=variant)
    theirs = x / (1 + sigmas[0] ** 2) ** 0.5
    for index, timestep in enumerate(scheduler.timesteps):
        full = theirs * (1 + sigmas[index] ** 2) ** 0.5
        noise_pred = (full - denoise(full, sigmas[index])) / sigmas[index]
        theirs = scheduler.step(noise_pred, timestep, theirs).prev_sample
        if index == STEPS - 1:  # to level 0, where B1 is infinite and diffusers' x is not a number
            assert torch.equal(ours[index].x, ours[index].pred_original)
            break
        expected = theirs * (1 + sigmas[index + 1] ** 2) ** 0.5
        torch.testing.assert_close(ours[index].x, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", ["DPM++ 2M", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"])
def test_multistep_samplers_equal_diffusers_step_by_step(name: str) -> None:
    """diffusers keeps variance 1, so its x is ours divided by sqrt(1 + sigma²)."""
    scheduler = diffusers_scheduler(name)
    scheduler.set_timesteps(STEPS)
    sigmas, denoise = levels_of(scheduler), gaussian_mixture(torch.float32)
    x = noises()() * sigmas[0]
    eta = 0.0 if name == "DPM++ 3M SDE" else 1.0
    ours, draw = walk(name, sigmas, x, noises(seed=2), eta=eta), noises(seed=2)
    theirs = x / (1 + sigmas[0] ** 2) ** 0.5
    for index, timestep in enumerate(scheduler.timesteps):
        full = theirs * (1 + sigmas[index] ** 2) ** 0.5
        noise_pred = (full - denoise(full, sigmas[index])) / sigmas[index]
        extra = {"variance_noise": draw()} if "2M SDE" in name else {}
        theirs = scheduler.step(noise_pred, timestep, theirs, **extra).prev_sample
        expected = theirs * (1 + sigmas[index + 1] ** 2) ** 0.5
        torch.testing.assert_close(ours[index].x, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("is_one", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim_equals_diffusers_step_by_step(is_one: bool, eta: float) -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**SD1, clip_sample=False, set_alpha_to_one=is_one, steps_offset=1)
    scheduler.set_timesteps(STEPS)
    sigmas = own_spacing(noise_table(scheduler.config, scheduler.alphas_cumprod), STEPS)
    denoise, theirs, draw = gaussian_mixture(torch.float32), noises()(), noises(seed=2)
    begin = theirs * SAMPLERS["DDIM"].initial_scale(sigmas[0])
    ours = walk("DDIM", sigmas, begin, noises(seed=2), ddim_eta=eta)
    for index, timestep in enumerate(scheduler.timesteps):
        full = theirs * (1 + sigmas[index] ** 2) ** 0.5
        noise_pred = (full - denoise(full, sigmas[index])) / sigmas[index]
        # Noise that would end in the finished latents is left out here, and drawn over them there when alpha_T < 1.
        extra = {"eta": eta, "variance_noise": draw()} if eta else {}
        theirs = scheduler.step(noise_pred, timestep, theirs, **extra).prev_sample
        torch.testing.assert_close(ours[index].x, theirs * (1 + sigmas[index + 1] ** 2) ** 0.5, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "kind"), [("DPM++ 2S a", "dpmsolver++"), ("DPM++ SDE", "dpmsolver++"), ("DPM fast", "dpmsolver")]
)
@pytest.mark.filterwarnings("ignore:`algorithm_types=dpmsolver`:FutureWarning")
def test_single_step_solvers_without_noise_equal_diffusers(name: str, kind: str) -> None:
    """One step of order 2, over levels even in log sigma, where diffusers' middle level is that of the papers."""
    from diffusers import DPMSolverSinglestepScheduler

    scheduler = DPMSolverSinglestepScheduler(
        **SD1, algorithm_type=kind, solver_order=2, use_exponential_sigmas=True,
        final_sigmas_type="zero" if kind == "dpmsolver++" else "sigma_min", lower_order_final=False,
    )  # fmt: skip
    scheduler.set_timesteps(12)
    sigmas = tuple(scheduler.sigmas.tolist())
    denoise, x = gaussian_mixture(torch.float32), noises()() * sigmas[0]
    theirs = x / (1 + sigmas[0] ** 2) ** 0.5
    for call in range(2):
        full = theirs * (1 + sigmas[call] ** 2) ** 0.5
        noise_pred = (full - denoise(full, sigmas[call])) / sigmas[call]
        theirs = scheduler.step(noise_pred, scheduler.timesteps[call], theirs).prev_sample
    ours = walk(name, sigmas[:3] if name == "DPM fast" else sigmas[:3:2], x, noises(), eta=0.0)
    expected = theirs * (1 + sigmas[2] ** 2) ** 0.5
    torch.testing.assert_close(ours[-1].x, expected, rtol=2e-4, atol=2e-4)


def test_ddpm_equals_diffusers_step_by_step() -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(**SD1, clip_sample=False, timestep_spacing="leading", steps_offset=1)
    scheduler.set_timesteps(STEPS)
    sigmas = own_spacing(noise_table(scheduler.config, scheduler.alphas_cumprod), STEPS)
    denoise, theirs, generator = gaussian_mixture(torch.float32), noises()(), torch.Generator().manual_seed(2)
    ours = walk("DDPM", sigmas, theirs * SAMPLERS["DDPM"].initial_scale(sigmas[0]), noises(seed=2))
    for index, timestep in enumerate(scheduler.timesteps):
        full = theirs * (1 + sigmas[index] ** 2) ** 0.5
        noise_pred = (full - denoise(full, sigmas[index])) / sigmas[index]
        theirs = scheduler.step(noise_pred, timestep, theirs, generator=generator).prev_sample
        torch.testing.assert_close(ours[index].x, theirs * (1 + sigmas[index + 1] ** 2) ** 0.5, rtol=2e-4, atol=2e-4)


def test_lcm_equals_diffusers_step_by_step() -> None:
    """diffusers adds about a millionth of x to the estimate: what a distilled network does at timestep 0."""
    from diffusers import LCMScheduler

    scheduler = LCMScheduler(**SD1, clip_sample=False)
    scheduler.set_timesteps(4, original_inference_steps=50)
    sigmas = lcm_spacing(noise_table({}, scheduler.alphas_cumprod), 4)
    denoise, theirs, generator = gaussian_mixture(torch.float32), noises()(), torch.Generator().manual_seed(2)
    ours = walk("LCM", sigmas, theirs * SAMPLERS["LCM"].initial_scale(sigmas[0]), noises(seed=2))
    for index, timestep in enumerate(scheduler.timesteps):
        full = theirs * (1 + sigmas[index] ** 2) ** 0.5
        noise_pred = (full - denoise(full, sigmas[index])) / sigmas[index]
        theirs = scheduler.step(noise_pred, timestep, theirs, generator=generator).prev_sample
        torch.testing.assert_close(ours[index].x, theirs * (1 + sigmas[index + 1] ** 2) ** 0.5, rtol=1e-3, atol=1e-3)


def test_plms_equals_diffusers_step_by_step() -> None:
    """diffusers' first two calls are our first step, the improved Euler's."""
    from diffusers import PNDMScheduler

    scheduler = PNDMScheduler(**SD1, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)
    scheduler.set_timesteps(STEPS)
    sigmas = own_spacing(noise_table(scheduler.config, scheduler.alphas_cumprod), STEPS)
    denoise, theirs = gaussian_mixture(torch.float32), noises()()
    ours = walk("PLMS", sigmas, theirs * SAMPLERS["PLMS"].initial_scale(sigmas[0]), noises())
    levels = [sigmas[0], *sigmas[1:2], *sigmas[1:-1]]
    for call, (timestep, sigma) in enumerate(zip(scheduler.timesteps, levels, strict=True)):
        full = theirs * (1 + sigma**2) ** 0.5
        theirs = scheduler.step((full - denoise(full, sigma)) / sigma, timestep, theirs).prev_sample
        if call > 0:
            expected = theirs * (1 + sigmas[call] ** 2) ** 0.5
            torch.testing.assert_close(ours[call - 1].x, expected, rtol=2e-4, atol=2e-4)


class TwoPictures:
    """A denoiser with guidance whose unconditional picture is the conditional one moved by 0.3."""

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        return self.apart(x, sigma, 1.0)[0]

    def apart(self, x: torch.Tensor, sigma: float, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        cond = gaussian_mixture(x.dtype)(x, sigma)
        uncond = cond - 0.3
        return uncond + 5.0 * share * (cond - uncond), uncond


def test_ddim_cfg_pp_adds_the_noise_of_the_unconditional_prediction() -> None:
    """Against algorithm 2 of the paper as it is written there, with variance 1."""
    sigmas, denoise = own_spacing(noise_table({}, _alphas()), STEPS), TwoPictures()
    x = noises(dtype=torch.float64)() * sigmas[0]
    for index in range(STEPS):
        alpha, alpha_next = (1 / (1 + sigma**2) for sigma in sigmas[index : index + 2])
        cond, uncond = denoise(x, sigmas[index]), denoise.apart(x, sigmas[index], 0)[1]
        cond = uncond + (cond - uncond) / 5  # undo the scale
        noisy = x * alpha**0.5
        noise_uncond, noise_cond = ((noisy - alpha**0.5 * each) / (1 - alpha) ** 0.5 for each in (uncond, cond))
        noise_pred = noise_uncond + 5 / 12.5 * (noise_cond - noise_uncond)
        estimate = (noisy - (1 - alpha) ** 0.5 * noise_pred) / alpha**0.5
        expected = alpha_next**0.5 * estimate + (1 - alpha_next) ** 0.5 * noise_uncond
        x = SAMPLERS["DDIM CFG++"].step(denoise, Step(x, sigmas, index, noises())).x
        torch.testing.assert_close(x, expected / alpha_next**0.5, rtol=1e-9, atol=1e-9)


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
    levels = even_levels(steps) if name == "Restart" else SAMPLERS[name].arrange(even_levels(steps))
    return float((walk(name, levels, begin(), noises(), eta=0.0)[-1].x - exact).abs().mean())


FIRST_ORDER = ("Euler", "Euler a", "DDIM", "DDIM CFG++")
SECOND_ORDER = (
    *("Heun", "DPM2", "DPM2 a", "Restart", "UniPC", "DPM++ 2M", "DPM++ 2S a", "DPM++ SDE", "DPM++ 2M SDE"),
    *(
        "DPM++ 2M SDE Heun",
        "DPM fast",
        "DPM++ 3M SDE",
        "LMS",
    ),  # the last three reach more, but for their first or last step
)
"""Of the samplers that follow the probability flow, those with noise at eta 0."""


@pytest.mark.parametrize(
    ("name", "order"), [*((name, 1) for name in FIRST_ORDER), *((name, 2) for name in SECOND_ORDER)]
)
def test_twice_the_steps_shrink_the_error_as_the_order_promises(name: str, order: int, exact: torch.Tensor) -> None:
    assert error_after(name, 64, exact) / error_after(name, 128, exact) > 2**order * 0.85


def test_plms_has_its_order_over_even_levels() -> None:
    def reached(name: str, steps: int) -> torch.Tensor:
        levels = tuple(5 + (0.2 - 5) * step / steps for step in range(steps + 1))
        return walk(name, levels, begin(), noises())[-1].x

    truth = reached("Heun", 4000)
    coarse, fine = ((reached("PLMS", steps) - truth).abs().mean() for steps in (100, 200))
    assert coarse / fine > 4


NOISY = {
    "Euler a": 200, "DPM2 a": 80, "DPM++ 2S a": 60, "DPM++ SDE": 30, "DDPM": 200, "Restart": 60, "DPM++ 2M SDE": 40,
    "DPM++ 2M SDE Heun": 30, "DPM++ 3M SDE": 30, "DPM fast": 200, "DPM adaptive": 1,
}  # fmt: skip
"""With the steps that they need."""


@pytest.mark.parametrize(("name", "steps"), NOISY.items())
@pytest.mark.parametrize("eta", [1.0, 0.5])
def test_samplers_with_noise_reach_the_right_distribution(name: str, steps: int, eta: float) -> None:
    """Mean and spread of the mixture from thousands of independent walks."""
    generator = torch.Generator().manual_seed(3)
    table = noise_table({}, _alphas())
    sigmas, denoise, history = SAMPLERS[name].arrange(karras(table, steps)), gaussian_mixture(), {}
    options = SamplerOptions(eta=eta)
    x = torch.randn(20_000, generator=generator, dtype=torch.float64) * sigmas[0]
    draw = lambda: torch.randn(20_000, generator=generator, dtype=torch.float64)  # noqa: E731
    paths = BrownianPaths([3], (20_000,))
    between = (lambda *way: paths.between(*way)[0].double()) if SAMPLERS[name].is_brownian else None
    for index in range(len(sigmas) - 1):
        stepped = SAMPLERS[name].step(denoise, Step(x, sigmas, index, draw, history, options, between))
        x, history = stepped.x, stepped.history
    mean = 0.3 * -1.5 + 0.5 * 0.2 + 0.2 * 1.0
    variance = 0.3 * 1.5**2 + 0.5 * 0.2**2 + 0.2 * 1.0**2 + 0.3**2 - mean**2
    assert float(x.mean()) == pytest.approx(mean, abs=0.05)
    assert float(x.var()) == pytest.approx(variance, rel=0.06)


@pytest.mark.parametrize(("calls", "expected"), [(1, [1]), (2, [2]), (3, [2, 1]), (4, [3, 1]), (9, [3, 3, 2, 1])])
def test_dpm_fast_spends_as_many_model_calls_as_steps_were_asked_for(calls: int, expected: list[int]) -> None:
    levels = karras(noise_table({}, _alphas()), calls)
    arranged = SAMPLERS["DPM fast"].arrange(levels)
    assert orders(calls) == expected
    assert len(arranged) == len(levels)
    assert (arranged[0], arranged[-1]) == (levels[0], pytest.approx(levels[-2] if calls > 1 else 0.0))


def test_dpm_fast_is_of_order_3_where_it_need_not_end_with_a_single_call(exact: torch.Tensor) -> None:
    assert error_after("DPM fast", 62, exact) / error_after("DPM fast", 125, exact) > 2**3 * 0.85


def test_dpm_adaptive_reaches_the_exact_solution_with_few_model_calls(exact: torch.Tensor) -> None:
    """The tolerance of a step is a twentieth of x; what adds up over the run stays far below it."""
    levels = SAMPLERS["DPM adaptive"].arrange(even_levels(7))
    x = walk("DPM adaptive", levels, begin(), noises(), eta=0.0)[-1].x
    assert float((x - exact).abs().mean()) < 0.02
    assert torch.equal(
        x, walk("DPM adaptive", SAMPLERS["DPM adaptive"].arrange(even_levels(30)), begin(), noises(), eta=0.0)[-1].x
    )


def test_the_marks_of_dpm_adaptive_change_nothing() -> None:
    levels = SAMPLERS["DPM adaptive"].arrange(even_levels(7))
    in_one = walk("DPM adaptive", (levels[0], levels[-1]), begin(), noises(seed=2))[-1].x
    assert torch.equal(walk("DPM adaptive", levels, begin(), noises(seed=2))[-1].x, in_one)


def test_dpm_adaptive_lets_what_is_no_number_through_and_ends_with_a_rough_model() -> None:
    def broken(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return x * float("nan")

    def rough(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.sin(x * 1e4) * 1e3

    levels = SAMPLERS["DPM adaptive"].arrange((2.0, 1.0, 0.9))
    assert SAMPLERS["DPM adaptive"].step(broken, Step(torch.ones(SHAPE), levels, 0, noises())).x.isnan().all()
    assert SAMPLERS["DPM adaptive"].step(rough, Step(torch.ones(SHAPE), levels, 0, noises())).x.isfinite().all()


def test_restart_goes_up_again_and_makes_about_as_many_model_calls() -> None:
    levels = karras(noise_table({}, _alphas()), 20)
    assert SAMPLERS["Restart"].arrange(levels[1:]) == levels[1:]
    once = SAMPLERS["Restart"].arrange(levels)
    rises = [(low, high) for low, high in pairwise(once) if high > low]
    assert len(rises) == 1
    assert rises[0] == pytest.approx((0.1, 2.0), rel=0.35)
    assert len(once) - 1 - len(rises) == 20
    twice = SAMPLERS["Restart"].arrange(karras(noise_table({}, _alphas()), 36))
    assert sum(high > low for low, high in pairwise(twice)) == 2


def test_restart_adds_exactly_the_noise_that_lies_between_the_levels() -> None:
    unit = torch.ones(SHAPE)
    stepped = SAMPLERS["Restart"].step(
        gaussian_mixture(), Step(unit, (3.0, 5.0, 0.0), 0, lambda: unit, {"pred_original": unit})
    )
    torch.testing.assert_close(stepped.x, unit * 5)  # 1 + sqrt(5² - 3²)


UNEXACT = ("LMS", "PLMS", "DPM fast", "DPM adaptive")
"""They end with a polynomial through older slopes, or above 0."""


@pytest.mark.parametrize("name", [name for name in ALL_SAMPLERS if name not in UNEXACT])
def test_the_last_step_to_zero_ends_at_the_models_picture(name: str) -> None:
    sigmas = exponential(noise_table({}, _alphas()), 5)
    last = walk(name, sigmas, noises()() * sigmas[0], noises())[-1]
    torch.testing.assert_close(last.x, last.pred_original, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ALL_SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_few_steps_give_numbers(name: str, steps: int) -> None:
    sigmas = SAMPLERS[name].arrange(karras(noise_table({}, _alphas()), steps))
    assert torch.isfinite(walk(name, sigmas, noises()() * sigmas[0], noises())[-1].x).all()


def _alphas() -> torch.Tensor:
    from diffusers import DDIMScheduler

    alphas = DDIMScheduler(**SD1).alphas_cumprod
    assert isinstance(alphas, torch.Tensor)
    return alphas
