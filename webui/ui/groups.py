"""How the controls that txt2img, img2img and inpaint share are laid out: one place to add a control for a new field.

Knows neither what a tab has of its own (a picture, a result) nor what becomes of the values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from webui.params import Parameter, parameters
from webui.requests import REQUESTS
from webui.ui.controls import FIRST_SUGGESTIONS, control, tool
from webui.ui.form import call
from webui.ui.languages import word
from webui.ui.result import element

GROUPS: Mapping[str, tuple[str, ...]] = {
    "inpainting": (
        *("mask_mode", "mask_blur", "masked_content", "inpaint_area", "padding", "keep_untouched"),
    ),
    "hires": (
        *("hires", "hires_upscaler", "hires_scale", "hires_width", "hires_height", "hires_steps", "hires_strength"),
        *("hires_checkpoint", "hires_sampler", "hires_schedule", "hires_guidance_scale"),
        *("hires_prompt", "hires_negative_prompt"),
    ),
    "outpainting": ("outpaint_left", "outpaint_right", "outpaint_up", "outpaint_down"),
    "soft_inpainting": (
        *("soft_inpainting", "soft_schedule_bias", "soft_preservation", "soft_contrast"),
        *("soft_mask_influence", "soft_difference_threshold", "soft_difference_contrast"),
    ),
    "sampling": ("sampler", "schedule"),
    "noise": (
        *("variation_seed", "variation_strength", "seed_resize_width", "seed_resize_height", "noise_source"),
    ),
    "model": ("refiner", "refiner_switch_at", "vae", "tiling", "color_correction", "image_guidance_scale"),
    "prompt": ("emphasis", "clip_skip"),
    "sampler_options": (
        *("eta", "ddim_eta", "s_noise", "s_churn", "s_tmin", "s_tmax", "eta_noise_seed_delta"),
        *("sigma_min", "sigma_max", "rho", "discard_next_to_last_sigma", "unipc_order", "unipc_variant"),
    ),
    "batch": ("batch_count", "batch_size"),
    "preview": ("preview",),
}  # fmt: skip
"""Folded heading `group.<name>` -> its fields, from the most used to the least. A tab leaves out the fields that its
request does not have, and a heading without any."""


PICTURE_KINDS = ("txt2img", "img2img", "inpaint")

Panels = Sequence[Callable[["Maker"], None]]
"""Each adds the accordion of one extension to the tab."""


class Maker:
    """Makes the controls of one tab and keeps them by field name."""

    def __init__(self, tab: str, kind: str, recommended: Mapping[str, Any]) -> None:
        """`tab` begins the element ids, `kind` is the request that has all the fields of the tab."""
        self.tab = tab
        self.fields = parameters(REQUESTS[kind])
        self.defaults: dict[str, Any] = {name: field.default for name, field in self.fields.items()}
        self._values = {**self.defaults, **recommended}
        self.made: dict[str, Any] = {}
        self.options: dict[str, Parameter] = {}
        """Options of extensions, by "<extension>.<option>"."""

    def add_option(self, extension: str, option: Parameter) -> Any:
        """The control of an extension's option, whose words are the extension's own."""
        name = f"{extension}.{option.name}"
        self.options[name], self.defaults[name] = option, option.default
        self.made[name] = control(
            self.tab, option, option.default,
            label=option.param.label or option.name, info=option.param.help or None,
            elem_id=f"{self.tab}_{extension}_{option.name}",
        )  # fmt: skip
        return self.made[name]

    def add(self, name: str, **layout: Any) -> Any:
        """The control of a field; `layout` goes to the Gradio component."""
        self.made[name] = control(self.tab, self.fields[name], self._values[name], **layout)
        return self.made[name]


def prompts(maker: Maker, *, autofocus: bool = False) -> None:
    maker.add("prompt", info=None, placeholder=word("prompt.placeholder"), autofocus=autofocus)
    maker.add("negative_prompt", info=None, lines=2, placeholder=word("negative_prompt.placeholder"))
    with gr.Row(elem_classes="easel-prompt-tools"):
        element("easel-styles", elem_id=f"{maker.tab}_styles", kind=maker.tab)
        element("easel-wildcards", elem_id=f"{maker.tab}_wildcards", kind=maker.tab)


def generate_button(maker: Maker) -> gr.Button:
    return gr.Button(
        word("generate"), variant="primary", elem_id=f"{maker.tab}_generate", elem_classes="easel-generate"
    )


def size(maker: Maker) -> gr.Column:
    """Width and height with the button that swaps them. More buttons for them can be put into the column returned."""
    with gr.Row(elem_classes="easel-size"):
        with gr.Column(min_width=0):
            width = maker.add("width", info=None)
            height = maker.add("height", info=None)
        with gr.Column(min_width=36, scale=0, elem_classes="easel-size-tools") as tools:
            swap = tool("swap", f"{maker.tab}_res_switch_btn")
    swap.click(
        fn=None, inputs=[width, height], outputs=[width, height], js="(width, height) => [height, width]",
        show_progress="hidden",
    )  # fmt: skip
    return tools


def steps_and_guidance(maker: Maker) -> None:
    maker.add("num_inference_steps")
    maker.add("guidance_scale")


def seed(maker: Maker) -> None:
    with gr.Row(elem_classes="easel-seed"):
        box = maker.add("seed", min_width=0)
        dice = tool("random_seed", f"{maker.tab}_random_seed")
        reuse = tool("reuse_seed", f"{maker.tab}_reuse_seed")
    dice.click(fn=None, outputs=box, js="() => -1", show_progress="hidden")
    reuse.click(fn=None, inputs=box, outputs=box, js=call("reuseSeed", maker.tab), show_progress="hidden")


def folded(maker: Maker, panels: Panels) -> None:
    """All of `GROUPS` that the tab has fields for and the panels of extensions, closed."""
    for group, names in GROUPS.items():
        own = [name for name in names if name in maker.fields]
        if not own:
            continue
        # A tab of several kinds shows those of the kind at hand (assets/canvas.css).
        kinds = [kind for kind in PICTURE_KINDS if not parameters(REQUESTS[kind]).keys().isdisjoint(own)]
        classes = [f"easel-has-{kind}" for kind in kinds]
        with gr.Accordion(
            word(f"group.{group}"), open=False, elem_id=f"{maker.tab}_group_{group}", elem_classes=classes
        ):
            for name in own:
                maker.add(name)
    for panel in panels:
        panel(maker)
    _follow_models(maker)


def script(maker: Maker) -> None:
    """The list of scripts with the options of the chosen one, closed: our own element (assets/script-form.js)."""
    with gr.Accordion(word("group.script"), open=False, elem_id=f"{maker.tab}_group_script"):
        element("easel-script", elem_id=f"{maker.tab}_script", kind=maker.tab)


def _follow_models(maker: Maker) -> None:
    """The script presses this on load and when the models folder has changed."""
    shelves = {name: field.param.suggestions for name, field in maker.fields.items() if field.param.suggestions}
    lists = [{"first": FIRST_SUGGESTIONS[shelf], "shelf": shelf} for shelf in shelves.values()]
    controls = [maker.made[name] for name in shelves]
    reload = gr.Button("reload", elem_id=f"{maker.tab}_reload_models", elem_classes="easel-hidden")
    reload.click(fn=None, outputs=controls, js=call("reloadModelLists", lists), show_progress="hidden")


def reset_button(maker: Maker) -> None:
    element("easel-presets", elem_id=f"{maker.tab}_presets_row", kind=maker.tab)
    reset = gr.Button(word("reset"), size="sm", elem_id=f"{maker.tab}_reset", elem_classes="easel-quiet")
    reset.click(fn=None, js=call("resetForm", maker.tab), show_progress="hidden")
