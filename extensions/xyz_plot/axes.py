"""What can be varied: every field of a request and every option of an extension, from their own declarations, and four
ways of changing prompts and size that are no field. Knows nothing of grids.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webui.extension import (
    InvalidRequest,
    Parameter,
    PictureRequest,
    ScriptContext,
    UnknownName,
    changed,
    parameters,
    possible,
)

from . import values

NOTHING = "Nothing"
COSTS = {"checkpoints": 1.0, "vae": 0.7}
"""How long it takes to change a model, by its shelf; everything else costs nothing."""
PICTURES = ("image", "mask")
"""Fields that name uploaded pictures: nobody writes such names."""

A1111 = {
    "steps": "num_inference_steps", "cfg scale": "guidance_scale", "image cfg scale": "image_guidance_scale",
    "var. seed": "variation_seed", "var. strength": "variation_strength", "checkpoint name": "checkpoint",
    "negative prompt": "negative_prompt", "prompt s/r": "prompt_sr", "prompt order": "prompt_order",
    "sigma churn": "s_churn", "sigma min": "s_tmin", "sigma max": "s_tmax", "sigma noise": "s_noise",
    "schedule min sigma": "sigma_min", "schedule max sigma": "sigma_max", "schedule rho": "rho",
    "refiner checkpoint": "refiner", "rng source": "noise_source", "hires sampler": "hires_sampler",
    "sampler": "sampler",
}  # fmt: skip
"""AUTOMATIC1111's names of axes in small letters, where ours are others."""
DENOISING = ("strength", "hires_strength")
"""What "Denoising" means, whichever of them a request has."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Something that can be varied."""

    name: str
    label: str
    parse: Callable[[str], list[Any]]
    """The values that a text means. Raises `InvalidRequest`."""
    apply: Callable[[PictureRequest, Any], PictureRequest]
    """The request with one of these values. Raises `InvalidRequest`."""
    tell: Callable[[Any], str]
    """A value as the legend says it."""
    cost: float = 0.0
    """How much longer a job takes when its value is another one than the job's before."""
    everything: Callable[[], list[str]] | None = None
    """All possible values; None where they cannot be counted."""


def axes_of(kind: str, context: ScriptContext) -> dict[str, Axis]:
    """Every axis of a kind of request by name, fields first."""
    fields = {name: field for name, field in context.fields(kind).items() if _can_vary(field)}
    own = [_of_field(field, context) for field in fields.values()]
    options = [
        _of_option(extension, option, context)
        for extension, declared in context.option_types.items()
        for option in parameters(declared).values()
    ]
    prompts = [_replacement(), _order(), _styles(context), _size()]
    return {axis.name: axis for axis in (*own, *prompts, *options)}


def find(name: str, axes: Mapping[str, Axis]) -> Axis:
    """By its name, its label or AUTOMATIC1111's name. Raises `UnknownName`."""
    wanted = name.strip().casefold()
    if wanted == "denoising":
        wanted = next((field for field in DENOISING if field in axes), wanted)
    for axis in axes.values():
        if wanted in (axis.name.casefold(), axis.label.casefold()) or A1111.get(wanted) == axis.name:
            return axis
    raise UnknownName("axis", name, axes)


def _can_vary(field: Parameter) -> bool:
    return field.type in (bool, int, float, str) and field.name not in PICTURES


def _of_field(field: Parameter, context: ScriptContext) -> Axis:
    shelf = "checkpoints" if field.name == "checkpoint" else field.param.suggestions
    return Axis(
        name=field.name, label=field.param.label, cost=COSTS.get(shelf, 0.0), tell=_teller(field),
        parse=_parser(field, shelf, context), everything=_everything(field, shelf, context),
        apply=lambda request, value: changed(request, **{field.name: value}),
    )  # fmt: skip


def _of_option(extension: str, option: Parameter, context: ScriptContext) -> Axis:
    def apply(request: PictureRequest, value: Any) -> PictureRequest:
        mine = {**request.extensions.get(extension, {}), option.name: value}
        return changed(request, extensions={**request.extensions, extension: mine})

    name = f"{extension}.{option.name}"
    return Axis(
        name=name, label=f"{option.param.label or option.name} ({name})", tell=_teller(option), apply=apply,
        parse=_parser(option, option.param.suggestions, context),
        everything=_everything(option, option.param.suggestions, context),
    )  # fmt: skip


def _parser(field: Parameter, shelf: str, context: ScriptContext) -> Callable[[str], list[Any]]:
    if field.type is bool:
        return values.booleans
    if field.type is int:
        return values.whole_numbers
    if field.type is float:
        return values.decimals

    def names(text: str) -> list[str]:
        known = {name.casefold(): name for name in (*_choices(field), *(context.names(shelf) if shelf else ()))}
        if shelf and field.default == "":
            known.setdefault("none", "")
        # What is unknown stays as it is: the request says what is possible.
        return [known.get(value.casefold(), value) for value in values.split(text)]

    return names


