"""AUTOMATIC1111's infotext: written key by key in its order, read in time linear in its length.

`generation_parameters` gives what AUTOMATIC1111's own reader gives. Which of it a request takes, and what Forge and
SD.Next write differently, is in `webuis`; facts: docs/compatibility.md.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping

from webui.branches import difference
from webui.metadata.mapping import read_json
from webui.params import parameters
from webui.prompt.weights import sections
from webui.registry import SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE, canonical_sampler
from webui.request_groups import public_options
from webui.requests import ImageToImage, Inpaint, PictureRequest, TextToImage

Fields = dict[str, str | int | bool]
"""Keys of a parameter line and their values, as AUTOMATIC1111 holds them."""

_KEY = re.compile(r"\w[\w \-/]+")
_QUOTED = re.compile(r'"(?:\\.|[^\\"])++"(?=,|$)')
_SIZE = re.compile(r"(\d{1,9})x(\d{1,9})")
_NEGATIVE = "Negative prompt:"


def infotext(
    request: PictureRequest, picture: int, *, model_hash: str, version: str, extra: Mapping[str, object] | None = None
) -> str:
    """A1111's text for picture `picture` of a resolved request: prompts, then one line of `Key: value`.

    `extra` comes before the version, in its order: what extensions and later features add.
    """
    request = request.worded(picture)
    own: dict[str, object] = {
        "Steps": request.num_inference_steps,
        "Sampler": request.sampler,
        "Schedule type": request.schedule,
        "CFG scale": _number(request.guidance_scale),
        "Image CFG scale": _image_guidance(request),
        "Seed": request.seed_of(picture),
        "Size": f"{request.width}x{request.height}",
        "Model hash": model_hash,
        "Model": request.checkpoint,
        **_of_noise(request, picture),
        **_of_image(request),
        "Clip skip": request.clip_skip if request.clip_skip > 1 else None,
        "ENSD": request.eta_noise_seed_delta or None,
        "RNG": request.noise_source,
        "Tiling": True if request.tiling else None,
        "Color correction": True if isinstance(request, ImageToImage) and request.color_correction else None,
        **_of_hires(request),
        "Refiner": request.refiner or None,
        "Refiner switch at": _number(request.refiner_switch_at) if request.refiner else None,
        **_of_mask(request),
        **_of_branch(request, picture),
        **_of_sampling(request),
        "Emphasis": request.emphasis if request.emphasis != "Original" else None,
    }
    said = {key: value for key, value in own.items() if value is not None}
    if options := public_options(request):
        said["Extensions"] = json.dumps(options, ensure_ascii=False)
    fields = {**said, **(extra or {}), "Version": f"easel {version}"}
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"{_NEGATIVE} {request.negative_prompt}")
    lines.append(", ".join(_written(key, value) for key, value in fields.items() if value is not None))
    return "\n".join(lines).strip()


def _image_guidance(request: PictureRequest) -> str | None:
    """Only what differs from the default: most checkpoints have no use for it."""
    if not isinstance(request, ImageToImage):
        return None
    scale = request.image_guidance_scale
    return _number(scale) if scale != parameters(ImageToImage)["image_guidance_scale"].default else None


def _of_noise(request: PictureRequest, picture: int) -> dict[str, object]:
    has_area = request.seed_resize_width and request.seed_resize_height
    return {
        "VAE": request.vae or None,
        "Variation seed": request.variation_seed_of(picture) if request.variation_strength else None,
        "Variation seed strength": _number(request.variation_strength) if request.variation_strength else None,
        "Seed resize from": f"{request.seed_resize_width}x{request.seed_resize_height}" if has_area else None,
    }


def _of_image(request: PictureRequest) -> dict[str, object]:
    """With a second pass the strength is that pass's own."""
    if isinstance(request, ImageToImage):
        return {"Denoising strength": _number(request.strength)}
    if isinstance(request, TextToImage) and request.hires:
        return {"Denoising strength": _number(request.hires_strength)}
    return {}


def _of_hires(request: PictureRequest) -> dict[str, object]:
    if not isinstance(request, TextToImage) or not request.hires:
        return {}
    is_size = request.hires_width or request.hires_height
    return {
        "Hires upscale": None if is_size else _number(request.hires_scale),
        "Hires resize": f"{request.hires_width}x{request.hires_height}" if is_size else None,
        "Hires steps": request.hires_steps or None,
        "Hires upscaler": request.hires_upscaler,
        "Hires checkpoint": request.hires_checkpoint or None,
        "Hires sampler": request.hires_sampler if request.hires_sampler != SAME_SAMPLER else None,
        "Hires schedule type": request.hires_schedule if request.hires_schedule != SAME_SCHEDULE else None,
        "Hires prompt": request.hires_prompt or None,
        "Hires negative prompt": request.hires_negative_prompt or None,
        "Hires CFG Scale": _number(request.hires_guidance_scale) if request.hires_guidance_scale else None,
    }


