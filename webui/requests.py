"""What can be asked for: strict, frozen request types that the page, the API and the CLI share.

Validation happens in the constructor and nowhere else. A request that exists is possible; `resolve` turns
the one value that is still open, seed -1, into a number.
"""

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from webui.errors import InvalidRequest, UnknownName
from webui.params import Param, parameters
from webui.registry import CHOICES, canonical_sampler

STRICT = ConfigDict(extra="forbid", strict=True)

MAX_SEED = 2**32 - 1
MAX_PIXELS = 16 * 2**20
"""Width × height × batch size of one model call; beyond it no consumer card holds the activations."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextToImage:
    """A picture from words."""

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
                raise InvalidRequest(f"{name} must be a multiple of 8, not {getattr(self, name)}.")
        if self.width * self.height * self.batch_size > MAX_PIXELS:
            raise InvalidRequest(
                f"{self.width}×{self.height} times batch size {self.batch_size} is more than "
                f"{MAX_PIXELS:,} pixels at once. Use a smaller size or batch size, and a higher batch count."
            )
        for name, declared in parameters(type(self)).items():
            what = declared.param.choices
            if what and getattr(self, name) not in CHOICES[what]:
                raise UnknownName(what, getattr(self, name), CHOICES[what])
        return self

    @property
    def pictures(self) -> int:
        return self.batch_count * self.batch_size

    def seed_of(self, picture: int) -> int:
        """Seed of picture `picture` (0-based over all batches): that seed alone gives the same picture."""
        return (self.seed + picture) % (MAX_SEED + 1)


REQUESTS: Mapping[str, type[TextToImage]] = {"txt2img": TextToImage}
"""Kind of job -> request type."""


def build(kind: str, values: Mapping[str, Any]) -> TextToImage:
    """Make a request from named values; absent names take their defaults.

    Raises `InvalidRequest` naming the first wrong value and its limits, or `UnknownName`.
    """
    if kind not in REQUESTS:
        raise UnknownName("kind of job", kind, REQUESTS)
    request_type = REQUESTS[kind]
    if unknown := [name for name in values if name not in parameters(request_type)]:
        raise UnknownName("field", str(unknown[0]), parameters(request_type))
    try:
        return request_type(**_with_canonical_names(values))
    except ValidationError as error:
        raise InvalidRequest(_sentence(request_type, error)) from error


def _with_canonical_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Split an old joined sampler name ("DPM++ 2M Karras") and let whole floats stand for integers."""
    result: dict[str, Any] = {
        name: int(value) if isinstance(value, float) and value.is_integer() and name != "guidance_scale" else value
        for name, value in values.items()
    }
    if isinstance(result.get("sampler"), str):
        sampler, schedule = canonical_sampler(result["sampler"])
        result["sampler"] = sampler
        if schedule:
            result["schedule"] = schedule
    return result


def _sentence(request_type: type, error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    declared = parameters(request_type).get(name)
    if declared is None:
        return str(first["msg"])
    limits = ""
    if declared.param.minimum is not None:
        limits = f" It goes from {declared.param.minimum:,} to {declared.param.maximum:,}."
    return f"{declared.param.label} ({name}): {first['msg']}, got {str(first.get('input'))[:60]!r}.{limits}"


def resolve(request: TextToImage) -> TextToImage:
    """The same request with nothing left open: seed -1 becomes a random number."""
    if request.seed >= 0:
        return request
    return dataclasses.replace(request, seed=secrets.randbelow(MAX_SEED + 1))


def to_values(request: TextToImage) -> dict[str, Any]:
    """The request as named plain values, the inverse of `build`."""
    return dataclasses.asdict(request)
