"""What one training run is made of: a TOML file, read into strict, frozen dataclasses.

A recipe says which pictures, how big the networks are and how long each stage may take. It holds no
paths of a machine: where data lies and where checkpoints go is said on the command line.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from webui.errors import InvalidRecipe

STRICT = ConfigDict(extra="forbid", frozen=True)
Minutes = Annotated[float, Field(gt=0, le=100_000)]
Positive = Annotated[int, Field(gt=0)]

RECIPES = Path(__file__).with_name("recipes")


@dataclass(config=STRICT, kw_only=True)
class PictureSet:
    """Which emoji are learnt: art styles (package sets) and emojibase subgroups."""

    styles: tuple[str, ...]
    subgroups: tuple[str, ...]
    size: Positive = 128
    """Side of a training picture in pixels."""


@dataclass(config=STRICT, kw_only=True)
class Mix:
    """How often each kind of scene is composed; relative weights."""

    plain: float = 0.45
    """One thing on white or on a colour."""
    place: float = 0.25
    """One thing in a painted place."""
    coloured: float = 0.12
    """One thing in another colour than its own."""
    pair: float = 0.10
    """Two things, arranged."""
    several: float = 0.05
    """The same thing twice or three times."""
    faced: float = 0.03
    """One thing that has none of its own with a face drawn on it."""


@dataclass(config=STRICT, kw_only=True)
class Limit:
    """How long a stage goes on: either `minutes` of training time or `steps` of the optimiser."""

    minutes: Minutes | None = None
    steps: Positive | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "Limit":
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("a stage is limited either by minutes or by steps")
        return self


@dataclass(config=STRICT, kw_only=True)
class AutoencoderRecipe(Limit):
    block_out_channels: tuple[int, ...] = (16, 32, 64, 128)
    """One entry per resolution; the downsampling factor is 2 to the power of (entries - 1)."""
    latent_channels: Positive = 4
    crop: Positive = 64
    """Side of the random training crop in pixels, a multiple of the downsampling factor."""
    batch_size: Positive = 8
    learning_rate: float = 1e-3
    kl_weight: float = 1e-3
    """Weight of the KL term per latent element (Rombach et al. 2022, section 3.1: kept very small)."""


@dataclass(config=STRICT, kw_only=True)
class TextEncoderRecipe(Limit):
    vocabulary: Positive = 8192
    hidden_size: Positive = 256
    layers: Positive = 3
    heads: Positive = 4
    batch_size: Positive = 128
    learning_rate: float = 1e-3
    captions: Positive = 45_000
    """How many scenes are described, in English and Korean, besides the words of emojibase and WordNet."""


@dataclass(config=STRICT, kw_only=True)
class DiffusionRecipe(Limit):
    block_out_channels: tuple[int, ...] = (48, 96, 160)
    attention_heads: tuple[int, ...] = (2, 4, 5)
    norm_groups: Positive = 16
    batch_size: Positive = 24
    learning_rate: float = 8e-4
    pool: Positive = 4608
    """How many composed pictures are kept encoded at a time."""
    chunk: Positive = 96
    """How many are composed and encoded at once."""
    reuse: Positive = 8
    """How often each of them is shown before it is replaced, on average."""
    korean_share: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of captions in Korean."""
    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of samples trained without their caption, for classifier-free guidance."""
    snr_gamma: float = 5.0
    """Clamp of the signal-to-noise weight (Hang et al. 2023, arXiv:2303.09556)."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    precision: str = "bf16"
    """On a graphics card; the CPU always computes in fp32."""


@dataclass(config=STRICT, kw_only=True)
class PreviewRecipe(Limit):
    """The small decoder of live previews."""

    batch_size: Positive = 16
    learning_rate: float = 3e-3


@dataclass(config=STRICT, kw_only=True)
class ClassifierRecipe(Limit):
    """The judge of the evaluation: trained on other art styles than the denoiser."""

    styles: tuple[str, ...] = (
        "noto", "twemoji", "openmoji", "emojione", "noto-v1", "emojione-v1", "fxemoji", "streamline",
        "line:noto", "line:openmoji", "line:emojione-v1",
    )  # fmt: skip
    widths: tuple[int, ...] = (32, 64, 128, 256)
    """Channels of its four levels."""
    batch_size: Positive = 64
    learning_rate: float = 2e-3


@dataclass(config=STRICT, kw_only=True)
class Card:
    """What the finished folder says about itself in easel.json."""

    title: str
    defaults: dict[str, int | float | str] = Field(default_factory=dict)
    """Values of a request that suit this model, e.g. guidance_scale."""


@dataclass(config=STRICT, kw_only=True)
class Recipe:
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
    card: Card
    seed: int = 0
    pictures: PictureSet
    autoencoder: AutoencoderRecipe
    text_encoder: TextEncoderRecipe
    diffusion: DiffusionRecipe
    scenes: Mix = field(default_factory=Mix)
    preview: PreviewRecipe = field(default_factory=lambda: PreviewRecipe(minutes=6))
    classifier: ClassifierRecipe = field(default_factory=lambda: ClassifierRecipe(minutes=25))


def available_recipes() -> Mapping[str, Path]:
    """The recipes that ship, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}


def load_recipe(name_or_path: str) -> Recipe:
    """Read a shipped recipe by name, or any recipe by path.

    Raises `InvalidRecipe` when there is none or a value in it is unknown or out of range.
    """
    path = available_recipes().get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise InvalidRecipe(
            "There is no recipe '{name}'. Shipped: {known}; or give the path of a .toml file.",
            name=name_or_path,
            known=", ".join(available_recipes()),
        )
    try:
        return TypeAdapter(Recipe).validate_python(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InvalidRecipe("{file} is not a valid recipe: {reason}", file=path.name, reason=str(error)) from error
