"""All stages of the embedded model in a row, and the result as a diffusers folder that the product can load.

Resumable at any point: each stage keeps its own checkpoint and is skipped when its time is used up.
"""

import copy
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from webui.engine.preview_decoder import FILE as PREVIEW_FILE
from webui.engine.preview_decoder import PreviewDecoder, read_preview_decoder
from webui.errors import TrainingError, UnknownName
from webui.training.autoencoder import normalise_latents
from webui.training.embedded.classifier import Classifier, train_classifier
from webui.training.embedded.denoiser import Encoders, train_denoiser
from webui.training.embedded.emoji import Emoji, load_emoji
from webui.training.embedded.first_stage import plain_pictures, train_first_stage
from webui.training.embedded.preview import train_preview
from webui.training.embedded.scenes import Composer
from webui.training.embedded.start import read_network
from webui.training.embedded.text_encoder import build_corpus, load_tokenizer, train_text_encoder
from webui.training.embedded.words import Concept
from webui.training.loop import write_json
from webui.training.objective import noise_config, sampling_scheduler
from webui.training.recipe import RECIPES, Card, Mix, Recipe

log = logging.getLogger(__name__)

WORDS_MIX = Mix(plain=0.3, place=0.25, coloured=0.15, pair=0.2, several=0.07, faced=0.03)
"""Scenes that the text encoder hears about: more of the long sentences than the denoiser sees."""


PARTS = ("first-stage", "words", "denoiser")
"""What `train` makes, in this order."""


@dataclass(frozen=True)
class Start:
    """Where a run begins: a checkpoint's first stage and denoiser where they have the recipe's shape, or new ones.

    Words that are trained are always new: their tokenizer is made for them.
    """

    checkpoint: Path | None = None
    only: Sequence[str] = PARTS
    """Parts that are trained. The others are the checkpoint's as they are."""

    def __post_init__(self) -> None:
        for part in self.only:
            if part not in PARTS:
                raise UnknownName("part of the embedded model", part, PARTS)
        if self.checkpoint is None and set(self.only) != set(PARTS):
            raise TrainingError("--only leaves parts as they are, so it needs --start-from as well.")

    def trains(self, part: str) -> bool:
        return part in self.only

    def folder(self, name: str) -> Path | None:
        """The folder of a network in the checkpoint, if it has one."""
        folder = None if self.checkpoint is None else self.checkpoint / name
        return folder if folder is not None and folder.is_dir() else None

    def needed(self, name: str) -> Path:
        folder = self.folder(name)
        if folder is None:
            raise TrainingError(
                "{path} has no folder {name}: name a checkpoint's folder.", path=str(self.checkpoint), name=name
            )
        return folder


NEW = Start()


def train(recipe: Recipe, data: Path, run: Path, output: Path, device: str = "cpu", start: Start = NEW) -> None:
    """Run or resume every stage; write the finished pipeline to `output`.

    `data` holds the packages as downloaded, `run` the checkpoints and loss curves.
    """
    check_output(output, run)
    pictures = load_emoji(data, recipe.pictures.styles, recipe.pictures.subgroups, recipe.pictures.size)
    log.info("recipe %s: %d pictures", recipe.name, len(pictures))
    vae = first_stage(recipe, pictures, run / "autoencoder", device, start)
    composer = Composer(pictures, recipe.scenes, recipe.seed, device)
    preview = preview_decoder(recipe, composer, vae.to(device), run / "preview", device, start)
    text_encoder, tokenizer, tokenizer_files = words(recipe, data, run / "text_encoder", device, start)
    if start.trains("denoiser"):
        encoders = Encoders(vae.to(device), text_encoder.to(device), tokenizer)
        folder = run / "denoiser"
        unet = train_denoiser(recipe.diffusion, composer, encoders, folder, recipe.seed, device, start.folder("unet"))
    else:
        unet = read_network(UNet2DConditionModel, start.needed("unet"))
    parts = Parts(vae.to("cpu"), text_encoder.to("cpu"), tokenizer, tokenizer_files, unet.to("cpu"), preview.to("cpu"))
    assemble(parts, recipe.card, pictures, output)
    log.info("finished: %s", output)


def first_stage(recipe: Recipe, pictures: Sequence[Emoji], folder: Path, device: str, start: Start) -> AutoencoderKL:
    """The trained first stage, on the CPU, its latents normalised."""
    if not start.trains("first-stage"):
        return read_network(AutoencoderKL, start.needed("vae"))
    begin = start.folder("vae")
    vae, quality = train_first_stage(recipe.autoencoder, pictures, folder, recipe.seed, device, begin)
    log.info("first stage done: held-out PSNR %.2f dB", quality)
    vae = vae.to("cpu")
    normalise_latents(vae, plain_pictures(pictures))
    return vae


def preview_decoder(
    recipe: Recipe, composer: Composer, vae: AutoencoderKL, folder: Path, device: str, start: Start
) -> PreviewDecoder:
    """That of the checkpoint, where the first stage is the checkpoint's too; else one is trained."""
    if not start.trains("first-stage") and start.checkpoint is not None:
        found = read_preview_decoder(start.checkpoint, vae.config.latent_channels, torch.device(device))
        if found is not None:
            return found
    return train_preview(recipe.preview, composer, vae, folder, recipe.seed, device)


