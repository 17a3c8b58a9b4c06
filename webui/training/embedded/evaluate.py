"""How good the embedded model is: figures by a judge that never saw its art styles, beside chance and real pictures.

Pictures come from the product's own engine, one prompt and one seed each; nothing is picked. Held-out pairs and names
are those that `words` keeps out of the captions.
"""

import io
import itertools
import random
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from webui.contract import Job
from webui.engine.engine import create_engine
from webui.events import Failed
from webui.events import Image as PictureEvent
from webui.library import Library
from webui.requests import build
from webui.training.embedded.classifier import Classifier
from webui.training.embedded.scenes import Composer
from webui.training.embedded.words import (
    COLOURS,
    DEFAULT_STYLE,
    PLACES,
    STYLES,
    Concept,
    Scene,
    Thing,
    held_out_name,
    is_held_out_pair,
)

CANDIDATES = 64
"""The judge says which of these many concepts a picture shows."""


@dataclass(frozen=True)
class Question:
    """A prompt, the concept that it asks for, and the scene that a real picture of it shows."""

    prompt: str
    scene: Scene

    @property
    def concept(self) -> Concept:
        return self.scene.things[0].concept


def candidates(concepts: Sequence[Concept]) -> list[Concept]:
    """The concepts that are asked for, always the same ones: no faces, which differ in a line of the mouth only."""
    usable = [each for each in concepts if not each.subgroup.startswith(("face", "cat-face")) and each.korean]
    return sorted(usable, key=lambda each: zlib.crc32(f"asked {each.hexcode}".encode()))[:CANDIDATES]


def questions(asked: Sequence[Concept], styles: Sequence[str]) -> dict[str, list[Question]]:
    """The sets of prompts, by name; at most 64 each."""
    pairs = [(c, style) for style in styles for c in asked if is_held_out_pair(c, style)]
    places = [(c, place) for c in asked for place in PLACES if is_held_out_pair(c, place)][:CANDIDATES]
    coloured = zip(asked, itertools.cycle(COLOURS), strict=False)
    unseen = [(c, name) for c in asked for name in [held_out_name(c)] if name]
    return {
        "captions": [Question(f"a {c.label}", _scene(c)) for c in asked],
        "styles": [Question(STYLES[s][0][0].format(f"a {c.label}"), _scene(c, style=s)) for c, s in pairs],
        "places": [Question(f"a {c.label} {PLACES[p][0]}", _scene(c, place=p)) for c, p in places],
        "synonyms": [Question(f"a {name}", _scene(c)) for c, name in unseen],
        "korean": [Question(c.korean[0], _scene(c)) for c in asked],
        "colours": [Question(f"a {name} {c.label}", _scene(c, colour=name)) for c, name in coloured],
    }  # fmt: skip


def _scene(concept: Concept, style: str = DEFAULT_STYLE, place: str | None = None, colour: str | None = None) -> Scene:
    return Scene(style, (Thing(concept, colour),), place=place)


class Artist:
    """Draws prompts with a checkpoint through the product's engine."""

    def __init__(self, models: Path, checkpoint: str, device: str = "auto", steps: int = 20) -> None:
        self._engine = create_engine(models, device)
        passport = Library(models / "checkpoints").find(checkpoint)
        self.folder = passport.path
        self._checkpoint, self._steps = passport.name, steps
        defaults = passport.defaults
        self._size = int(defaults["width"]), int(defaults["height"])
        self._guidance = float(defaults.get("guidance_scale", 4.0))
        self.seconds: list[float] = []
        """Time of every picture, loading apart."""

    def draw(self, prompt: str, seed: int) -> torch.Tensor:
        """(3, height, width) in [-1, 1]."""
        values = {
            "prompt": prompt, "seed": seed, "checkpoint": self._checkpoint, "preview": "Off",
            "width": self._size[0], "height": self._size[1],
            "num_inference_steps": self._steps, "guidance_scale": self._guidance,
        }  # fmt: skip
        began = time.monotonic()
        for event in self._engine.run(Job(id="evaluate", request=build("txt2img", values)), lambda: None):
            if isinstance(event, PictureEvent):
                self.seconds.append(time.monotonic() - began)
                pixels = np.asarray(Image.open(io.BytesIO(event.png)).convert("RGB"))
                return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1
            if isinstance(event, Failed):
                raise RuntimeError(event.text)
        raise RuntimeError("The engine made no picture.")


