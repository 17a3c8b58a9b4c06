"""What can be asked for: strict, frozen request types that the page, the API and the CLI share, and how one is built.

Validation happens in the constructor and nowhere else. A request that exists is possible; `resolve` turns
the one value that is still open, seed -1, into a number. The kinds of training are in `train_requests.py`.
"""

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from webui import branches
from webui.errors import InvalidRequest, UnknownName
from webui.model_requests import MODEL_REQUESTS
from webui.params import Param, parameters
from webui.refusals import refusal
from webui.registry import canonical_sampler, canonical_schedule
from webui.request_base import MAX_SEED, STRICT, PictureId, Request, of_kinds
from webui.request_groups import (
    BranchFields,
    ExtensionFields,
    HiresFields,
    ModelFields,
    NoiseFields,
    OutpaintingFields,
    SamplerFields,
    Size,
    SoftInpaintingFields,
    WordingFields,
    hires_sizes,
)
from webui.sentences import Sentence
from webui.train_requests import TRAIN_REQUESTS
from webui.upscale_request import Upscale

MAX_PIXELS = 16 * 2**20
"""Width × height × batch size of one model call; beyond it no consumer card holds the activations."""
MIN_SIDE = 64
MAX_SCHEDULE = 1000
"""Steps of a schedule: as many timesteps as models are trained on."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PictureRequest(NoiseFields, ModelFields, SamplerFields, ExtensionFields, BranchFields, WordingFields, Request):
    """What every kind of picture needs, from words or from another picture."""

    prompt: Annotated[str, Param(label="Prompt", help="What the picture shows.", max_length=20_000)] = ""
    negative_prompt: Annotated[
        str, Param(label="Negative prompt", help="What the picture must not show.", max_length=20_000)
    ] = ""
    checkpoint: Annotated[
        str, Param(label="Checkpoint", help="The model that draws. Empty: the default one.", max_length=300)
    ] = ""
    width: Annotated[int, Param(64, 2048, step=8, label="Width", help="Width of the picture in pixels.")] = 512
    height: Annotated[int, Param(64, 2048, step=8, label="Height", help="Height of the picture in pixels.")] = 512
    num_inference_steps: Annotated[
        int,
        Param(1, 150, step=1, label="Sampling steps", help="More steps give finer pictures and take longer."),
    ] = 20
    sampler: Annotated[
        str, Param(label="Sampling method", help="How noise is turned into a picture.", choices="sampler")
    ] = "DPM++ 2M"
    schedule: Annotated[
        str,
        Param(label="Schedule type", help="How the noise levels are spread over the steps.", choices="schedule"),
    ] = "Automatic"
    guidance_scale: Annotated[
        float,
        Param(1.0, 30.0, step=0.1, label="Guidance scale",
              help="How strongly the picture follows the prompt. 1 switches guidance off."),
    ] = 7.0  # fmt: skip
    seed: Annotated[
        int, Param(-1, MAX_SEED, step=1, label="Seed", help="Same seed, same picture. -1 draws a new one each time.")
    ] = -1
    batch_count: Annotated[
        int, Param(1, 100, step=1, label="Batch count", help="How many batches are made one after the other.")
    ] = 1
    batch_size: Annotated[
        int, Param(1, 16, step=1, label="Batch size", help="How many pictures are made at once in a batch.")
    ] = 1
    preview: Annotated[
        str,
        Param(label="Live preview", help="How each step is shown. It never changes the picture.", choices="preview"),
    ] = "Linear"

    clip_skip: Annotated[
        int,
        Param(1, 12, step=1, label="Clip skip",
              help="Which layer of the text encoder is used, counted from the last. Some models were trained with 2."),
    ] = 1  # fmt: skip
    emphasis: Annotated[
        str, Param(label="Emphasis", choices="emphasis", help="What weights such as (word:1.2) do to the prompt.")
    ] = "Original"

    @model_validator(mode="after")
    def _is_possible(self) -> "PictureRequest":
        for name in ("width", "height"):
            if getattr(self, name) % 8:
                label, value = Sentence(parameters(type(self))[name].param.label), getattr(self, name)
                raise InvalidRequest("{label} must be a multiple of 8, not {value}.", label=label, value=value)
        self._check_pixels(self.width, self.height)
        return self

    @model_validator(mode="after")
    def _branch_is_possible(self) -> "PictureRequest":
        if (origin := self.origin) is not None:
            branches.check(self, origin)
        return self

    @property
    def origin(self) -> Self | None:
        """The request of the picture whose first `branch_step` steps this one has; None when it is no branch."""
        return construct(type(self), branches.values_of_origin(self)) if self.branch_step else None

    @property
    def steps(self) -> int:
        """Steps that are really made, but for samplers that find their own number."""
        return self.num_inference_steps

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height * self.batch_size > MAX_PIXELS:
            raise InvalidRequest(
                "{width}×{height} times batch size {batch_size} is more than {most} pixels at once. "
                "Use a smaller size or batch size, and a higher batch count.",
                width=width, height=height, batch_size=self.batch_size, most=f"{MAX_PIXELS:,}",
            )  # fmt: skip

    @property
    def pictures(self) -> int:
        return self.batch_count * self.batch_size

    @property
    def summary(self) -> str:
        return self.prompt

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.extension_inputs

    def seed_of(self, picture: int) -> int:
        """Seed of picture `picture` (0-based over all batches): that seed alone gives the same picture.

        With a variation it is the variation seed that counts up, and all pictures have the same seed.
        """
        return self.seed if self.variation_strength else (self.seed + picture) % (MAX_SEED + 1)

    def variation_seed_of(self, picture: int) -> int:
        return (self.variation_seed + picture) % (MAX_SEED + 1)

    def resolved(self) -> Self:
        drawn = super().resolved()
        if drawn.variation_seed < 0 and drawn.variation_strength:
            drawn = dataclasses.replace(drawn, variation_seed=secrets.randbelow(MAX_SEED + 1))
        least = branches.difference(drawn)
        return drawn if least == drawn.branch_from else dataclasses.replace(drawn, branch_from=least)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextToImage(HiresFields, PictureRequest):
    """A picture from words."""

    kind: ClassVar[str] = "txt2img"

    @model_validator(mode="after")
    def _second_pass_is_possible(self) -> "TextToImage":
        if not self.hires:
            return self
        whole, size = self.hires_sizes
        for width, height in (whole, size):
            if min(width, height) < MIN_SIDE:
                raise InvalidRequest(
                    "The second pass would draw {width}×{height}; {least} pixels are the least for a side.",
                    width=width, height=height, least=MIN_SIDE,
                )  # fmt: skip
            self._check_pixels(width, height)
        if self.hires_strength and self.hires_schedule_steps > MAX_SCHEDULE:
            raise InvalidRequest(
                "{steps} steps at a denoising strength of {strength} would need a schedule of {whole} steps; "
                "{most} are possible. Use fewer hires steps or more strength.",
                steps=self.second_steps, strength=f"{self.hires_strength:g}", whole=self.hires_schedule_steps,
                most=MAX_SCHEDULE,
            )  # fmt: skip
        return self

    @property
    def hires_sizes(self) -> tuple[Size, Size]:
        """What the first picture is enlarged to, and the size of the result, which is the middle of that."""
        return hires_sizes((self.width, self.height), self)

    @property
    def second_steps(self) -> int:
        """Steps of the second pass, whatever its strength."""
        return self.hires_steps or self.num_inference_steps

    @property
    def hires_schedule_steps(self) -> int:
        """Steps of the schedule whose last `second_steps` the second pass makes. The strength is not 0."""
        return int(self.second_steps / min(self.hires_strength, 0.999))


MaskId = Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]
"""A `PictureId`, or nothing."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageToImage(PictureRequest):
    """A picture made from another one: noise is laid over it, as much as `strength` says, and taken away again.

    Meng et al. 2022 (SDEdit, arXiv:2108.01073). `width` and `height` are those of the result.
    """

    kind: ClassVar[str] = "img2img"

    image: Annotated[PictureId, Param(label="Picture", help="The picture to begin with, uploaded before.")]
    strength: Annotated[
        float,
        Param(0.0, 1.0, step=0.01, label="Denoising strength",
              help="How much of the picture may change: 0 next to nothing, 1 everything."),
    ] = 0.75  # fmt: skip
    resize_mode: Annotated[
        str,
        Param(label="Resize mode", choices="resize_mode",
              help="What happens when the picture has another shape than the result."),
    ] = "Just resize"  # fmt: skip
    color_correction: Annotated[
        bool, Param(label="Colour correction", help="Gives the result the colours of the picture it begins with.")
    ] = False
    image_guidance_scale: Annotated[
        float,
        Param(0.0, 3.0, step=0.05, label="Image guidance scale",
              help="How strongly an instruct-pix2pix checkpoint keeps to the picture; others have no use for it."),
    ] = 1.5  # fmt: skip

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.image, *self.extension_inputs

    @property
    def steps(self) -> int:
        """Steps that are really made: those from the noise level of `strength` on."""
        return int(min(self.strength, 0.999) * self.num_inference_steps) + 1


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inpaint(SoftInpaintingFields, OutpaintingFields, ImageToImage):
    """A picture of which only the masked part is painted anew."""

    kind: ClassVar[str] = "inpaint"

    mask: Annotated[
        MaskId, Param(label="Mask", help="A picture of the same size, uploaded before: white is painted anew.")
    ] = ""
    mask_mode: Annotated[
        str, Param(label="Mask mode", choices="mask_mode", help="Whether the masked part or all the rest is painted.")
    ] = "Inpaint masked"
    mask_blur: Annotated[
        int, Param(0, 64, step=1, label="Mask blur", help="How softly the new part blends into the old, in pixels.")
    ] = 4
    masked_content: Annotated[
        str,
        Param(label="Masked content", choices="masked_content",
              help="What the masked part is before it is painted: the colours around it, the picture as it is, "
              "noise, or nothing."),
    ] = "original"  # fmt: skip
    inpaint_area: Annotated[
        str,
        Param(label="Inpaint area", choices="inpaint_area",
              help="Whole picture paints at the result's size; Only masked paints the masked part alone, enlarged to "
              "that size, and puts it back."),
    ] = "Whole picture"  # fmt: skip
    padding: Annotated[
        int,
        Param(0, 256, step=4, label="Only masked padding",
              help="How many pixels around the masked part are looked at when only that is painted."),
    ] = 32  # fmt: skip
    keep_untouched: Annotated[
        bool,
        Param(label="Keep the rest untouched",
              help="Every pixel that is not masked stays exactly as it is; a soft edge then lies inside the mask."),
    ] = False  # fmt: skip

    @model_validator(mode="after")
    def _something_is_painted(self) -> "Inpaint":
        if not self.mask and not any(self.margins):
            raise InvalidRequest("There is nothing to paint: give a mask, or pixels by which the picture grows.")
        if self.inpaint_area == "Whole picture":
            left, top, right, bottom = self.margins
            self._check_pixels(left + self.width + right, top + self.height + bottom)
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        return *(name for name in (self.image, self.mask) if name), *self.extension_inputs


