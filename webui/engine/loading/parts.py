"""What both kinds of checkpoint, folders and single files, are read into before they are put together."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler

from webui.engine.sigmas import NoiseTable, noise_table
from webui.engine.text import Tower
from webui.errors import CheckpointError

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Networks on the device, none of them checked against another yet. They carry no types."""

    towers: tuple[Tower, ...]
    unet: Any
    """UNet2DConditionModel."""
    vae: Any
    """AutoencoderKL."""
    table: NoiseTable
    prediction_type: str
    embedder: Any = None
    """ClassEmbedder or NothingEmbedder, where there are no towers."""
    classes: tuple[str, ...] = ()
    """What the embedder knows by name, in the order of their numbers."""
    zeroes_empty: bool = False
    """An empty negative prompt is zeros and not an encoded empty text."""

    @property
    def features(self) -> int:
        """Of each token that the UNet is given."""
        if self.embedder is not None:
            return int(self.embedder.config.features)
        return sum(int(tower.encoder.config.hidden_size) for tower in self.towers)


def described_noise(config: dict[str, Any], name: str) -> tuple[NoiseTable, str]:
    """Noise levels and prediction type that a scheduler's configuration describes; `name` is its file's.

    Raises `CheckpointError`.
    """
    prediction_type = str(config.get("prediction_type", "epsilon"))
    if prediction_type not in PREDICTION_TYPES:
        raise CheckpointError(
            "{file} names the prediction_type '{found}'; {known} are possible.",
            file=name,
            found=prediction_type[:40],
            known=", ".join(PREDICTION_TYPES),
        )
    betas = {
        key: config[key]
        for key in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
        if config.get(key) is not None
    }
    zero_snr = bool(config.get("rescale_betas_zero_snr", False))
    try:
        scheduler = DDIMScheduler(**betas, rescale_betas_zero_snr=zero_snr)
        return noise_table(config, scheduler.alphas_cumprod), prediction_type
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            "{file} describes no noise schedule ({reason}).", file=name, reason=first_line(error)
        ) from error


def precision_of_vae(vae_config: Any, dtype: torch.dtype, *, is_xl: bool) -> torch.dtype:
    """SDXL's decoder overflows in half precision unless its configuration says that it was mended."""
    overflows = is_xl and bool(vae_config.get("force_upcast", True))
    return torch.float32 if overflows and dtype == torch.float16 else dtype


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__
