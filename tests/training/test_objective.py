"""What a denoiser learns: noise schedules, targets and weights, each against the equation of its paper."""

import math

import pytest

from webui.errors import TrainingError

pytestmark = pytest.mark.torch

PREDICTIONS = ("epsilon", "v_prediction", "sample")
SCHEDULES = ("linear", "scaled_linear", "cosine", "zero_snr")
TIMESTEPS = 1000


def objective(noise_schedule="scaled_linear", prediction="v_prediction", gamma=0.0):
    from webui.training.objective import Objective, noise_config

    return Objective(noise_config(noise_schedule, prediction), gamma)


def alphas_cumprod(noise_schedule):
    """The papers' alpha bar in double precision, computed here from their equations."""
    import torch

    t = torch.arange(TIMESTEPS, dtype=torch.float64)
    if noise_schedule == "linear":  # Ho et al. 2020: betas from 1e-4 to 0.02
        return (1 - (1e-4 + (0.02 - 1e-4) * t / (TIMESTEPS - 1))).cumprod(0)
    if noise_schedule == "cosine":  # Nichol & Dhariwal 2021, eq. 17: f(t) = cos²((t/T + s) / (1 + s) · π/2)
        f = torch.cos((torch.arange(TIMESTEPS + 1, dtype=torch.float64) / TIMESTEPS + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - (1 - f[1:] / f[:-1]).clamp(max=0.999)).cumprod(0)
    first, last = 0.00085**0.5, 0.012**0.5  # Rombach et al. 2022: linear in sqrt(beta)
    plain = (1 - (first + (last - first) * t / (TIMESTEPS - 1)) ** 2).cumprod(0)
    if noise_schedule == "scaled_linear":
        return plain
    root = plain.sqrt()  # Lin et al. 2023, algorithm 1: shift the last to zero, scale the first back
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


@pytest.mark.parametrize("noise_schedule", SCHEDULES)
def test_a_noise_schedule_is_the_one_of_its_paper(noise_schedule):
    import torch

    expected = alphas_cumprod(noise_schedule)
    found = objective(noise_schedule).scheduler.alphas_cumprod.double()
    assert torch.allclose(found, expected, rtol=2e-3, atol=1e-6)
    assert torch.allclose(objective(noise_schedule).snr.double(), found / (1 - found), rtol=1e-5)


def test_only_zero_terminal_snr_ends_without_any_signal():
    assert objective("zero_snr").snr[-1] == 0
    assert all(objective(name).snr[-1] > 0 for name in SCHEDULES if name != "zero_snr")


def test_the_schedule_that_is_saved_is_the_one_that_was_trained_on():
    import torch

    from webui.training.objective import noise_config, sampling_scheduler

    for name in SCHEDULES:
        saved = sampling_scheduler(noise_config(name, "v_prediction"))
        assert torch.equal(saved.alphas_cumprod, objective(name).scheduler.alphas_cumprod)
        assert saved.config.prediction_type == "v_prediction"
        saved.set_timesteps(10)
        assert saved.timesteps[0] == TIMESTEPS - 1, "sampling begins where training ended"


def test_epsilon_is_refused_where_it_teaches_nothing():
    from webui.training.objective import noise_config

    with pytest.raises(TrainingError, match="v_prediction or sample"):
        noise_config("zero_snr", "epsilon")


def test_a_scheduler_config_without_a_schedule_is_told():
    from webui.errors import CheckpointError
    from webui.training.objective import Objective

    with pytest.raises(CheckpointError, match="no noise schedule"):
        Objective({"beta_schedule": "flow"})


@pytest.fixture
def batch():
    """Clean latents, noise and timesteps over the whole range."""
    import torch

    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(5, 4, 3, 2, generator=generator) for _ in range(2))
    return clean, noise, torch.tensor([0, 1, 500, 998, 999])


@pytest.mark.parametrize("noise_schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_noise_and_target_follow_their_equations(noise_schedule, prediction, batch):
    import torch

    if (noise_schedule, prediction) == ("zero_snr", "epsilon"):
        return
    clean, noise, timestep = batch
    alpha = alphas_cumprod(noise_schedule)[timestep].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - alpha**2).sqrt()
    ours = objective(noise_schedule, prediction)
    assert torch.allclose(ours.add_noise(clean, noise, timestep).double(), alpha * clean + sigma * noise, atol=2e-3)
    expected = {"epsilon": noise, "sample": clean, "v_prediction": alpha * noise - sigma * clean}[prediction]
    assert torch.allclose(ours.target(clean, noise, timestep).double(), expected.double(), atol=2e-3)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_engine_gets_the_picture_back_from_a_perfect_prediction(prediction, batch):
    """Target and sampling agree: what is learnt here is what the engine takes it for."""
    import torch

    from webui.engine.prediction import to_pred_original

    clean, noise, _ = batch
    ours = objective("scaled_linear", prediction)
    for number in (0, 300, 999):
        timestep = torch.full((5,), number)
        sigma = float(ours.snr[number]) ** -0.5
        x = ours.add_noise(clean, noise, timestep) * math.sqrt(1 + sigma**2)
        found = to_pred_original(prediction, ours.target(clean, noise, timestep), x, sigma)
        assert torch.allclose(found, clean, atol=2e-4)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_min_snr_clamps_the_error_in_the_picture_whatever_is_predicted(prediction):
    """Hang et al. 2023: weight · error == min(SNR, gamma) · error of x0, for the same wrong guess."""
    import torch

    ours = objective("scaled_linear", prediction, gamma=5.0)
    for number in (0, 100, 500, 999):
        snr = ours.snr[number].double()
        alpha, sigma = (snr / (1 + snr)).sqrt(), (1 / (1 + snr)).sqrt()
        x0_error = torch.tensor(0.3, dtype=torch.float64)
        # x_t is given, so a guess that is wrong by d in x0 is wrong by d·alpha/sigma in epsilon and by d/sigma in v.
        error = {"sample": x0_error, "epsilon": x0_error * alpha / sigma, "v_prediction": x0_error / sigma}[prediction]
        expected = snr.clamp(max=5.0) * x0_error**2
        assert float(ours.weights[number] * error**2) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_the_last_timestep_of_zero_snr_is_learnt_too(prediction):
    weights = objective("zero_snr", prediction, gamma=5.0).weights
    assert weights[-1] == weights[-2] > 0


def test_without_gamma_every_timestep_counts_alike():
    assert objective(gamma=0).weights.unique().tolist() == [1.0]


def test_the_loss_is_the_weighted_squared_error(batch):
    import torch

    clean, noise, timestep = batch
    ours = objective("cosine", "epsilon", gamma=5.0)
    prediction = torch.zeros_like(noise)
    expected = (ours.weights[timestep] * (noise**2).mean((1, 2, 3))).mean()
    assert torch.allclose(ours.loss(prediction, clean, noise, timestep), expected)
    half = ours.loss(prediction.bfloat16(), clean, noise, timestep)
    assert half.dtype == torch.float32, "a half's error is not multiplied as a half"


def test_the_same_generator_gives_the_same_loss():
    import torch

    from webui.training.objective import denoising_loss

    ours, clean = objective(), torch.ones(3, 4, 2, 2)
    one, two = (denoising_loss(ours, clean, lambda noisy, _: noisy, torch.Generator().manual_seed(1)) for _ in range(2))
    assert one == two != denoising_loss(ours, clean, lambda noisy, _: noisy, torch.Generator().manual_seed(2))
