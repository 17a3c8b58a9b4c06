"""From a request in AUTOMATIC1111's names to one in ours. Knows neither HTTP nor jobs.

What Easel has no counterpart for is taken at the value that does nothing and refused at any other, by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webui.api.sdapi.bodies import Drawing, ImageBody, TextBody
from webui.errors import InvalidRequest, UnknownName
from webui.metadata import parse_infotext
from webui.params import parameters
from webui.registry import CHOICES, SAME_CHECKPOINT, canonical_schedule
from webui.requests import REQUESTS

SAME: Mapping[str, str] = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "batch_size": "batch_size",
    "n_iter": "batch_count",
    "steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "width": "width",
    "height": "height",
    "s_churn": "s_churn",
    "s_tmin": "s_tmin",
    "s_tmax": "s_tmax",
    "s_noise": "s_noise",
    "tiling": "tiling",
    "subseed": "variation_seed",
    "subseed_strength": "variation_strength",
}
"""Their name -> ours, where the values mean the same. None asks for the default."""

OTHERWISE: Mapping[str, tuple[str, ...]] = {
    "sampler_name": ("sampler",),
    "sampler_index": ("sampler",),
    "scheduler": ("schedule",),
    "eta": ("eta", "ddim_eta"),
    "denoising_strength": ("strength", "hires_strength"),
    "seed_resize_from_w": ("seed_resize_width",),
    "seed_resize_from_h": ("seed_resize_height",),
    "refiner_checkpoint": ("refiner",),
    "refiner_switch_at": ("refiner_switch_at",),
    "enable_hr": ("hires",),
    "hr_scale": ("hires_scale",),
    "hr_second_pass_steps": ("hires_steps",),
    "hr_resize_x": ("hires_width",),
    "hr_resize_y": ("hires_height",),
    "hr_prompt": ("hires_prompt",),
    "hr_negative_prompt": ("hires_negative_prompt",),
    "hr_cfg": ("hires_guidance_scale",),
    "hr_upscaler": ("hires_upscaler",),
    "hr_checkpoint_name": ("hires_checkpoint",),
    "hr_sampler_name": ("hires_sampler",),
    "hr_scheduler": ("hires_schedule",),
    "image_cfg_scale": ("image_guidance_scale",),
    "resize_mode": ("resize_mode",),
    "mask_blur": ("mask_blur",),
    "mask_blur_x": ("mask_blur",),
    "inpainting_mask_invert": ("mask_mode",),
    "inpainting_fill": ("masked_content",),
    "inpaint_full_res": ("inpaint_area",),
    "inpaint_full_res_padding": ("padding",),
}
"""Their name -> ours, where the values have another form."""

WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "restore_faces": (None, False),
    "distilled_cfg_scale": (None,),
    "s_min_uncond": (None, 0.0),
    "disable_extra_networks": (False,),
    "comments": (None, {}),
    "firstphase_width": (0,),
    "firstphase_height": (0,),
    "firstpass_image": (None,),
    "latent_mask": (None,),
    "initial_noise_multiplier": (None, 1.0),
}
"""Fields that nothing here answers to -> their values that ask for nothing."""

SETTINGS: Mapping[str, str] = {
    "sd_model_checkpoint": "checkpoint",
    "sd_vae": "vae",
    "CLIP_stop_at_last_layers": "clip_skip",
    "eta_noise_seed_delta": "eta_noise_seed_delta",
    "emphasis": "emphasis",
    "always_discard_next_to_last_sigma": "discard_next_to_last_sigma",
    "img2img_color_correction": "color_correction",
}
"""Settings of theirs that a single job may override -> fields of ours."""


@dataclass(frozen=True, kw_only=True)
class Translated:
    """A request in our names, without the pictures it begins with."""

    kind: str
    values: Mapping[str, Any]
    styles: Sequence[str] = field(default_factory=tuple)


def text_to_image(body: TextBody, checkpoint_of: Callable[[str], str]) -> Translated:
    """`checkpoint_of` finds our name of a checkpoint that they call by title, file name or hash.

    Raises `InvalidRequest` or `UnknownName`.
    """
    values = _values(body, checkpoint_of)
    if body.enable_hr or body.infotext:  # a second pass may be the text's, with values of the client's own
        values |= _hires(body, checkpoint_of)
    return _translated("txt2img", values, body, checkpoint_of)


def _hires(body: TextBody, checkpoint_of: Callable[[str], str]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "hires": body.enable_hr,
        "hires_scale": body.hr_scale,
        "hires_steps": body.hr_second_pass_steps,
        "hires_width": body.hr_resize_x,
        "hires_height": body.hr_resize_y,
        "hires_strength": 0.75 if body.denoising_strength is None else body.denoising_strength,
        "hires_prompt": body.hr_prompt,
        "hires_negative_prompt": body.hr_negative_prompt,
        "hires_guidance_scale": body.hr_cfg,
        "hires_upscaler": body.hr_upscaler,
        "hires_sampler": body.hr_sampler_name,
        "hires_schedule": body.hr_scheduler,
    }
    if isinstance(body.hr_scheduler, str):
        values["hires_schedule"] = canonical_schedule(body.hr_scheduler)
    if body.hr_checkpoint_name not in (None, "", SAME_CHECKPOINT):
        values["hires_checkpoint"] = checkpoint_of(str(body.hr_checkpoint_name))
    return {name: value for name, value in values.items() if value is not None}


def image_to_image(body: ImageBody, checkpoint_of: Callable[[str], str]) -> Translated:
    """The same for img2img, and for inpainting where there is a mask."""
    kind = "inpaint" if body.mask else "img2img"
    values = _values(body, checkpoint_of)
    values["strength"] = 0.75 if body.denoising_strength is None else body.denoising_strength
    if body.image_cfg_scale is not None:
        values["image_guidance_scale"] = body.image_cfg_scale
    values["resize_mode"] = _by_number("resize_mode", body.resize_mode)
    if kind == "inpaint":
        if body.mask_blur is None and body.mask_blur_x != body.mask_blur_y:
            raise InvalidRequest(
                "Easel softens a mask alike in both directions: make mask_blur_x and mask_blur_y equal."
            )
        values |= {
            "mask_blur": body.mask_blur_x if body.mask_blur is None else body.mask_blur,
            "mask_mode": _by_number("inpainting_mask_invert", body.inpainting_mask_invert, "mask_mode"),
            "masked_content": _by_number("inpainting_fill", body.inpainting_fill, "masked_content"),
            "inpaint_area": "Only masked" if body.inpaint_full_res else "Whole picture",
            "padding": body.inpaint_full_res_padding,
        }
    return _translated(kind, values, body, checkpoint_of)


def _translated(kind: str, values: Mapping[str, Any], body: Drawing, checkpoint_of: Callable[[str], str]) -> Translated:
    """With what the infotext says about fields that the client did not name."""
    if body.infotext:
        fields, named = parameters(REQUESTS[kind]), _named(body)
        read = {name: value for name, value in parse_infotext(body.infotext).items() if name in fields.keys() - named}
        if "checkpoint" in read:
            read["checkpoint"] = checkpoint_of(str(read["checkpoint"]))
        values = {**values, **read}
    return Translated(kind=kind, values=values, styles=tuple(body.styles or ()))


def _named(body: Drawing) -> set[str]:
    """Our names of everything that the client said something about."""
    named = {SETTINGS[name] for name in body.override_settings or {}}
    for name in body.model_fields_set:
        named |= {SAME[name]} if name in SAME else set(OTHERWISE.get(name, ()))
    return named


def _values(body: Drawing, checkpoint_of: Callable[[str], str]) -> dict[str, Any]:
    _refuse_the_impossible(body)
    values = {ours: getattr(body, theirs) for theirs, ours in SAME.items() if getattr(body, theirs) is not None}
    values["sampler"] = body.sampler_name or body.sampler_index or "Euler"
    if body.scheduler:
        values["schedule"] = body.scheduler
    if body.eta is not None:
        values |= {"eta": body.eta, "ddim_eta": body.eta}  # theirs is of whichever sampler draws
    return values | _extras(body, checkpoint_of) | _overridden(body.override_settings or {}, checkpoint_of)


def _extras(body: Drawing, checkpoint_of: Callable[[str], str]) -> dict[str, Any]:
    """The seed's size and the refiner. -1 and 0 both say that there is no other size."""
    values: dict[str, Any] = {
        "seed_resize_width": max(0, body.seed_resize_from_w or 0),
        "seed_resize_height": max(0, body.seed_resize_from_h or 0),
    }
    if not body.seed_enable_extras:
        values = {"variation_strength": 0.0}
    if body.refiner_checkpoint and body.refiner_checkpoint != "None":
        values["refiner"] = checkpoint_of(body.refiner_checkpoint)
        if body.refiner_switch_at is not None:
            values["refiner_switch_at"] = body.refiner_switch_at
    return values


def _refuse_the_impossible(body: Drawing) -> None:
    for name, harmless in WITHOUT_EFFECT.items():
        value = getattr(body, name, harmless[0])
        if value not in harmless:
            raise InvalidRequest(
                "Easel has nothing for {name} = {value}. Leave the field out.", name=name, value=repr(value)[:80]
            )


def _overridden(settings: Mapping[str, Any], checkpoint_of: Callable[[str], str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in SETTINGS:
            raise UnknownName("setting", name, SETTINGS)
        if name == "sd_model_checkpoint":
            value = checkpoint_of(str(value))
        elif name == "sd_vae" and value in ("None", "Automatic"):
            value = ""
        values[SETTINGS[name]] = value
    return values


def _by_number(name: str, number: int, registry: str = "") -> Any:
    choices = CHOICES[registry or name]
    if not 0 <= number < len(choices):
        raise InvalidRequest(
            "{name} must be a whole number from 0 to {most}, not {value}.",
            name=name, most=len(choices) - 1, value=number,
        )  # fmt: skip
    return choices[number]