def _of_branch(request: PictureRequest, picture: int) -> dict[str, object]:
    if not request.branch_step:
        return {}
    origin = difference(request, picture)
    told = json.dumps(origin, ensure_ascii=False) if origin else None
    return {"Branch step": request.branch_step, "Branch from": told}


def _of_mask(request: PictureRequest) -> dict[str, object]:
    """Only what differs from A1111's defaults, as there; None is left out. The blur stands there always, even 0: it
    says that this is an inpainting.
    """
    if not isinstance(request, Inpaint):
        return {}
    only_masked = request.inpaint_area == "Only masked"
    return {
        "Mask blur": request.mask_blur,
        "Mask mode": request.mask_mode if request.mask_mode != "Inpaint masked" else None,
        "Masked content": request.masked_content if request.masked_content != "original" else None,
        "Inpaint area": request.inpaint_area if only_masked else None,
        "Masked area padding": request.padding if only_masked else None,
        **_of_edges(request),
    }


SOFT_INPAINTING: Mapping[str, str] = {
    "Schedule bias": "soft_schedule_bias",
    "Preservation strength": "soft_preservation",
    "Transition contrast boost": "soft_contrast",
    "Mask influence": "soft_mask_influence",
    "Difference threshold": "soft_difference_threshold",
    "Difference contrast": "soft_difference_contrast",
}
"""Key -> field, as AUTOMATIC1111's extension names them; all are written when it is on."""
OUTPAINTING: Mapping[str, str] = {
    "Outpaint left": "outpaint_left", "Outpaint right": "outpaint_right",
    "Outpaint up": "outpaint_up", "Outpaint down": "outpaint_down",
}  # fmt: skip


def _of_edges(request: Inpaint) -> dict[str, object]:
    soft = {key: _number(getattr(request, name)) for key, name in SOFT_INPAINTING.items()}
    grown = {key: getattr(request, name) or None for key, name in OUTPAINTING.items()}
    return {**({"Soft inpainting enabled": True, **soft} if request.soft_inpainting else {}), **grown}


SAMPLING: Mapping[str, str] = {
    "Eta": "eta",
    "Eta DDIM": "ddim_eta",
    "Sigma churn": "s_churn",
    "Sigma tmin": "s_tmin",
    "Sigma tmax": "s_tmax",
    "Sigma noise": "s_noise",
    "Schedule max sigma": "sigma_max",
    "Schedule min sigma": "sigma_min",
    "Schedule rho": "rho",
    "Discard penultimate sigma": "discard_next_to_last_sigma",
    "UniPC variant": "unipc_variant",
    "UniPC order": "unipc_order",
}
"""Key -> field of the request, in A1111's order; written when the value is not the default."""


def _of_sampling(request: PictureRequest) -> dict[str, object]:
    declared = parameters(type(request))
    values = {key: getattr(request, name) for key, name in SAMPLING.items()}
    changed = {key: value for key, value in values.items() if value != declared[SAMPLING[key]].default}
    return {key: _number(value) if isinstance(value, float) else value for key, value in changed.items()}


def _written(key: str, value: object) -> str:
    return key if str(value) == key else f"{key}: {_quoted(value)}"


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",\n:") else text


def _number(value: float) -> str:
    """7 rather than 7.0, as A1111 writes whole numbers that came from a slider; otherwise every digit."""
    return str(int(value)) if value == int(value) else repr(value)


