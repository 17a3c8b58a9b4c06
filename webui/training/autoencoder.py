"""First stage: an autoencoder with KL regularisation (Rombach et al. 2022, section 3.1).

Trains on random crops of pictures over random backgrounds, then rescales its latents to zero mean and
unit variance by folding the statistics into its own convolutions, so that `scaling_factor` is exactly 1.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from webui.training.emoji import Emoji
from webui.training.loop import Stage, Trainer
from webui.training.recipe import AutoencoderRecipe

log = logging.getLogger(__name__)

HELD_OUT_SHARE = 20
"""Every 20th picture is only for measuring."""


def build_autoencoder(recipe: AutoencoderRecipe, size: int) -> AutoencoderKL:
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


def to_rgba(pictures: Sequence[Emoji]) -> torch.Tensor:
    """(n, 4, h, w) in [0, 1], colour premultiplied by alpha so that resampling makes no dark fringe."""
    stacked = torch.stack([torch.tensor(picture.pixels) for picture in pictures])
    rgba = stacked.permute(0, 3, 1, 2).float() / 255
    rgba[:, :3] *= rgba[:, 3:]
    return rgba


def over(rgba: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Composite premultiplied `rgba` over `background` (broadcastable, 0 to 1); (n, 3, h, w) in [-1, 1]."""
    return (rgba[:, :3] + (1 - rgba[:, 3:]) * background) * 2 - 1


def jitter(rgba: torch.Tensor, generator: torch.Generator, *, scale: float, shift: float) -> torch.Tensor:
    """Mirror half of the pictures, scale by 1 ± `scale`, shift by ± `shift` of the half side."""
    count = rgba.shape[0]
    uniform = torch.rand(count, 4, generator=generator)
    zoom = 1 / (1 + scale * (uniform[:, 0] * 2 - 1))
    transform = torch.zeros(count, 2, 3)
    transform[:, 0, 0] = zoom * torch.where(uniform[:, 1] < 0.5, -1.0, 1.0)
    transform[:, 1, 1] = zoom
    transform[:, :, 2] = shift * (uniform[:, 2:] * 2 - 1)
    grid = F.affine_grid(transform, list(rgba.shape), align_corners=False)
    return F.grid_sample(rgba, grid, align_corners=False)


def reconstruction_loss(picture: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """L1 + 0.5 L2, plus gradients at three scales (edges) and averages (colour)."""
    loss = (picture - decoded).abs().mean() + 0.5 * (picture - decoded).pow(2).mean()
    for _ in range(3):
        for axis in (2, 3):
            loss = loss + 0.5 * (picture.diff(dim=axis) - decoded.diff(dim=axis)).abs().mean()
        picture, decoded = F.avg_pool2d(picture, 2), F.avg_pool2d(decoded, 2)
        loss = loss + 0.2 * (picture - decoded).abs().mean()
    return loss


def train_autoencoder(
    recipe: AutoencoderRecipe, pictures: Sequence[Emoji], folder: Path, seed: int
) -> tuple[AutoencoderKL, float]:
    """Train, or go on training, the first stage. Returns it (EMA weights) and its held-out PSNR in dB."""
    torch.manual_seed(seed)
    rgba = to_rgba(pictures)
    is_held_out = torch.arange(len(rgba)) % HELD_OUT_SHARE == 0
    seen, held_out = rgba[~is_held_out], rgba[is_held_out]
    model = build_autoencoder(recipe, rgba.shape[-1])
    trainer = Trainer(Stage(folder, recipe.minutes, recipe.learning_rate, seed, ema_decay=0.999), model)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        picture = random_crops(seen, recipe.batch_size, recipe.crop, generator)
        posterior = model.encode(picture).latent_dist
        decoded = model.decode(posterior.sample(generator)).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss: torch.Tensor = reconstruction_loss(picture, decoded) + recipe.kl_weight * kl
        return loss

    for progress in trainer.run(loss_of):
        if progress.step % 500 == 0:
            quality = psnr(trainer.ema.model, over(held_out, torch.ones(1)))
            log.info("autoencoder step %d, %.0f s: loss %.4f, held-out PSNR %.2f dB",
                     progress.step, progress.seconds, progress.loss, quality)  # fmt: skip
    best = trainer.ema.model
    assert isinstance(best, AutoencoderKL)
    return best, psnr(best, over(held_out, torch.ones(1)))


def random_crops(rgba: torch.Tensor, count: int, side: int, generator: torch.Generator) -> torch.Tensor:
    """(count, 3, side, side) in [-1, 1]: jittered pictures, half on white, half on a colour, cut at one place."""
    chosen = rgba[torch.randint(len(rgba), (count,), generator=generator)]
    background = torch.rand(count, 3, 1, 1, generator=generator)
    background[: count // 2] = 1.0
    picture = over(jitter(chosen, generator, scale=0.25, shift=0.15), background)
    room = picture.shape[-1] - side
    top, left = (int(torch.randint(room + 1, (), generator=generator)) for _ in range(2))
    return picture[:, :, top : top + side, left : left + side]


@torch.no_grad()
def psnr(model: torch.nn.Module, pictures: torch.Tensor) -> float:
    """Peak signal-to-noise ratio of reconstructions, mean over pictures in [-1, 1], in dB."""
    assert isinstance(model, AutoencoderKL)
    was_training = model.training
    model.eval()
    values = []
    for batch in torch.split(pictures, 16):
        decoded = model.decode(model.encode(batch).latent_dist.mean).sample.clamp(-1, 1)
        error = ((decoded - batch) / 2).pow(2).mean((1, 2, 3))
        values.append(-10 * torch.log10(error + 1e-9))
    model.train(was_training)
    return float(torch.cat(values).mean())


@torch.no_grad()
def normalise_latents(model: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Fold mean and deviation of the latents into quant_conv and post_quant_conv.

    Afterwards encoded pictures have zero mean and unit deviation in every channel, decoding undoes
    exactly that, and the product encode-decode is unchanged.
    """
    latents = torch.cat([model.encode(batch).latent_dist.mean for batch in torch.split(pictures, 32)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    channels = len(mean)
    encode, decode = model.quant_conv, model.post_quant_conv
    assert encode is not None and decode is not None
    decode.bias += (decode.weight[:, :, 0, 0] * mean).sum(1)
    decode.weight *= deviation.view(1, -1, 1, 1)
    encode.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    encode.bias[:channels] = (encode.bias[:channels] - mean) / deviation
    encode.bias[channels:] -= 2 * deviation.log()
