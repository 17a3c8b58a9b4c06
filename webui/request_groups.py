"""Fields of picture requests that belong together, as parts that the kinds in `requests.py` are put together from.

Each checks itself. Knows neither kinds nor how a request is built or refused.
"""

import dataclasses
import re
from dataclasses import field
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue, model_validator
from pydantic.dataclasses import dataclass

from webui.errors import InvalidRequest
from webui.params import ByServer, Param
from webui.request_base import MAX_SEED, STRICT

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SamplerFields:
    """The numbers that change what samplers and schedules do."""

    eta: Annotated[
        float,
        Param(0.0, 1.0, step=0.01, label="Eta",
              help="Fresh noise in ancestral and SDE samplers (those with a or SDE in their names); 0 adds none."),
    ] = 1.0  # fmt: skip
    ddim_eta: Annotated[
        float, Param(0.0, 1.0, step=0.01, label="Eta for DDIM", help="Fresh noise in DDIM; 0 adds none.")
    ] = 0.0
    s_noise: Annotated[
        float, Param(0.0, 1.1, step=0.001, label="Sigma noise", help="Scale of all noise that a sampler adds.")
    ] = 1.0
    s_churn: Annotated[
        float,
        Param(0.0, 100.0, step=0.01, label="Sigma churn",
              help="Noise that Euler, Heun and DPM2 add before each step, over all steps together."),
    ] = 0.0  # fmt: skip
    s_tmin: Annotated[
        float, Param(0.0, 10.0, step=0.01, label="Sigma tmin", help="Churn only from this noise level on.")
    ] = 0.0
    s_tmax: Annotated[
        float, Param(0.0, 999.0, step=0.01, label="Sigma tmax", help="Churn only up to this noise level; 0: no limit.")
    ] = 0.0
    eta_noise_seed_delta: Annotated[
        int,
        Param(-MAX_SEED, MAX_SEED, step=1, label="Eta noise seed delta (ENSD)",
              help="Added to the seed for all noise after the first; 0: the same generator goes on."),
    ] = 0  # fmt: skip
    unipc_order: Annotated[
        int,
        Param(1, 3, step=1, label="UniPC order",
              help="How many steps back UniPC looks; AUTOMATIC1111 has 3, 2 is steadier with guidance."),
    ] = 2  # fmt: skip
    unipc_variant: Annotated[
        str, Param(label="UniPC variant", choices="unipc_variant", help="The B(h) of UniPC; AUTOMATIC1111 has bh1.")
    ] = "bh2"
    sigma_min: Annotated[
        float,
        Param(0.0, 100.0, step=0.001, label="Lowest noise level",
              help="Where the schedule ends before zero; 0: as the checkpoint was trained."),
    ] = 0.0  # fmt: skip
    sigma_max: Annotated[
        float,
        Param(0.0, 5000.0, step=0.01, label="Highest noise level",
              help="Where the schedule begins; 0: as the checkpoint was trained."),
    ] = 0.0  # fmt: skip
    rho: Annotated[
        float,
        Param(0.0, 20.0, step=0.1, label="Rho",
              help="Bend of the Karras and Polyexponential schedules; 0: their own, 7 and 1."),
    ] = 0.0  # fmt: skip
    discard_next_to_last_sigma: Annotated[
        bool,
        Param(label="Always discard next-to-last sigma",
              help="Leaves out the lowest noise level before zero, as DPM2 and DPM++ 3M SDE always do."),
    ] = False  # fmt: skip

    @model_validator(mode="after")
    def _levels_fall(self) -> "SamplerFields":
        if 0 < self.sigma_max <= self.sigma_min:
            raise InvalidRequest(
                "The highest noise level ({highest}) must be above the lowest ({lowest}). "
                "Set both to 0 for the checkpoint's own.",
                highest=f"{self.sigma_max:g}", lowest=f"{self.sigma_min:g}",
            )  # fmt: skip
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NoiseFields:
    """Where a picture's first noise comes from, beside its seed."""

    noise_source: Annotated[
        str,
        Param(label="Noise source", choices="noise_source",
              help="Who draws the noise. NV gives that of NVIDIA cards, so that pictures made there come back here."),
    ] = "CPU"  # fmt: skip
    variation_seed: Annotated[
        int,
        Param(-1, MAX_SEED, step=1, label="Variation seed",
              help="Seed of the noise that is mixed in. -1 draws a new one each time."),
    ] = -1  # fmt: skip
    variation_strength: Annotated[
        float,
        Param(0.0, 1.0, step=0.01, label="Variation strength",
              help="How much of the variation seed's noise is mixed in; 0: none, 1: nothing else."),
    ] = 0.0  # fmt: skip
    seed_resize_width: Annotated[
        int,
        Param(0, 2048, step=8, label="Resize seed from width",
              help="Takes the noise of a picture of this width and puts it in the middle; 0: of this picture's size."),
    ] = 0  # fmt: skip
    seed_resize_height: Annotated[
        int,
        Param(0, 2048, step=8, label="Resize seed from height",
              help="The height that belongs to it; both must be named."),
    ] = 0  # fmt: skip