def split(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and fields as written. With fewer than three fields all of it is prompt."""
    lines = text.strip().split("\n")
    fields = list(_pairs(lines[-1].strip()))
    if len(fields) < 3:
        fields = []
    else:
        lines = lines[:-1]
    return *_prompts(lines), dict(fields)


def _prompts(lines: list[str]) -> tuple[str, str]:
    prompt: list[str] = []
    negative: list[str] = []
    current = prompt
    for line in map(str.strip, lines):
        if line.startswith(_NEGATIVE):
            current, line = negative, line.removeprefix(_NEGATIVE).strip()
        if current or line:
            current.append(line)
    return "\n".join(prompt), "\n".join(negative)


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """`Key: value` pairs of a parameter line. A value in double quotes is a JSON string and may hold commas."""
    position = 0
    while (colon := line.find(":", position)) >= 0:
        # A key is what stands directly before its colon: the longest run of its characters, from a word character on.
        key = _KEY.fullmatch(_run_before(line, position, colon))
        if key is None:
            position = colon + 1
            continue
        begin = _after_spaces(line, colon + 1)
        quoted = _QUOTED.match(line, begin)
        comma = line.find(",", begin)
        end = quoted.end() if quoted else comma if comma >= 0 else len(line)
        yield key[0], _unquoted(quoted[0]) if quoted else line[begin:end]
        position = end + 1


def _run_before(line: str, first: int, end: int) -> str:
    begin = end
    while begin > first and (line[begin - 1].isalnum() or line[begin - 1] in "_ -/"):
        begin -= 1
    return line[begin:end].lstrip(" -/")


def _after_spaces(line: str, position: int) -> int:
    while line[position : position + 1].isspace():
        position += 1
    return position


def _unquoted(text: str) -> str:
    value = read_json(text)
    return value if isinstance(value, str) else text


def generation_parameters(text: str) -> Fields:
    """Everything an infotext says, as AUTOMATIC1111 1.10 understands it: defaults filled in, old files translated.

    Sizes are two keys, "Size-1" and "Size-2"; "Prompt" and "Negative prompt" are keys too.
    """
    prompt, negative, written = split(text)
    fields: Fields = {"Prompt": prompt, "Negative prompt": negative}
    for key, value in written.items():
        if match := _SIZE.fullmatch(value):
            fields |= {f"{key}-1": match[1], f"{key}-2": match[2]}
        else:
            fields[key] = value
    if "Hypernet" in fields:
        strength = fields.get("Hypernet strength", "1.0")
        fields["Prompt"] = f"{fields['Prompt']}<hypernet:{fields['Hypernet']}:{strength}>"
    _split_sampler(fields)
    _restore_first_pass(fields)
    for key, default in _DEFAULTS.items():
        fields.setdefault(key, default)
    if "Emphasis" not in fields and (_has_weights(prompt) or _has_weights(negative)):
        fields["Emphasis"] = "Original"
    _add_old_behaviour(fields)
    return fields


_DEFAULTS: Mapping[str, str | int | bool] = {
    "Clip skip": "1",
    "Hires resize-1": 0, "Hires resize-2": 0,
    "Hires sampler": SAME_SAMPLER,
    "Hires schedule type": SAME_SCHEDULE,
    "Hires checkpoint": SAME_CHECKPOINT,
    "Hires prompt": "", "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0, "Schedule min sigma": 0, "Schedule rho": 0,
    "VAE Encoder": "Full", "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Cache FP16 weight for LoRA": False,
    "Refiner switch by sampling steps": False,
}  # fmt: skip


def _split_sampler(fields: Fields) -> None:
    sampler, schedule = canonical_sampler(str(fields.get("Sampler", "")))
    if schedule and "Schedule type" not in fields:
        fields |= {"Sampler": sampler, "Schedule type": schedule}


def _restore_first_pass(fields: Fields) -> None:
    """Before 1.1 `Size` was the enlarged size and "First pass size" the drawn one; 0x0 meant one near 512x512."""
    sizes = [fields.get(key) for key in ("First pass size-1", "First pass size-2", "Size-1", "Size-2")]
    if not all(isinstance(size, str) and size.isdecimal() and len(size) <= 9 for size in sizes):
        return
    first_width, first_height, width, height = (int(str(size)) for size in sizes)
    if not first_width or not first_height:
        scale = math.sqrt(512 * 512 / max(width * height, 1))
        first_width, first_height = (math.ceil(scale * side / 64) * 64 for side in (width, height))
    fields |= {"Size-1": str(first_width), "Size-2": str(first_height)}
    fields |= {"Hires resize-1": str(width), "Hires resize-2": str(height)}


def _has_weights(prompt: str) -> bool:
    return any(piece.weight != 1.0 for section in sections(prompt) for piece in section)


OLD_BEHAVIOUR = (
    *("Old prompt editing timelines", "Pad conds", "Downcast alphas_cumprod"),
    "Refiner switch by sampling steps",
)
"""Keys that `generation_parameters` adds for files of old versions."""


def _add_old_behaviour(fields: Fields) -> None:
    """What AUTOMATIC1111 switches on for pictures of its older versions, which drew some things differently."""
    match = re.match(r"v(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:-(\d{1,6}))?", str(fields.get("Version", "")))
    if not match:
        return
    version = tuple(int(part or 0) for part in match.groups())
    if version < (1, 6, 0, 0):
        if "[" in f"{fields['Prompt']}{fields['Negative prompt']}":
            fields["Old prompt editing timelines"] = True
        if fields.get("Sampler") in ("DDIM", "PLMS"):
            fields["Pad conds"] = "v0"
    if version < (1, 7, 0, 225):
        fields["Downcast alphas_cumprod"] = True
    if version < (1, 8, 0, 0) and "Refiner" in fields:
        fields["Refiner switch by sampling steps"] = True
