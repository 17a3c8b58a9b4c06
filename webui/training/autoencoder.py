"""First stages: autoencoders with KL or VQ regularisation (Rombach et al. 2022, section 3.1), built, measured, scaled.

Owns the networks' shapes, the figures of their reconstructions and the scale of their latents. What they are trained
with is in `losses` and `features`, how in `autoencoder_job`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, VQModel

from webui.train_requests import TrainAutoencoder
from webui.training import metrics
from webui.training.data import to_bytes
from webui.training.features import FeatureNetwork
from webui.training.recipe import AutoencoderRecipe

FirstStageModel: TypeAlias = AutoencoderKL | VQModel

WIDTHS = (1, 2, 4)
"""Channels per level over the base; deeper levels stay at the last (Rombach et al. 2022, table 8)."""
BLOCKS_PER_LEVEL = 2
ATTENDING_FROM = 8
"""Downsampling from which the middle block has attention: below it there are too many latents to compare in pairs."""
SMALLEST_DEVIATION = 1e-6


def build_autoencoder(recipe: AutoencoderRecipe, size: int) -> AutoencoderKL:
    """The first stage of a recipe file."""
    levels = len(recipe.block_out_channels)
    return AutoencoderKL(
        block_out_channels=recipe.block_out_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=recipe.latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=size,
        scaling_factor=1.0,
    )


def build_first_stage(request: TrainAutoencoder) -> FirstStageModel:
    """New networks as the request wants them; the same seed gives the same weights."""
    levels = request.downsampling.bit_length()
    widths = [WIDTHS[min(level, len(WIDTHS) - 1)] for level in range(levels)]
    shape = {
        "block_out_channels": tuple(request.base_channels * width for width in widths),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": BLOCKS_PER_LEVEL,
        "latent_channels": request.latent_channels,
        "norm_num_groups": math.gcd(32, request.base_channels),
        "mid_block_add_attention": request.downsampling >= ATTENDING_FROM,
        "sample_size": request.size,
        "scaling_factor": 1.0,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        if request.regularisation == "VQ":
            return VQModel(**shape, num_vq_embeddings=request.codebook_size)
        return AutoencoderKL(**shape)


def encode(model: FirstStageModel, pictures: torch.Tensor) -> torch.Tensor:
    """(n, channels, h / f, w / f), unscaled: the posterior's mean, or what is quantised when it is decoded."""
    encoded = model.encode(pictures)
    latents: torch.Tensor = encoded.latents if isinstance(model, VQModel) else encoded.latent_dist.mean
    return latents


@torch.no_grad()
def reconstruct(model: FirstStageModel, pictures: torch.Tensor) -> torch.Tensor:
    """There and back, (n, 3, h, w) in [-1, 1], on the model's device."""
    decoded: torch.Tensor = model.decode(encode(model, pictures.to(model.device))).sample
    return decoded.float().clamp(-1, 1)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How near reconstructions are to their pictures, mean over all of them."""

    psnr: float
    """dB; more is better."""
    ssim: float
    """At most 1."""
    perceptual: float
    """Distance of features, 0 for equal pictures. Comparable only under the same feature network."""


def measure(model: FirstStageModel, batches: Iterable[torch.Tensor], features: FeatureNetwork) -> Quality:
    """Of pictures (n, 3, h, w) in [-1, 1] as they come out when they are saved as bytes. The model is in eval mode."""
    rows = []
    for pictures in batches:
        decoded = reconstruct(model, pictures)
        shown = pictures.to(decoded.device)
        saved, wanted = to_bytes(decoded), to_bytes(shown)
        with torch.no_grad():
            distance = features.distance(shown, decoded).double()
        rows.append(torch.stack([metrics.psnr(wanted, saved), metrics.ssim(wanted, saved), distance], dim=1).cpu())
    ratio, likeness, distance = torch.cat(rows).mean(0).tolist()
    return Quality(psnr=ratio, ssim=likeness, perceptual=distance)


@torch.no_grad()
def psnr(model: torch.nn.Module, pictures: torch.Tensor) -> float:
    """Peak signal-to-noise ratio of reconstructions, mean over pictures in [-1, 1], in dB."""
    assert isinstance(model, AutoencoderKL | VQModel)
    was_training = model.training
    model.eval()
    values = []
    for batch in torch.split(pictures, 16):
        error = ((reconstruct(model, batch) - batch) / 2).pow(2).mean((1, 2, 3))
        values.append(-10 * torch.log10(error + 1e-9))
    model.train(was_training)
    return float(torch.cat(values).mean())


@torch.no_grad()
def latent_moments(model: FirstStageModel, batches: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of the unscaled latents of pictures, per channel, (channels,) each."""
    count, total, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for pictures in batches:
        latents = encode(model, pictures.to(model.device)).double().cpu()
        count += latents.numel() // latents.shape[1]
        total, squares = total + latents.sum((0, 2, 3)), squares + latents.pow(2).sum((0, 2, 3))
    mean = total / count
    deviation = ((squares - count * mean**2).clamp(min=0) / max(1, count - 1)).sqrt()
    return mean.float(), deviation.clamp(min=SMALLEST_DEVIATION).float()


def scale_latents(model: FirstStageModel, batches: Iterable[torch.Tensor]) -> float:
    """Bring the latents of pictures to unit deviation as diffusers expects it; returns the `scaling_factor` used.

    KL: mean and deviation of each channel are folded into the convolutions next to the latents, and the factor is 1.
    VQ: the codebook stays as it is, and one factor for all channels is measured and written into the configuration.
    """
    mean, deviation = latent_moments(model, batches)
    if isinstance(model, AutoencoderKL):
        _fold(model, mean.to(model.device), deviation.to(model.device))
        return float(model.config.scaling_factor)
    # One deviation about zero: nothing subtracts a mean from the latents of a VQModel.
    factor = float((deviation**2 + mean**2).mean().rsqrt())
    model.register_to_config(scaling_factor=factor)
    return factor


def normalise_latents(model: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Fold mean and deviation of the latents into quant_conv and post_quant_conv.

    Afterwards encoded pictures have zero mean and unit deviation in every channel, decoding undoes
    exactly that, and the product encode-decode is unchanged.
    """
    scale_latents(model, torch.split(pictures, 32))


@torch.no_grad()
def _fold(model: AutoencoderKL, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    channels = len(mean)
    encoding, decoding = model.quant_conv, model.post_quant_conv
    assert encoding is not None and decoding is not None
    decoding.bias += (decoding.weight[:, :, 0, 0] * mean).sum(1)
    decoding.weight *= deviation.view(1, -1, 1, 1)
    encoding.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    encoding.bias[:channels] = (encoding.bias[:channels] - mean) / deviation
    encoding.bias[channels:] -= 2 * deviation.log()


@torch.no_grad()
def fit_codebook(model: VQModel, batches: Iterable[torch.Tensor], seed: int) -> None:
    """Put the codes of a new VQModel where latents of pictures lie: codes far from all of them would never be used."""
    latents = torch.cat([encode(model, batch.to(model.device)).movedim(1, -1).flatten(0, -2) for batch in batches])
    codes = model.quantize.embedding.weight
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(latents), (len(codes),), generator=generator)
    apart = 0.01 * float(latents.std()) * torch.randn(codes.shape, generator=generator)
    codes.copy_(latents[chosen.to(latents.device)] + apart.to(latents.device))
