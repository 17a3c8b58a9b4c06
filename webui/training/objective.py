"""What a denoiser learns: the noise it is shown, the target it predicts, and how much each noise level counts.

Noise and targets are diffusers' `DDPMScheduler`'s, always in fp32: alphas near 1 do not survive half precision.
Knows no network and no data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler

from webui.errors import CheckpointError, TrainingError

TIMESTEPS = 1000

NOISE_SCHEDULES: Mapping[str, Mapping[str, Any]] = {
    # Ho et al. 2020 (arXiv:2006.11239), section 4.
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    # Rombach et al. 2022 (arXiv:2112.10752): linear in sqrt(beta), with Stable Diffusion's ends.
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    # Nichol & Dhariwal 2021 (arXiv:2102.09672), eq. 17, betas clipped at 0.999.
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    # Lin et al. 2023 (arXiv:2305.08891), algorithm 1, on Stable Diffusion's schedule.
    "zero_snr": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "rescale_betas_zero_snr": True,
    },
}
"""Name of a noise schedule -> what diffusers' schedulers call it."""

CONFIG_KEYS = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule"),
    *("trained_betas", "prediction_type", "rescale_betas_zero_snr"),
)
"""What of a scheduler_config.json describes the noise; the rest is about sampling."""


def noise_config(noise_schedule: str, objective: str) -> dict[str, Any]:
    """Arguments for a diffusers scheduler. Raises `TrainingError` for the one pair that cannot be learnt.

    At zero signal x_t is nothing but noise: predicting epsilon there says nothing about the picture (Lin et al.
    2023, section 3.2).
    """
    if noise_schedule == "zero_snr" and objective == "epsilon":
        raise TrainingError(
            "Noise schedule zero_snr ends in pure noise, where predicting epsilon teaches nothing. "
            "Choose the objective v_prediction or sample, or another noise schedule."
        )
    return {**NOISE_SCHEDULES[noise_schedule], "num_train_timesteps": TIMESTEPS, "prediction_type": objective}


def sampling_scheduler(config: Mapping[str, Any]) -> DDIMScheduler:
    """The scheduler that is saved beside a new network, from `noise_config`: every pipeline of diffusers takes it.

    Trailing timesteps begin at the last trained one, as zero terminal SNR needs (Lin et al. 2023, section 3.3).
    """
    return DDIMScheduler(
        **config, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing"
    )


@dataclass(frozen=True)
class Objective:
    """A noise schedule with a target and a weight per timestep."""

    config: Mapping[str, Any]
    """Arguments for `DDPMScheduler`, from `noise_config` or a checkpoint's scheduler_config.json."""
    snr_gamma: float = 0.0
    """Clamp of min-SNR weighting; 0 weighs every timestep alike."""
    scheduler: DDPMScheduler = field(init=False, repr=False, compare=False)
    snr: torch.Tensor = field(init=False, repr=False, compare=False)
    """(timesteps,), fp32: alphas_cumprod / (1 - alphas_cumprod), falling; its last value may be 0."""
    weights: torch.Tensor = field(init=False, repr=False, compare=False)
    """(timesteps,), fp32: what the squared error of each timestep is multiplied with."""

    def __post_init__(self) -> None:
        known = {key: self.config[key] for key in CONFIG_KEYS if self.config.get(key) is not None}
        try:
            scheduler = DDPMScheduler(**known)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise CheckpointError(
                "The scheduler_config.json describes no noise schedule ({reason}).", reason=str(error)[:200]
            ) from error
        alphas = scheduler.alphas_cumprod.double()
        snr = alphas / (1 - alphas)
        object.__setattr__(self, "scheduler", scheduler)
        object.__setattr__(self, "snr", snr.float())
        weights = min_snr_weights(snr, self.prediction_type, self.snr_gamma) if self.snr_gamma else torch.ones_like(snr)
        object.__setattr__(self, "weights", weights.float())

    @property
    def prediction_type(self) -> str:
        """ "epsilon", "v_prediction" or "sample"."""
        return str(self.config.get("prediction_type", "epsilon"))

    @property
    def timesteps(self) -> int:
        return len(self.snr)

    def draw_timesteps(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """(count,) uniform training timesteps, on the CPU."""
        return torch.randint(self.timesteps, (count,), generator=generator)

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """x_t of (n, channels, h, w) at timesteps (n,): Ho et al. 2020, eq. 4. fp32 in and out."""
        noisy: torch.Tensor = self.scheduler.add_noise(clean.float(), noise.float(), timestep)
        return noisy

    def target(self, clean: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """What the network has to predict: noise, picture, or alpha·noise - sigma·picture (Salimans & Ho 2022,
        arXiv:2202.00512, section 4)."""
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return clean
        velocity: torch.Tensor = self.scheduler.get_velocity(clean.float(), noise.float(), timestep)
        return velocity

    def loss(
        self, prediction: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """Weighted mean squared error, a scalar, fp32. All tensors (n, channels, h, w), timesteps (n,)."""
        error = (prediction.float() - self.target(clean, noise, timestep)).pow(2).flatten(1).mean(1)
        return (error * self.weights.to(error.device)[timestep.to(error.device)]).mean()


def min_snr_weights(snr: torch.Tensor, prediction_type: str, gamma: float) -> torch.Tensor:
    """min(SNR, gamma) as weight of the error in x0, in terms of what is predicted: Hang et al. 2023
    (arXiv:2303.09556), section 3.4.

    The error in x0 is 1/SNR times that in epsilon and 1/(SNR + 1) times that in v. `snr` is (timesteps,). A timestep
    without any signal would weigh nothing and never be learnt: it takes the weight of its neighbour.
    """
    snr = snr.clamp(min=float(snr[snr > 0].min()))
    weight = snr.clamp(max=gamma)
    if prediction_type == "epsilon":
        return weight / snr
    return weight / (snr + 1) if prediction_type == "v_prediction" else weight


def denoising_loss(
    objective: Objective,
    clean: torch.Tensor,
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    generator: torch.Generator,
) -> torch.Tensor:
    """Loss of a network on pictures with fresh noise at random timesteps: Ho et al. 2020, eq. 14, weighted.

    `clean` (n, channels, h, w) latents; `predict` gets noisy ones and timesteps (n,). Timesteps and noise are drawn on
    the CPU, so that a seed means the same on every device.
    """
    timestep = objective.draw_timesteps(len(clean), generator).to(clean.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    return objective.loss(predict(objective.add_noise(clean, noise, timestep), timestep), clean, noise, timestep)