REQUESTS: Mapping[str, type[Request]] = {
    **of_kinds((TextToImage, ImageToImage, Inpaint, Upscale)), **MODEL_REQUESTS, **TRAIN_REQUESTS,
}  # fmt: skip
"""Kind of job -> request type."""

AnyRequest = TypeVar("AnyRequest", bound=Request)
Constructed = TypeVar("Constructed")


def build(kind: str, values: Mapping[str, Any]) -> Request:
    """Make a request from named values; absent names take their defaults.

    Raises `InvalidRequest` naming the first wrong value and its limits, or `UnknownName`.
    """
    if kind not in REQUESTS:
        raise UnknownName("kind of job", kind, REQUESTS)
    return construct(REQUESTS[kind], values)


def construct(request_type: type[Constructed], values: Mapping[str, Any]) -> Constructed:
    """A strict dataclass of `Param`s, a request or the options of an extension, as `build` does it."""
    known = {field.name for field in dataclasses.fields(request_type)}  # type: ignore[arg-type]
    if unknown := [name for name in values if name not in known]:
        raise UnknownName("field", str(unknown[0]), parameters(request_type))
    try:
        return request_type(**_with_canonical_names(request_type, values))
    except ValidationError as error:
        raise refusal(request_type, error) from error


def _with_canonical_names(request_type: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Split an old joined sampler name ("DPM++ 2M Karras") and let whole floats stand for integers."""
    types = {name: declared.type for name, declared in parameters(request_type).items()}
    result: dict[str, Any] = {
        name: int(value) if types.get(name) is int and isinstance(value, float) and value.is_integer() else value
        for name, value in values.items()
    }
    for prefix in ("", "hires_"):
        if isinstance(result.get(f"{prefix}sampler"), str):
            sampler, schedule = canonical_sampler(result[f"{prefix}sampler"])
            result[f"{prefix}sampler"] = sampler
            if schedule:
                result[f"{prefix}schedule"] = schedule
        if isinstance(result.get(f"{prefix}schedule"), str):
            result[f"{prefix}schedule"] = canonical_schedule(result[f"{prefix}schedule"])
    return result


def resolve(request: AnyRequest) -> AnyRequest:
    """The same request with nothing left open: seed -1 becomes a random number."""
    return request.resolved()


def to_values(request: Request) -> dict[str, Any]:
    """The request as named plain values, the inverse of `build`."""
    return dataclasses.asdict(request)