def words(
    recipe: Recipe, data: Path, folder: Path, device: str, start: Start
) -> tuple[CLIPTextModel, CLIPTokenizer, Path]:
    """Text encoder, tokenizer, and the folder with the tokenizer's files."""
    if start.trains("words"):
        return *train_words(recipe, data, folder, device), folder / "tokenizer"
    files = start.needed("tokenizer")
    return read_network(CLIPTextModel, start.needed("text_encoder")), load_tokenizer(files), files


def train_words(recipe: Recipe, data: Path, folder: Path, device: str = "cpu") -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The text encoder stage. Its words come from all emoji, drawn or not."""
    styles = recipe.pictures.styles
    tiny = load_emoji(data, styles, recipe.pictures.subgroups, 16)  # only what they are called matters here
    corpus = build_corpus(data, Composer(tiny, WORDS_MIX, recipe.seed), recipe.text_encoder.captions, recipe.seed)
    return train_text_encoder(recipe.text_encoder, corpus, data, folder, recipe.seed, device)


def judged_pictures(recipe: Recipe, data: Path) -> list[Emoji]:
    """What the judge of the evaluation may learn from: other art styles than the denoiser's."""
    return load_emoji(data, recipe.classifier.styles, recipe.pictures.subgroups, recipe.pictures.size // 2)


def train_judge(
    recipe: Recipe, pictures: Sequence[Emoji], concepts: Sequence[Concept], run: Path, device: str = "cpu"
) -> Classifier:
    """Train, resume or load the judge, which says which of `concepts` a picture shows.

    It learns these alone: telling all things apart takes many times as long, and is not asked of it.
    """
    only_things = Mix(plain=0.5, place=0.35, coloured=0.15, pair=0, several=0, faced=0)
    wanted = set(concepts)
    composer = Composer([each for each in pictures if each.concept in wanted], only_things, recipe.seed + 1, device)
    judge = train_classifier(recipe.classifier, composer, concepts, run / "classifier", recipe.seed + 1, device)
    return judge.to("cpu")


def check_output(output: Path, run: Path) -> None:
    """Refuse an output that would cost other files: it is replaced as a whole in the end."""
    if output.exists() and not (output / "model_index.json").exists() and (output.is_file() or any(output.iterdir())):
        raise TrainingError(
            "{path} holds something that is no checkpoint. Name a new folder in --output.", path=str(output)
        )
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
    preview: PreviewDecoder


def assemble(parts: Parts, card: Card, pictures: Sequence[Emoji], output: Path) -> None:
    """Save as a `StableDiffusionPipeline` folder in fp16, every file under 15 MB, replacing what was there."""
    fit = fit_latent_rgb(parts.vae, plain_pictures(pictures[:: max(1, len(pictures) // 256)]))
    pipeline = StableDiffusionPipeline(
        vae=copy.deepcopy(parts.vae),  # the copies become fp16, the parts stay as they are
        text_encoder=copy.deepcopy(parts.text_encoder),
        tokenizer=parts.tokenizer,
        unet=copy.deepcopy(parts.unet),
        scheduler=sampling_scheduler(noise_config("scaled_linear", "v_prediction")),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(partial, safe_serialization=True, max_shard_size="15MB")
    for name in ("vocab.json", "merges.txt"):  # save_pretrained writes tokenizer.json alone; other tools read these
        shutil.copyfile(parts.tokenizer_files / name, partial / "tokenizer" / name)
    # transformers would load the text encoder in the precision of its file and diffusers the UNet in fp32: say fp32 to
    # both, so that a plain `from_pretrained` draws.
    encoder_config = partial / "text_encoder" / "config.json"
    write_json({**json.loads(encoder_config.read_text("utf-8")), "dtype": "float32"}, encoder_config)
    for part in ("unet", "vae"):  # where the weights lay on this machine is nobody's business
        config = partial / part / "config.json"
        said = json.loads(config.read_text("utf-8"))
        write_json({name: value for name, value in said.items() if name != "_name_or_path"}, config)
    save_file(parts.preview.state_dict(), partial / PREVIEW_FILE)
    for file in partial.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors are saved readable by their owner only
    write_json(fit, partial / "latent_rgb.json")
    write_json({"title": card.title, "defaults": card.defaults}, partial / "easel.json")
    shutil.copyfile(RECIPES / "LICENSES.md", partial / "LICENSES.md")
    shutil.rmtree(output, ignore_errors=True)
    partial.replace(output)


@torch.no_grad()
def fit_latent_rgb(vae: AutoencoderKL, pictures: torch.Tensor) -> dict[str, list[list[float]] | list[float]]:
    """Least-squares map from a latent to the mean colour of its patch, RGB in [-1, 1].

    `pictures` is (n, 3, h, w); the result holds weight (channels, 3) and bias (3,).
    """
    latents = torch.cat([vae.encode(batch).latent_dist.mean for batch in torch.split(pictures, 32)])
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
