"""What can be asked for that makes a model file of others: merging and converting, as strict, frozen requests.

    Request
    └── ModelRequest            what both have: the name and the precision of what is made
        ├── MergeModels         merge-models: AUTOMATIC1111's checkpoint merger
        └── ConvertModel        convert-model: another format, precision or layout, with or without EMA

Tensors are the business of `engine/forge`; which models there are is known to the library.
"""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from webui.errors import InvalidRequest
from webui.params import Param
from webui.request_base import STRICT, Request, of_kinds

NAME = r"^([\w(][\w ().+-]{0,150})?$"
"""Of what is made: never a path, and what every file system takes."""
BLOCK = re.compile(r"^(BASE|IN\d{2}|M00|OUT\d{2})$")
POSITIONS = ("BASE", *(f"IN{n:02}" for n in range(12)), "M00", *(f"OUT{n:02}" for n in range(12)))
"""The order of the 26 numbers that merging tools for Stable Diffusion 1 and 2 write."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelRequest(Request):
    """What is made lies in the models folder afterwards, under a name that was free."""

    name: Annotated[
        str,
        Param(label="Name of the result", help="Letters, digits, spaces and ().+-_. Empty: a name is made up."),
        Field(pattern=NAME),
    ] = ""
    precision: Annotated[
        str,
        Param(label="Precision of the result", choices="model_precision",
              help="fp16 and bf16 take half the room of fp32; fp16 is what most published files have."),
    ] = "as it is"  # fmt: skip

    @property
    def summary(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MergeModels(ModelRequest):
    """Two or three checkpoints become one."""

    kind: ClassVar[str] = "merge-models"

    primary: Annotated[
        str, Param(label="Model A", max_length=300, help="Its layout and everything that only it holds are kept.")
    ]
    secondary: Annotated[
        str, Param(label="Model B", max_length=300, help="What is mixed in. Not used by No interpolation.")
    ] = ""
    tertiary: Annotated[
        str, Param(label="Model C", max_length=300, help="For Add difference: what B was made from.")
    ] = ""
    method: Annotated[
        str,
        Param(label="Method", choices="merge_method",
              help="Weighted sum: A(1-M) + B M. Add difference: A + (B-C) M. No interpolation: A alone, to change its "
                   "VAE or precision."),
    ] = "Weighted sum"  # fmt: skip
    multiplier: Annotated[
        float, Param(0.0, 1.0, step=0.01, label="Multiplier (M)", help="0 is model A; with Weighted sum, 1 is model B.")
    ] = 0.3
    block_weights: Annotated[
        str,
        Param(label="Multiplier by block", max_length=600,
              help="As IN04=0.5, OUT03=1, M00=0, BASE=0.2, or 26 numbers from BASE over IN00 to OUT11. Blocks that "
                   "are not named take the multiplier."),
    ] = ""  # fmt: skip
    baked_vae: Annotated[
        str, Param(label="Bake in VAE", max_length=300, help="A file of models/vae in place of model A's own.")
    ] = ""
    discard: Annotated[
        str,
        Param(label="Leave out weights", max_length=200,
              help="A regular expression: weights whose key it finds are not written."),
    ] = ""  # fmt: skip

    @model_validator(mode="after")
    def _methods_have_their_models(self) -> Self:
        for needed, field in ((self.needs_secondary, "secondary"), (self.needs_tertiary, "tertiary")):
            if needed and not getattr(self, field):
                raise InvalidRequest("The method '{method}' needs model {model}. Choose one.",
                                     method=self.method, model="B" if field == "secondary" else "C")  # fmt: skip
        block_weights(self.block_weights)
        try:
            re.compile(self.discard)
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidRequest(
                "'{pattern}' is no regular expression: {reason}.", pattern=self.discard, reason=str(error)
            ) from None
        return self

    @property
    def needs_secondary(self) -> bool:
        return self.method != "No interpolation"

    @property
    def needs_tertiary(self) -> bool:
        return self.method == "Add difference"

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the checkpoints that are read, A first."""
        wanted = (True, self.needs_secondary, self.needs_tertiary)
        return tuple(
            name for name, used in zip((self.primary, self.secondary, self.tertiary), wanted, strict=True) if used
        )

    @property
    def automatic_name(self) -> str:
        """AUTOMATIC1111's, without what a file's name cannot hold."""
        a, b, c = (stem(name) for name in (self.primary, self.secondary, self.tertiary))
        m = f"{self.multiplier:g}"
        return {
            "Weighted sum": f"{round(1 - self.multiplier, 4):g}({a}) + {m}({b})",
            "Add difference": f"{a} + {m}({b} - {c})",
        }.get(self.method, f"{a} new")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConvertModel(ModelRequest):
    """One model becomes another file or folder with the same weights."""

    kind: ClassVar[str] = "convert-model"

    source: Annotated[str, Param(label="Model", max_length=300, help="The model to convert; it stays as it is.")]
    shelf: Annotated[
        str, Param(label="Kind of model", choices="model_shelf", help="Which folder of the models folder it lies in.")
    ] = "checkpoints"
    layout: Annotated[
        str,
        Param(label="Layout", choices="model_layout",
              help="One .safetensors file, or a folder of diffusers, which trainings start from."),
    ] = "as it is"  # fmt: skip
    ema: Annotated[
        str,
        Param(label="EMA weights", choices="model_ema",
              help="The moving average that a training left in the file: pictures do not need it."),
    ] = "keep"  # fmt: skip

    @property
    def automatic_name(self) -> str:
        ends = [value for value in (self.precision, self.layout) if value != "as it is"]
        ends += {"drop": ["pruned"], "use": ["ema"]}.get(self.ema, [])
        return "-".join([stem(self.source), *ends]) if ends else f"{stem(self.source)} converted"


MODEL_REQUESTS = of_kinds((MergeModels, ConvertModel))


def stem(name: str) -> str:
    """Of a model's name, without folders, the suffix of its file and what a file's name may not begin with."""
    last = name.rpartition("/")[2]
    bare, dot, suffix = last.rpartition(".")
    plain = bare if dot and f".{suffix}" in (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin") else last
    return re.sub(r"[^\w ().+-]", "_", plain)[:60]


def block_weights(text: str) -> Mapping[str, float]:
    """Name of a block -> its multiplier: "IN04=0.5, OUT03=1" or 26 numbers. Raises `InvalidRequest`."""
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if pieces and all("=" not in piece for piece in pieces):
        if len(pieces) != len(POSITIONS):
            raise InvalidRequest(
                "{count} multipliers by block were given; {expected} are needed, or names as in IN04=0.5.",
                count=len(pieces), expected=len(POSITIONS),
            )  # fmt: skip
        pieces = [f"{name}={piece}" for name, piece in zip(POSITIONS, pieces, strict=True)]
    weights: dict[str, float] = {}
    for piece in pieces:
        name, _, value = (part.strip() for part in piece.partition("="))
        try:
            weights[name.upper()] = float(value)
        except ValueError:
            weights[name] = -1.0
        if not BLOCK.match(name.upper()) or not 0 <= weights.get(name.upper(), -1.0) <= 1:
            raise InvalidRequest(
                "'{piece}' is no multiplier of a block. Write BASE, IN00, M00 or OUT00 with a number from 0 to 1, as "
                "in IN04=0.5.",
                piece=piece[:40],
            )  # fmt: skip
    return weights