class Judge:
    """A classifier whose outputs stand for `concepts`, in their order."""

    def __init__(self, classifier: Classifier, concepts: Sequence[Concept]) -> None:
        self._classifier = classifier
        self._concepts = list(concepts)

    @torch.no_grad()
    def ranks(self, pictures: torch.Tensor, concepts: Sequence[Concept]) -> torch.Tensor:
        """(n,) rank of the right concept, 0 is first."""
        logits = self._classifier(pictures)
        right = logits[torch.arange(len(logits)), [self._concepts.index(each) for each in concepts]]
        better: torch.Tensor = logits > right[:, None]
        return better.sum(1)

    @torch.no_grad()
    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._classifier.features(pictures)


def retrieval(
    artist: Artist, judge: Judge, asked: Sequence[Question], real: torch.Tensor, tell: Callable[[int], None]
) -> tuple[dict[str, float], torch.Tensor]:
    """Top-1 and top-5 of drawn and of real pictures, in percent, and the drawn pictures (n, 3, h, w)."""
    drawn = []
    for number, question in enumerate(asked):
        drawn.append(artist.draw(question.prompt, seed=number))
        tell(number + 1)
    pictures, concepts = torch.stack(drawn), [each.concept for each in asked]
    ours, theirs = judge.ranks(pictures, concepts), judge.ranks(real, concepts)
    return {
        "top-1 (%)": _percent(ours < 1),
        "top-5 (%)": _percent(ours < 5),
        "real pictures top-1 (%)": _percent(theirs < 1),
        "real pictures top-5 (%)": _percent(theirs < 5),
        "chance top-1 (%)": 100 / CANDIDATES,
        "prompts": float(len(asked)),
    }, pictures


def real_pictures(composer: Composer, asked: Sequence[Question], seed: int = 0) -> torch.Tensor:
    """What each question asks for, composed from real pictures: the ceiling of the judge."""
    rng = random.Random(seed)
    index = {(each.concept.hexcode, each.style): number for number, each in enumerate(composer.pictures)}
    scenes = [composer.compose(each.scene, index[each.concept.hexcode, each.scene.style], rng) for each in asked]
    return torch.cat([composer.paint(scenes[begin : begin + 32]) for begin in range(0, len(scenes), 32)])


def diversity(artist: Artist, judge: Judge, asked: Sequence[Question], seeds: int = 6) -> dict[str, float]:
    """How much pictures of one prompt differ over how much those of different prompts do, in the judge's features."""
    rows = [torch.stack([artist.draw(each.prompt, 1000 + seed) for seed in range(seeds)]) for each in asked]
    features = [judge.features(row) for row in rows]
    within = torch.stack([torch.pdist(each).mean() for each in features]).mean()
    between = torch.pdist(torch.stack([each.mean(0) for each in features])).mean()
    return {"difference between seeds / between prompts": float(within / between)}


def memorisation(drawn: torch.Tensor, training: torch.Tensor) -> dict[str, float]:
    """Distance to the nearest training picture, beside that between neighbours in the training set: RMS, 0 to 1.

    Over 32×32 pixels. A model that only copies is near 0; one that draws as differently as real pictures differ from
    each other reaches the second figure.
    """
    ours, known = (F.interpolate(each, (32, 32), mode="area").flatten(1) / 2 for each in (drawn, training))
    scale = known.shape[1] ** 0.5
    apart = torch.cdist(known, known).fill_diagonal_(torch.inf)
    return {
        "nearest training picture, drawn (RMS)": float(torch.cdist(ours, known).min(1).values.mean() / scale),
        "nearest other, training pictures (RMS)": float(apart.min(1).values.mean() / scale),
    }


def sharpness(pictures: torch.Tensor) -> float:
    """Root mean square difference of neighbouring pixels, in levels of 255: less where edges are blurred."""
    squares = [pictures.diff(dim=axis).pow(2).mean() for axis in (2, 3)]
    return float((sum(squares) / 2) ** 0.5 * 127.5)


def colour_agreement(pictures: torch.Tensor, names: Sequence[str]) -> float:
    """Percent of pictures whose most frequent colour, white apart, is nearest to the named one."""
    palette = torch.tensor([COLOURS[name][1] for name in COLOURS]).float()
    right = 0
    for picture, name in zip(pictures, names, strict=True):
        pixels = ((picture + 1) * 127.5).flatten(1).T
        things = pixels[(pixels.min(1).values < 235)]
        nearest = torch.cdist(things, palette).argmin(1)
        right += int(nearest.bincount(minlength=len(palette)).argmax()) == list(COLOURS).index(name)
    return 100 * right / len(names)


def _percent(hits: torch.Tensor) -> float:
    return float(hits.float().mean() * 100)


def contact_sheet(pictures: torch.Tensor, columns: int = 8) -> Image.Image:
    """All pictures in one, row by row."""
    rows = [torch.cat(list(row), dim=2) for row in torch.split(pictures, columns) if len(row) == columns]
    pixels = ((torch.cat(rows, dim=1) + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels)
