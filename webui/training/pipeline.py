"""All stages of a recipe in a row, and the result as a diffusers folder that the product can load.

Resumable at any point: each stage keeps its own checkpoint and is skipped when its time is used up.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from webui.errors import TrainingError
from webui.training.autoencoder import normalise_latents, over, to_rgba, train_autoencoder
from webui.training.diffusion import NOISE_SCHEDULE, encode_pictures, train_unet
from webui.training.emoji import Emoji, all_texts, captions, load_emoji
from webui.training.loop import write_json
from webui.training.recipe import RECIPES, Card, Recipe
from webui.training.text_encoder import train_text_encoder

log = logging.getLogger(__name__)


def train(recipe: Recipe, data: Path, run: Path, output: Path, threads: int = 2) -> None:
    """Run or resume every stage; write the finished pipeline to `output`.

    `data` holds the packages as downloaded, `run` the checkpoints and loss curves.
    """
    check_output(output, run)
    torch.set_num_threads(threads)
    pictures = load_emoji(data, recipe.pictures)
    log.info("recipe %s: %d pictures", recipe.name, len(pictures))
    vae, quality = train_autoencoder(recipe.autoencoder, pictures, run / "autoencoder", recipe.seed)
    log.info("autoencoder done: held-out PSNR %.2f dB", quality)
    normalise_latents(vae, over(to_rgba(pictures), torch.ones(1)))
    words = dict(all_texts(data))
    for picture in pictures:
        words.update({text: picture.label if text in picture.korean else None for text in captions(picture)})
    text_encoder, tokenizer = train_text_encoder(
        recipe.text_encoder, list(words.items()), data, run / "text_encoder", recipe.seed
    )
    unet = train_unet(recipe.diffusion, pictures, vae, text_encoder, tokenizer, run / "denoiser", recipe.seed)
    assemble(
        Parts(vae, text_encoder, tokenizer, run / "text_encoder" / "tokenizer", unet), recipe.card, pictures, output
    )
    log.info("finished: %s", output)


def check_output(output: Path, run: Path) -> None:
    """Refuse an output that would cost other files: it is replaced as a whole in the end."""
    if output.exists() and not (output / "model_index.json").exists() and (output.is_file() or any(output.iterdir())):
        raise TrainingError(f"{output} holds something that is no checkpoint. Name a new folder in --output.")
    mine, other = output.resolve(), run.resolve()
    if mine.is_relative_to(other) or other.is_relative_to(mine):
        raise TrainingError("--run and --output must not lie inside each other: --output is replaced as a whole.")


@dataclass(frozen=True)
class Parts:
    """The trained networks of a text-to-image model."""

    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    tokenizer_files: Path
    """Folder with vocab.json and merges.txt."""
    unet: UNet2DConditionModel


def assemble(parts: Parts, card: Card, pictures: Sequence[Emoji], output: Path) -> None:
    """Save as a `StableDiffusionPipeline` folder in fp16, every file under 15 MB, replacing what was there."""
    scheduler = DDIMScheduler(
        **NOISE_SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing"
    )
    pipeline = StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    fit = fit_latent_rgb(parts.vae, pictures)
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(partial, safe_serialization=True, max_shard_size="15MB")
    for name in ("vocab.json", "merges.txt"):  # save_pretrained writes tokenizer.json alone; other tools read these
        shutil.copyfile(parts.tokenizer_files / name, partial / "tokenizer" / name)
    # transformers would load the text encoder in the precision of its file and diffusers the UNet in fp32: say fp32 to
    # both, so that a plain `from_pretrained` draws.
    encoder_config = partial / "text_encoder" / "config.json"
    write_json({**json.loads(encoder_config.read_text("utf-8")), "dtype": "float32"}, encoder_config)
    for file in partial.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors are saved readable by their owner only
    write_json(fit, partial / "latent_rgb.json")
    write_json({"title": card.title, "defaults": card.defaults}, partial / "easel.json")
    shutil.copyfile(RECIPES / "LICENSES.md", partial / "LICENSES.md")
    shutil.rmtree(output, ignore_errors=True)
    partial.replace(output)


@torch.no_grad()
def fit_latent_rgb(vae: AutoencoderKL, pictures: Sequence[Emoji]) -> dict[str, list[list[float]] | list[float]]:
    """Least-squares map from a latent to the mean colour of its patch, RGB in [-1, 1].

    weight (channels, 3), bias (3,).
    """
    latents = encode_pictures(pictures, vae, 2, seed=1).flatten(0, 1)
    patches = []
    for batch in torch.split(latents, 32):
        decoded = vae.decode(batch).sample
        factor = decoded.shape[-1] // latents.shape[-1]
        patches.append(torch.nn.functional.avg_pool2d(decoded, factor))
    inputs = latents.permute(0, 2, 3, 1).flatten(0, 2)
    targets = torch.cat(patches).permute(0, 2, 3, 1).flatten(0, 2)
    design = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    solution = torch.linalg.lstsq(design, targets).solution
    return {"weight": solution[:-1].tolist(), "bias": solution[-1].tolist()}
