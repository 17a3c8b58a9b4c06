"""What a branch is: a picture that goes on from another one's step k with something changed.

A request with `branch_step` k is made with the values of `branch_from` for its first k steps and with its own from then
on. Nothing is stored: the first steps are walked again, to the same bits. Which steps there are is known to the engine,
how a request is built to `requests.py`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from webui.errors import InvalidRequest
from webui.params import parameters
from webui.prompt.wildcards import may_be_drawn
from webui.request_groups import PROMPTS
from webui.sentences import Sentence

MOST = 16
"""Branches of branches of …: so deep and no deeper."""

CHANGEABLE = frozenset({
    "prompt", "negative_prompt", "guidance_scale", "image_guidance_scale", "seed", "variation_seed",
    "variation_strength", "clip_skip", "emphasis", "eta", "ddim_eta", "s_churn", "s_tmin", "s_tmax", "s_noise",
    "refiner", "refiner_switch_at", "color_correction", "branch_step", "branch_from",
})  # fmt: skip
"""Fields that may change at a step, and those of the second pass. All others decide on the way that the steps take, or
on what is in memory."""
OF_THE_JOB = frozenset({"preview", "batch_count", "batch_size", "wordings"})
"""What has no part in a picture, or says what its prompts say."""
FREE_STEPS = ("DPM adaptive", "Restart")
"""Samplers that may make more steps than they are asked for; the engine knows how many."""


class Branching(Protocol):
    """A picture's request, as far as it matters here."""

    @property
    def branch_step(self) -> int: ...

    @property
    def branch_from(self) -> Mapping[str, Any]: ...

    @property
    def steps(self) -> int: ...

    @property
    def sampler(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def variation_seed(self) -> int: ...

    @property
    def variation_strength(self) -> float: ...

    def seed_of(self, picture: int, /) -> int: ...

    def variation_seed_of(self, picture: int, /) -> int: ...

    @property
    def origin(self) -> "Branching | None": ...


def values_of_origin(request: Branching) -> dict[str, Any]:
    """Values of the request that the first steps are those of. Raises `InvalidRequest`."""
    check_depth(request.branch_from)
    own = {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}  # type: ignore[arg-type]
    return {**own, "wordings": {}, "branch_step": 0, "branch_from": {}, **request.branch_from}


def check_depth(branch_from: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest` for more than `MOST` branches of branches."""
    depth, inner = 1, branch_from.get("branch_from")
    while isinstance(inner, dict) and inner:
        depth, inner = depth + 1, inner.get("branch_from")
        if depth > MOST:
            raise InvalidRequest(
                "This would be a branch of a branch more than {most} times over. Branch from an earlier picture.",
                most=MOST,
            )


def keeps(name: str) -> bool:
    """Whether a branch has this field as its origin has it."""
    return name not in CHANGEABLE and name not in OF_THE_JOB and not name.startswith("hires")


def check(request: Branching, origin: Branching) -> None:
    """Raises `InvalidRequest` when the picture cannot go on from the origin's steps."""
    if origin.seed < 0 <= request.seed or (origin.variation_strength and origin.variation_seed < 0):
        raise InvalidRequest(
            "A branch goes on from a certain picture, so its branch_from needs that picture's seed, not -1."
        )
    if request.branch_step >= request.steps and request.sampler not in FREE_STEPS:
        raise InvalidRequest(
            "A branch leaves at least one step to make: with {steps} steps it begins after step {most} at the "
            "latest, not {step}.",
            steps=request.steps, most=request.steps - 1, step=request.branch_step,
        )  # fmt: skip
    for name, declared in parameters(type(request)).items():
        if not keeps(name):
            continue
        before, after = getattr(origin, name), getattr(request, name)
        if before != after:
            raise InvalidRequest(
                "A branch keeps {label} as it was: the first {step} steps were made with {before}, and this says "
                "{after}. Set it back, or generate without the branch.",
                label=Sentence(declared.param.label), step=request.branch_step, before=_short(before),
                after=_short(after),
            )  # fmt: skip


def _short(value: object) -> str:
    return repr(value)[:60] if value == "" or not isinstance(value, str) else value[:60]


def difference(request: Branching, picture: int = 0) -> dict[str, Any]:
    """The least `branch_from` for picture `picture`: what of its origin is not as in itself. {} without a branch."""
    origin = request.origin
    if origin is None:
        return {}
    theirs, own = _of_picture(origin, 0), _of_picture(request, picture)
    if not theirs["variation_strength"]:
        theirs["variation_seed"] = own["variation_seed"]  # it has no part in the picture
    left_out = {*OF_THE_JOB, "branch_step", "branch_from"}
    found = {name: value for name, value in theirs.items() if name not in left_out and value != own[name]}
    # The same wildcards are other words where the seed is another one.
    found |= {name: text for name in PROMPTS if may_be_drawn(text := theirs.get(name, ""))}
    if origin.branch_step:
        found |= {"branch_step": origin.branch_step, "branch_from": difference(origin)}
    return found


def _of_picture(request: Branching, picture: int) -> dict[str, Any]:
    values = dataclasses.asdict(request)  # type: ignore[call-overload]
    seeds = {"seed": request.seed_of(picture), "variation_seed": request.variation_seed_of(picture)}
    return {**values, **seeds}
