"""All figures of the embedded model in one run: a JSON file to keep and sheets to look at.

What each figure means and how it is made is in `evaluate`.
"""

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from PIL import Image
from tqdm import tqdm

from webui.training.autoencoder import psnr
from webui.training.embedded.emoji import Emoji, load_emoji
from webui.training.embedded.evaluate import (
    Artist,
    Judge,
    candidates,
    colour_agreement,
    contact_sheet,
    diversity,
    memorisation,
    questions,
    real_pictures,
    retrieval,
    sharpness,
)
from webui.training.embedded.first_stage import held_out_pictures, plain_pictures
from webui.training.embedded.pipeline import judged_pictures, train_judge
from webui.training.embedded.scenes import Composer
from webui.training.embedded.words import DEFAULT_STYLE, Concept
from webui.training.recipe import Recipe

Figures = dict[str, float]

SHEET = (
    "a panda", "a lion", "a red apple", "a birthday cake", "a yellow smiling face", "a banana", "an octopus", "a frog",
    "a line drawing of a cat", "a flat icon of a fox", "a blue cat", "a green elephant", "an apple with a smiling face",
    "two cats", "a cat to the left of a tree", "a strawberry on a blue background",
    "a penguin in the snow", "a camel in the desert", "a whale in the sea", "a dog in a city", "a lion at sunset",
    "an owl under a starry night sky", "a dolphin in the sea", "a rabbit on the grass",
    "a puppy", "a kitty", "a bunny", "a bloom", "사과", "고양이", "해변의 강아지", "파란 나비",
)  # fmt: skip
"""Prompts of the sample sheet, eight a row: words as trained, styles and colours, places, other words and Korean."""


def evaluate(
    recipe: Recipe, data: Path, run: Path, models: Path, checkpoint: str, output: Path, device: str
) -> Figures:
    """Measure `checkpoint` ("": the default one), and write figures.json, sheet.png and all.png to `output`.

    Names of figures begin with what was asked for. The judge is trained first if need be.
    """
    pictures = load_emoji(data, recipe.pictures.styles, recipe.pictures.subgroups, recipe.pictures.size)
    composer = Composer(pictures, recipe.scenes, recipe.seed)
    elsewhere = judged_pictures(recipe, data)
    asked = asked_concepts(pictures, elsewhere)
    judge = Judge(train_judge(recipe, elsewhere, asked, run, device), asked)
    artist = Artist(models, checkpoint, device)
    figures: Figures = {"held-out reconstruction, PSNR (dB)": first_stage_psnr(artist.folder, pictures)}
    drawn: dict[str, torch.Tensor] = {}
    sets = questions(asked, recipe.pictures.styles)
    for name, each in sets.items():
        with progress(name, len(each)) as tell:
            found, drawn[name] = retrieval(artist, judge, each, real_pictures(composer, each), tell)
        figures |= {f"{name}, {what}": value for what, value in found.items()}
    names = [each.scene.things[0].colour or "" for each in sets["colours"]]
    figures["colours, named colour (%)"] = colour_agreement(drawn["colours"], names)
    figures |= {
        **diversity(artist, judge, sets["captions"][:8]),
        **memorisation(drawn["captions"], plain_pictures([each for each in pictures if each.style == DEFAULT_STYLE])),
        "sharpness, drawn": sharpness(drawn["captions"]),
        "sharpness, real": sharpness(real_pictures(composer, sets["captions"])),
        "seconds per picture": statistics.median(artist.seconds),
    }  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    (output / "figures.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    draw_sheet(artist, SHEET).save(output / "sheet.png")
    contact_sheet(torch.cat(list(drawn.values()))).save(output / "all.png")
    return figures


def asked_concepts(pictures: Sequence[Emoji], elsewhere: Sequence[Emoji]) -> list[Concept]:
    """What is asked for, of all that the denoiser has seen and the judge can learn."""
    judged = {each.concept for each in elsewhere}
    return candidates([each.concept for each in pictures if each.style == DEFAULT_STYLE and each.concept in judged])


def first_stage_psnr(folder: Path, pictures: Sequence[Emoji]) -> float:
    """Reconstruction of pictures of concepts that the first stage never saw, in dB."""
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, local_files_only=True)
    assert isinstance(vae, AutoencoderKL)
    return psnr(vae, held_out_pictures(pictures))


def draw_sheet(artist: Artist, prompts: Sequence[str]) -> Image.Image:
    """One picture per prompt, seed 1."""
    with progress("sheet", len(prompts)) as tell:
        drawn = []
        for number, prompt in enumerate(prompts):
            drawn.append(artist.draw(prompt, seed=1))
            tell(number + 1)
    return contact_sheet(torch.stack(drawn))


@contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal, told how many are done."""
    with tqdm(desc=name, total=total, unit="picture", dynamic_ncols=True) as bar:

        def tell(done: int) -> None:
            bar.n = done
            bar.refresh()

        yield tell
