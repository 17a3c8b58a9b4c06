"""What can be asked for: strict, frozen request types that the page, the API and the CLI share, and how one is built.

Validation happens in the constructor and nowhere else. A request that exists is possible; `resolve` turns
the one value that is still open, seed -1, into a number. The kinds of training are in `train_requests.py`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import ValidationError, model_validator
from pydantic.dataclasses import dataclass

from webui.errors import InvalidRequest, UnknownName
from webui.params import Param, Parameter, parameters
from webui.registry import canonical_sampler
from webui.request_base import MAX_SEED, STRICT, Request, of_kinds
from webui.sentences import Sentence
from webui.train_requests import TRAIN_REQUESTS

MAX_PIXELS = 16 * 2**20
"""Width × height × batch size of one model call; beyond it no consumer card holds the activations."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextToImage(Request):
    """A picture from words."""

    kind: ClassVar[str] = "txt2img"

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

    @model_validator(mode="after")
    def _is_possible(self) -> "TextToImage":
        for name in ("width", "height"):
            if getattr(self, name) % 8:
                label, value = Sentence(parameters(type(self))[name].param.label), getattr(self, name)
                raise InvalidRequest("{label} must be a multiple of 8, not {value}.", label=label, value=value)
        if self.width * self.height * self.batch_size > MAX_PIXELS:
            raise InvalidRequest(
                "{width}×{height} times batch size {batch_size} is more than {most} pixels at once. "
                "Use a smaller size or batch size, and a higher batch count.",
                width=self.width, height=self.height, batch_size=self.batch_size, most=f"{MAX_PIXELS:,}",
            )  # fmt: skip
        return self

    @property
    def pictures(self) -> int:
        return self.batch_count * self.batch_size

    @property
    def summary(self) -> str:
        return self.prompt

    def seed_of(self, picture: int) -> int:
        """Seed of picture `picture` (0-based over all batches): that seed alone gives the same picture."""
        return (self.seed + picture) % (MAX_SEED + 1)


REQUESTS: Mapping[str, type[Request]] = {**of_kinds((TextToImage,)), **TRAIN_REQUESTS}
"""Kind of job -> request type."""

AnyRequest = TypeVar("AnyRequest", bound=Request)


def build(kind: str, values: Mapping[str, Any]) -> Request:
    """Make a request from named values; absent names take their defaults.

    Raises `InvalidRequest` naming the first wrong value and its limits, or `UnknownName`.
    """
    if kind not in REQUESTS:
        raise UnknownName("kind of job", kind, REQUESTS)
    request_type = REQUESTS[kind]
    if unknown := [name for name in values if name not in parameters(request_type)]:
        raise UnknownName("field", str(unknown[0]), parameters(request_type))
    try:
        return request_type(**_with_canonical_names(request_type, values))
    except ValidationError as error:
        raise _refusal(request_type, error) from error


def _with_canonical_names(request_type: type[Request], values: Mapping[str, Any]) -> dict[str, Any]:
    """Split an old joined sampler name ("DPM++ 2M Karras") and let whole floats stand for integers."""
    types = {name: declared.type for name, declared in parameters(request_type).items()}
    result: dict[str, Any] = {
        name: int(value) if types[name] is int and isinstance(value, float) and value.is_integer() else value
        for name, value in values.items()
    }
    if isinstance(result.get("sampler"), str):
        sampler, schedule = canonical_sampler(result["sampler"])
        result["sampler"] = sampler
        if schedule:
            result["schedule"] = schedule
    return result


def _refusal(request_type: type[Request], error: ValidationError) -> InvalidRequest:
    """Names the first wrong value and what it may be."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    declared = parameters(request_type).get(name)
    if declared is None:
        return InvalidRequest("{reason}.", reason=str(first["msg"]))
    param, label, value = declared.param, Sentence(declared.param.label), repr(str(first.get("input"))[:60])
    match first["type"]:
        case "missing":
            return InvalidRequest(
                "{label} ({name}) is missing. {help}", label=label, name=name, help=Sentence(param.help)
            )
        case "string_pattern_mismatch":
            return InvalidRequest(
                "{label} ({name}) cannot be {value}. {help}",
                label=label, name=name, value=value, help=Sentence(param.help),
            )  # fmt: skip
        case "string_too_long":
            most = f"{param.max_length:,}"
            return InvalidRequest("{label} ({name}) has {most} characters at most.", label=label, name=name, most=most)
    return InvalidRequest(
        "{label} ({name}) must be {possible}, not {value}.",
        label=label, name=name, possible=_possible(declared), value=value,
    )  # fmt: skip


def _possible(declared: Parameter) -> Sentence:
    """What a value may be, to complete "it must be …"."""
    param = declared.param
    if declared.type is bool:
        return Sentence("true or false")
    if declared.type is str or param.minimum is None or param.maximum is None:
        return Sentence("text") if declared.type is str else Sentence("a number")
    least, most = f"{param.minimum:,}", f"{param.maximum:,}"
    if declared.type is int:
        return Sentence("a whole number from {least} to {most}", least=least, most=most)
    return Sentence("a number from {least} to {most}", least=least, most=most)


def resolve(request: AnyRequest) -> AnyRequest:
    """The same request with nothing left open: seed -1 becomes a random number."""
    return request.resolved()


def to_values(request: Request) -> dict[str, Any]:
    """The request as named plain values, the inverse of `build`."""
    return dataclasses.asdict(request)