PICTURE_ID = re.compile(r"[0-9a-f]{32}")

Option = bool | int | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=20_000)]
"""A value that an extension's option can have."""
OptionName = Annotated[str, Field(max_length=60)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExtensionFields:
    """What extensions are told. Which of them there are, and what their options may be, is checked by `App.submit`:
    a job that waits must stay readable when an extension is removed."""

    extensions: Annotated[
        dict[OptionName, dict[OptionName, Option]],
        Param(label="Extensions", help="Options of extensions: for each extension those that differ from its own."),
    ] = field(default_factory=dict)

    @property
    def extension_inputs(self) -> tuple[str, ...]:
        """Ids of the uploaded pictures among the options."""
        options = (value for named in self.extensions.values() for value in named.values())
        return tuple(value for value in options if isinstance(value, str) and PICTURE_ID.fullmatch(value))


PROMPTS = ("prompt", "negative_prompt", "hires_prompt", "hires_negative_prompt")
"""Fields that are prompts; a kind of request has the first two at least."""
MOST_CHARACTERS_OF_WORDINGS = 4_000_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WordingFields:
    """What wildcards and alternatives of the prompts came to. The prompts themselves keep them as they were written."""

    wordings: Annotated[dict[str, list[str]], ByServer] = field(default_factory=dict)
    """Prompt -> its text for each picture, of the prompts that change; drawn when the request is accepted."""

    @model_validator(mode="after")
    def _are_not_endless(self) -> "WordingFields":
        if sum(len(text) for texts in self.wordings.values() for text in texts) > MOST_CHARACTERS_OF_WORDINGS:
            raise InvalidRequest(
                "The wildcards come to more than {most} characters over all pictures. Make fewer pictures at once.",
                most=f"{MOST_CHARACTERS_OF_WORDINGS:,}",
            )
        return self

    def wording(self, picture: int) -> dict[str, str]:
        """Prompt -> what it says for that picture; of the prompts that hold wildcards or alternatives."""
        return {name: texts[picture] for name, texts in self.wordings.items()}

    def worded(self, picture: int) -> Self:
        """The request with the words of that picture in its prompts, and nothing left to draw."""
        said: dict[str, Any] = {**self.wording(picture), "wordings": {}}
        return dataclasses.replace(self, **said) if self.wordings else self


def public_options(request: ExtensionFields) -> dict[str, dict[str, Option]]:
    """The options that a picture may tell everybody: without ids of private uploads."""
    told = {
        name: {option: value for option, value in named.items() if value not in request.extension_inputs}
        for name, named in request.extensions.items()
    }
    return {name: named for name, named in told.items() if named}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BranchFields:
    """Which picture's first steps a picture has, see `branches.py`."""

    branch_step: Annotated[
        int,
        Param(0, 150, step=1, label="Branch step",
              help="The first so many steps are made with the values of branch_from; 0: it is no branch."),
    ] = 0  # fmt: skip
    branch_from: Annotated[
        dict[OptionName, JsonValue],
        Param(label="Branch from",
              help="What the picture that the branch goes on from was made with, as far as it differs."),
    ] = field(default_factory=dict)  # fmt: skip


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelFields:
    """What is changed about the checkpoint while it draws."""

    vae: Annotated[
        str,
        Param(label="VAE", max_length=300, suggestions="vae",
              help="A decoder in models/vae that stands in for the checkpoint's own. Empty: its own."),
    ] = ""  # fmt: skip
    refiner: Annotated[
        str,
        Param(label="Refiner", max_length=300, suggestions="checkpoints",
              help="A checkpoint that takes over for the last steps. Empty: none."),
    ] = ""  # fmt: skip
    refiner_switch_at: Annotated[
        float,
        Param(0.01, 1.0, step=0.01, label="Switch at",
              help="From which part of the way from noise to picture on the refiner draws; 1: never."),
    ] = 0.8  # fmt: skip
    tiling: Annotated[
        bool, Param(label="Tiling", help="Makes a picture whose opposite edges fit together, for patterns.")
    ] = False


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HiresFields:
    """The second pass over a picture that was enlarged (AUTOMATIC1111's "hires fix")."""

    hires: Annotated[
        bool,
        Param(label="Hires fix", help="Enlarges the picture and draws it a second time, which adds detail."),
    ] = False  # fmt: skip
    hires_upscaler: Annotated[
        str,
        Param(label="Upscaler", max_length=300, suggestions="upscalers",
              help="What enlarges it: a latent one needs a denoising strength of about 0.5 or more."),
    ] = "Latent"  # fmt: skip
    hires_steps: Annotated[
        int, Param(0, 150, step=1, label="Hires steps", help="Steps of the second pass; 0: as many as the first.")
    ] = 0
    hires_strength: Annotated[
        float,
        Param(0.0, 1.0, step=0.01, label="Hires denoising strength",
              help="How much of the enlarged picture may change; 0: nothing, it is only enlarged."),
    ] = 0.7  # fmt: skip
    hires_scale: Annotated[
        float, Param(1.0, 4.0, step=0.05, label="Upscale by", help="How many times as wide and high it becomes.")
    ] = 2.0
    hires_width: Annotated[
        int,
        Param(0, 2048, step=8, label="Resize width to",
              help="The width to enlarge to instead; 0 with a height: what keeps the shape."),
    ] = 0  # fmt: skip
    hires_height: Annotated[
        int,
        Param(0, 2048, step=8, label="Resize height to",
              help="The height to enlarge to instead. With both, what stands over is cut off."),
    ] = 0  # fmt: skip
    hires_checkpoint: Annotated[
        str,
        Param(label="Hires checkpoint", max_length=300, suggestions="checkpoints",
              help="A checkpoint that draws the second pass. Empty: the same."),
    ] = ""  # fmt: skip
    hires_sampler: Annotated[
        str, Param(label="Hires sampling method", choices="hires_sampler", help="The sampler of the second pass.")
    ] = "Use same sampler"
    hires_schedule: Annotated[
        str,
        Param(label="Hires schedule type", choices="hires_schedule", help="The schedule type of the second pass."),
    ] = "Use same scheduler"  # fmt: skip
    hires_prompt: Annotated[
        str, Param(label="Hires prompt", help="Prompt of the second pass; empty: the same.", max_length=20_000)
    ] = ""
    hires_negative_prompt: Annotated[
        str,
        Param(label="Hires negative prompt", help="Negative prompt of the second pass; empty: the same.",
              max_length=20_000),
    ] = ""  # fmt: skip
    hires_guidance_scale: Annotated[
        float,
        Param(0.0, 30.0, step=0.1, label="Hires guidance scale", help="Guidance of the second pass; 0: the same."),
    ] = 0.0  # fmt: skip


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SoftInpaintingFields:
    """The mask as a strength for each pixel instead of a border (AUTOMATIC1111's "soft inpainting")."""

    soft_inpainting: Annotated[
        bool,
        Param(label="Soft inpainting", help="Grey parts of the mask change a little instead of wholly or not at all."),
    ] = False  # fmt: skip
    soft_schedule_bias: Annotated[
        float,
        Param(0.0, 8.0, step=0.1, label="Schedule bias",
              help="When the original is kept: above 1 more in the first steps, below 1 more in the last."),
    ] = 1.0  # fmt: skip
    soft_preservation: Annotated[
        float,
        Param(0.0, 8.0, step=0.05, label="Preservation strength",
              help="How strongly partly masked places keep the original."),
    ] = 0.5  # fmt: skip
    soft_contrast: Annotated[
        float,
        Param(1.0, 32.0, step=0.5, label="Transition contrast boost",
              help="How sharp details stay where old and new are mixed."),
    ] = 4.0  # fmt: skip
    soft_mask_influence: Annotated[
        float,
        Param(0.0, 1.0, step=0.05, label="Mask influence",
              help="How much of the painted mask counts when the result is laid over the original."),
    ] = 0.0  # fmt: skip
    soft_difference_threshold: Annotated[
        float,
        Param(0.0, 8.0, step=0.25, label="Difference threshold",
              help="How much a place must have changed to be taken from the new picture."),
    ] = 0.5  # fmt: skip
    soft_difference_contrast: Annotated[
        float,
        Param(0.0, 8.0, step=0.25, label="Difference contrast", help="How sharply that is decided."),
    ] = 2.0  # fmt: skip


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OutpaintingFields:
    """By how many pixels a picture grows on each side; what is new is painted, as if it were masked."""

    outpaint_left: Annotated[
        int, Param(0, 512, step=8, label="Outpaint left", help="Pixels that the picture grows by on the left.")
    ] = 0
    outpaint_right: Annotated[
        int, Param(0, 512, step=8, label="Outpaint right", help="Pixels that the picture grows by on the right.")
    ] = 0
    outpaint_up: Annotated[
        int, Param(0, 512, step=8, label="Outpaint up", help="Pixels that the picture grows by at the top.")
    ] = 0
    outpaint_down: Annotated[
        int, Param(0, 512, step=8, label="Outpaint down", help="Pixels that the picture grows by at the bottom.")
    ] = 0

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        return self.outpaint_left, self.outpaint_up, self.outpaint_right, self.outpaint_down


def hires_sizes(size: Size, fields: HiresFields) -> tuple[Size, Size]:
    """What a picture of `size` is enlarged to, and what of that is kept: the middle (AUTOMATIC1111's rule)."""
    width, height = size
    across, down = fields.hires_width, fields.hires_height
    if not across and not down:
        whole = int(width * fields.hires_scale), int(height * fields.hires_scale)
        return whole, whole
    if not down or (across and width * down < height * across):
        whole = across, across * height // width
    else:
        whole = down * width // height, down
    return whole, (across or whole[0], down or whole[1])
