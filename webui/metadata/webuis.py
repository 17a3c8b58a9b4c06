"""Infotexts of AUTOMATIC1111, Forge, SD.Next, Fooocus' second scheme and whoever else writes them, as values.

The text format itself is in `infotext`. A key that has no counterpart is kept, shown, and named.
"""

import re
from collections.abc import Mapping

from webui.metadata.infotext import (
    OLD_BEHAVIOUR,
    OUTPAINTING,
    SAMPLING,
    SOFT_INPAINTING,
    generation_parameters,
    split,
)
from webui.metadata.mapping import Mapped, show_all
from webui.registry import SAME_CHECKPOINT
from webui.requests import ImageToImage, Inpaint, TextToImage

FIELDS: Mapping[str, str] = {
    "Steps": "num_inference_steps",
    "CFG scale": "guidance_scale",
    "Seed": "seed",
    "Size-1": "width",
    "Size-2": "height",
    "Model": "checkpoint",
    "Denoising strength": "strength",
    "Mask blur": "mask_blur",
    "Mask mode": "mask_mode",
    "Masked content": "masked_content",
    "Inpaint area": "inpaint_area",
    "Masked area padding": "padding",
    "Clip skip": "clip_skip",
    "Emphasis": "emphasis",
    "ENSD": "eta_noise_seed_delta",
    "Eta ancestral": "eta",
    "RNG": "noise_source",
    "VAE": "vae",
    "Variation seed": "variation_seed",
    "Variation seed strength": "variation_strength",
    "Seed resize from-1": "seed_resize_width",
    "Seed resize from-2": "seed_resize_height",
    "Tiling": "tiling",
    "Color correction": "color_correction",
    "Image CFG scale": "image_guidance_scale",
    "Hires upscale": "hires_scale",
    "Hires resize-1": "hires_width",
    "Hires resize-2": "hires_height",
    "Hires steps": "hires_steps",
    "Hires upscaler": "hires_upscaler",
    "Hires checkpoint": "hires_checkpoint",
    "Hires sampler": "hires_sampler",
    "Hires schedule type": "hires_schedule",
    "Hires prompt": "hires_prompt",
    "Hires negative prompt": "hires_negative_prompt",
    "Hires CFG Scale": "hires_guidance_scale",
    "Refiner": "refiner",
    "Refiner switch at": "refiner_switch_at",
    "Soft inpainting enabled": "soft_inpainting",
    **SOFT_INPAINTING,
    **OUTPAINTING,
    "Extensions": "extensions",
    "Branch step": "branch_step",
    "Branch from": "branch_from",
    **SAMPLING,
}
"""Key -> field of a request."""
_READ_APART = {
    *("Sampler", "Schedule type", "Scheduler", "Sampler sigma"),
    *("Size", "Hires resize", "Seed resize from", "First pass size"),
}
_SAYS_NOTHING = {
    *("Version", "App", "User", "Model hash", "VAE hash", "Lora hashes", "TI hashes", "Hashes", "Init image hash"),
    *("Operations", "Pipeline", "Backend", "Index", "Batch", "Metadata Scheme", "Fooocus V2 Expansion"),
    *("Created Date", "Time", "Parser", "Init image size"),
}
"""Keys that tell about a picture and change nothing in it, or whose effect stands in the prompt."""
_OF_MASKS = {"Mask blur", "Mask mode", "Masked content", "Inpaint area"}
_OF_HIRES = ("Hires upscale", "Hires resize", "Hires upscaler", "Hires steps", "Hires scale", "First pass size")
_HASH = re.compile(r" \[[0-9a-f]{6,64}\]$")
"""What AUTOMATIC1111 writes behind a checkpoint's name."""
_DEFAULTS: Mapping[str, str] = {"RNG": "CPU"}
"""Values that are what happens here anyway."""
_SDNEXT_SCHEDULES: Mapping[str, str] = {
    "karras": "Karras", "exponential": "Exponential", "beta": "Beta", "betas": "Beta", "lambdas": "Lambdas",
    "sgm_uniform": "SGM Uniform", "simple": "Simple", "normal": "Normal",
}  # fmt: skip