def _everything(field: Parameter, shelf: str, context: ScriptContext) -> Callable[[], list[str]] | None:
    if shelf:
        return lambda: list(context.names(shelf))
    if field.type is bool:
        return lambda: ["true", "false"]
    return (lambda: _choices(field)) if _choices(field) else None


def _choices(field: Parameter) -> list[str]:
    return [str(value) for value in possible(field)]


def _teller(field: Parameter) -> Callable[[Any], str]:
    """Numbers say what they are of; names speak for themselves."""
    if field.type is str:
        return lambda value: str(value) or "None"
    label = field.param.label or field.name
    return lambda value: f"{label}: {value:.8g}" if isinstance(value, float) else f"{label}: {value}"


def _replacement() -> Axis:
    """The first value is looked for in both prompts; each value takes its place."""

    def parse(text: str) -> list[tuple[str, str]]:
        words = values.split(text)
        return [(words[0], word) for word in words]

    def apply(request: PictureRequest, value: tuple[str, str]) -> PictureRequest:
        searched, word = value
        prompt, negative_prompt = request.prompt, request.negative_prompt
        return changed(
            request,
            prompt=prompt.replace(searched, word),
            negative_prompt=negative_prompt.replace(searched, word),
        )

    return Axis(name="prompt_sr", label="Prompt S/R", parse=parse, apply=apply, tell=lambda value: str(value[1]))


def check_replacement(request: PictureRequest, found: Sequence[tuple[str, str]]) -> None:
    """Raises `InvalidRequest` when what is searched stands in neither prompt."""
    searched = found[0][0]
    if searched not in request.prompt and searched not in request.negative_prompt:
        raise InvalidRequest(
            "Prompt S/R looks for '{searched}', which stands in neither prompt. Its first value must be there; the "
            "others take its place.",
            searched=searched[:80],
        )


MOST_ORDERED = 6
"""Parts of a prompt whose orders are made: 720 of them."""


def _order() -> Axis:
    """Every order of the named parts of the prompt."""

    def parse(text: str) -> list[tuple[str, ...]]:
        parts = values.split(text)
        if len(parts) > MOST_ORDERED:
            raise InvalidRequest("{count} parts have too many orders; {most} are possible.",
                                 count=len(parts), most=MOST_ORDERED)  # fmt: skip
        return list(itertools.permutations(parts))

    return Axis(name="prompt_order", label="Prompt order", parse=parse, apply=_reordered, tell=", ".join)


def _reordered(request: PictureRequest, parts: tuple[str, ...]) -> PictureRequest:
    """The places of the parts, in the prompt's own order, are filled with the parts in the order given."""
    places = sorted((request.prompt.find(part), len(part)) for part in parts)
    for (at, length), (after, _) in itertools.pairwise([*places, (len(request.prompt), 0)]):
        if at < 0 or at + length > after:
            raise InvalidRequest(
                "Prompt order needs parts that stand in the prompt and do not overlap: {parts}.", parts=", ".join(parts)
            )
    prompt, end = "", 0
    for (at, length), part in zip(places, parts, strict=True):
        prompt, end = prompt + request.prompt[end:at] + part, at + length
    return changed(request, prompt=prompt + request.prompt[end:])


def _styles(context: ScriptContext) -> Axis:
    def apply(request: PictureRequest, value: str) -> PictureRequest:
        names = [name.strip() for name in value.split(",") if name.strip() and name.strip().casefold() != "none"]
        prompt, negative_prompt = context.styled(request.prompt, request.negative_prompt, names)
        return changed(request, prompt=prompt, negative_prompt=negative_prompt)

    return Axis(
        name="styles", label="Styles", parse=values.split, apply=apply, tell=str,
        everything=lambda: list(context.names("styles")),
    )  # fmt: skip


LONGEST_SIZE = 30
"""Characters."""


def _size() -> Axis:
    def parse(text: str) -> list[tuple[int, int]]:
        return [_side_lengths(value) for value in values.split(text)]

    return Axis(
        name="size", label="Size", parse=parse, tell=lambda value: f"{value[0]}x{value[1]}",
        apply=lambda request, value: changed(request, width=value[0], height=value[1]),
    )  # fmt: skip


def _side_lengths(value: str) -> tuple[int, int]:
    width, _, height = value.lower().replace("×", "x").partition("x")
    if len(value) > LONGEST_SIZE or not (width.strip().isdecimal() and height.strip().isdecimal()):
        raise InvalidRequest("'{value}' is no size such as 512x768.", value=value[:80])
    return int(width), int(height)
