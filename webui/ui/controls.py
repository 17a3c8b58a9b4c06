"""One Gradio control per declared parameter: range, step, label and help come from the declaration.

Knows neither where a control stands on the page nor what becomes of its value.
"""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.params import Parameter
from webui.registry import CHOICES, LATENT_UPSCALERS
from webui.train_requests import TRAIN_REQUESTS
from webui.ui.languages import has_word, word

ELEMENT_IDS: Mapping[str, str] = {
    "negative_prompt": "neg_prompt",
    "num_inference_steps": "steps",
    "sampler": "sampling",
    "schedule": "scheduler",
    "guidance_scale": "cfg_scale",
    "hires": "hr-checkbox",
    "hires_upscaler": "hr_upscaler",
    "hires_scale": "hr_scale",
    "hires_width": "hr_resize_x",
    "hires_height": "hr_resize_y",
    "hires_strength": "denoising_strength",
    "hires_checkpoint": "hr_checkpoint",
    "hires_sampler": "hr_sampler",
    "hires_schedule": "hr_scheduler",
    "hires_negative_prompt": "hires_neg_prompt",
    "variation_seed": "subseed",
    "variation_strength": "subseed_strength",
    "seed_resize_width": "seed_resize_from_w",
    "seed_resize_height": "seed_resize_from_h",
    "refiner": "checkpoint",
    "refiner_switch_at": "switch_at",
    "image_guidance_scale": "image_cfg_scale",
    "strength": "denoising_strength",
    "masked_content": "inpainting_fill",
    "inpaint_area": "inpaint_full_res",
    "padding": "inpaint_full_res_padding",
}
"""Where AUTOMATIC1111's element id differs from our name; user scripts and styles know these ids."""

FIRST_SUGGESTIONS: Mapping[str, tuple[str, ...]] = {"checkpoints": ("",), "vae": ("",), "upscalers": LATENT_UPSCALERS}
"""What is always possible of the names that `Param.suggestions` speaks of."""

LONG_TEXT = 1000
"""A text that may be longer gets a box of several lines."""
MOST_SLIDER_POSITIONS = 10_000
"""A range with more positions cannot be hit with a slider; it gets a number box."""


TRAIN = "train"
"""All kinds of training share one tab, one control per field and the same words."""


def element_id(kind: str, name: str) -> str:
    return f"{kind}_{ELEMENT_IDS.get(name, name)}"


def word_key(kind: str, name: str, what: str) -> str:
    """Key of the "label" or "help" of a field."""
    return f"param.{TRAIN}.{name}.{what}" if kind == TRAIN or kind in TRAIN_REQUESTS else f"param.{name}.{what}"


def control(kind: str, parameter: Parameter, value: Any, **layout: Any) -> Any:
    """The control for `parameter` on the tab of `kind`, showing `value`. `layout` goes to the Gradio component."""
    common = {"value": value, "elem_id": element_id(kind, parameter.name), "interactive": True, **layout}
    for name, what in (("label", "label"), ("info", "help")):
        if name not in layout:  # those of an extension's option are its own, in its author's language
            common[name] = word(word_key(kind, parameter.name, what))
    if parameter.param.values:
        return gr.Dropdown(choices=list(parameter.param.values), filterable=False, **common)
    if parameter.param.choices:
        return gr.Dropdown(choices=_choices(parameter.param.choices), filterable=False, **common)
    if parameter.param.suggestions:
        # The script fills the files in; until then, and for what a picture's metadata name, any text is taken.
        return gr.Dropdown(
            choices=list(FIRST_SUGGESTIONS[parameter.param.suggestions]), allow_custom_value=True, **common
        )
    if parameter.type is bool:
        return gr.Checkbox(**common)
    if parameter.type is str:
        return _text(parameter, common)
    if parameter.type in (int, float):
        return _number(parameter, common)
    raise TypeError(f"There is no control for '{parameter.name}' of type {parameter.type.__name__} yet.")


def tool(name: str, elem_id: str) -> gr.Button:
    """A small button that shows an icon (assets/easel.css) and is read out as `tool.<name>`."""
    return gr.Button(
        word(f"tool.{name}"), elem_id=elem_id, elem_classes=["easel-tool", f"easel-icon-{name}"], scale=0, min_width=36
    )


def _choices(registry: str) -> list[tuple[Any, str]]:
    """Names with the words shown for them; most names are the same in every language."""
    keys = ((name, f"choice.{registry}.{name}") for name in CHOICES[registry])
    return [(word(key) if has_word(key) else str(name), name) for name, key in keys]


def _text(parameter: Parameter, common: dict[str, Any]) -> Any:
    long = (parameter.param.max_length or 0) > LONG_TEXT
    lines = {"lines": 3, "max_lines": 12} if long else {}
    return gr.Textbox(**{**lines, **common})


def _number(parameter: Parameter, common: dict[str, Any]) -> Any:
    param = parameter.param
    precision = {"precision": 0} if parameter.type is int else {}
    if param.minimum is None or param.maximum is None or param.step is None:
        return gr.Number(**precision, **common)
    if (param.maximum - param.minimum) / param.step > MOST_SLIDER_POSITIONS:
        # Limits are left to the request type: the box would silently clamp instead of saying what is wrong.
        return gr.Number(step=param.step, **precision, **common)
    return gr.Slider(minimum=param.minimum, maximum=param.maximum, step=param.step, **precision, **common)