def of_infotext(text: str) -> Mapped:
    """What an infotext of any tool says. A text without a parameter line is all prompt, and of no tool."""
    prompt, negative, written = split(text)
    mapped = Mapped(_tool(written), _kind(written))
    mapped.parameters = text
    mapped.take("Prompt", "prompt", prompt)
    mapped.take("Negative prompt", "negative_prompt", negative)
    if not written:
        return mapped.check()
    show_all(mapped, written.items())
    read = generation_parameters(text)
    _take_sampler(mapped, written)
    for key, field in FIELDS.items():
        if key.removesuffix("-1").removesuffix("-2") in written and key in read:
            _take(mapped, key, field, read[key])
    _take_hires(mapped, written, read)
    for key in OLD_BEHAVIOUR:
        if key not in written and read.get(key):
            mapped.without_setting(key, read[key])
    for key, value in written.items():
        if not (key in FIELDS or key in _READ_APART | _SAYS_NOTHING or _DEFAULTS.get(key) == value):
            mapped.without_setting(key, value)
    return mapped.check()


def _take(mapped: Mapped, key: str, field: str, value: object) -> None:
    if field == "strength" and mapped.kind == TextToImage.kind:
        field = "hires_strength"
    if field in ("refiner", "hires_checkpoint"):
        value = _HASH.sub("", "" if value == SAME_CHECKPOINT else str(value))
    if field == "vae" and mapped.tool != "Easel":
        mapped.without_setting(key, value)  # names of files in other places
    else:
        mapped.take(key, field, value)


def _take_hires(mapped: Mapped, written: Mapping[str, str], read: Mapping[str, object]) -> None:
    """A second pass has no key of its own that says so; very old files give both sizes and nothing else."""
    if mapped.kind != TextToImage.kind or not any(key in written for key in _OF_HIRES):
        return
    mapped.take("Hires upscaler", "hires", True)
    if "First pass size" in written:
        mapped.take("Size", "hires_width", read["Hires resize-1"])
        mapped.take("Size", "hires_height", read["Hires resize-2"])


def parse_infotext(text: str) -> dict[str, object]:
    """Values of a request that an infotext names, checked; what a request cannot take is left out."""
    return dict(of_infotext(text).values)


def _tool(written: Mapping[str, str]) -> str:
    version = written.get("Version", "")
    if not written:
        return ""
    if written.get("App") == "SD.Next" or {"Backend", "Operations"} & written.keys():
        return "SD.Next"
    for begin, tool in _VERSIONS:
        if re.match(begin, version, re.IGNORECASE):
            return tool
    return "Forge" if {"NGMS", "Distilled CFG Scale", "Module 1"} & written.keys() else "AUTOMATIC1111"


_VERSIONS = (
    (r"easel ", "Easel"),
    (r"fooocus", "Fooocus"),
    (r"comfyui", "ComfyUI"),
    (r"(f\d|neo|forge)", "Forge"),
)
"""How the version of a tool begins; AUTOMATIC1111's is `v1.10.1` or missing."""


def _kind(written: Mapping[str, str]) -> str:
    """What kind of request made the picture, as far as the keys tell: strength is the second pass' one with hires."""
    if _OF_MASKS & written.keys():
        return Inpaint.kind
    if "Denoising strength" in written and not any(key in written for key in _OF_HIRES):
        return ImageToImage.kind
    return TextToImage.kind


def _take_sampler(mapped: Mapped, written: Mapping[str, str]) -> None:
    """The schedule has three names; without any it is Automatic, unless the sampler's old joined name holds it."""
    sampler = written.get("Sampler")
    if sampler is None:
        return
    schedule = written.get("Schedule type", written.get("Scheduler"))
    if schedule is None and "Sampler sigma" in written:
        schedule = _SDNEXT_SCHEDULES.get(written["Sampler sigma"].lower(), written["Sampler sigma"])
    if schedule is not None:
        schedule = _SDNEXT_SCHEDULES.get(schedule.lower(), schedule)
        mapped.take("Schedule type", "schedule", schedule)
    mapped.take("Sampler", "sampler", sampler)
    if schedule is None and "sampler" in mapped.values:
        mapped.take("Schedule type", "schedule", "Automatic")
