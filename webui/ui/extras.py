"""The Extras tab: which controls enlarging has and where they stand.

The pictures are our own element (assets/extras.js), which uploads them and makes a job of each.
"""

from typing import Any

import gradio as gr

from webui.registry import CHOICES
from webui.ui import groups
from webui.ui.form import Form, call
from webui.ui.languages import word
from webui.ui.result import element
from webui.upscale_request import Upscale
from webui.upscalers import BUILT_IN

TAB = "extras"
PICTURES = ("image",)
"""Fields that name uploaded pictures."""
UPSCALERS = ("upscaler", "second_upscaler")
"""Fields that name an upscaler; the script fills their choices in."""
ELEMENT_IDS = {
    "upscaler": "extras_upscaler_1",
    "second_upscaler": "extras_upscaler_2",
    "second_visibility": "extras_upscaler_2_visibility",
    "size_mode": "extras_resize_mode",
    "scale": "extras_upscaling_resize",
    "max_side": "extras_upscaling_max_side_length",
    "width": "extras_upscaling_resize_w",
    "height": "extras_upscaling_resize_h",
    "crop": "extras_upscaling_crop",
}
"""AUTOMATIC1111's ids, as far as it has the control."""


def build(page: gr.Blocks) -> Form:
    """Lay the tab out inside `page`."""
    maker = groups.Maker(TAB, Upscale.kind, {})
    with gr.Row(elem_id="extras_tab", elem_classes="easel-workspace"):
        with gr.Column(elem_classes="easel-prompts"):
            element("easel-extras", elem_id="extras_image")
            generate = groups.generate_button(maker)
        with gr.Column(elem_classes="easel-results"):
            element("easel-result", elem_id="extras_result", kind=TAB)
        with gr.Column(elem_classes="easel-controls"):
            _upscaler(maker, "upscaler")
            _size(maker)
            with gr.Accordion(word("group.second_upscaler"), open=False, elem_id="extras_group_second_upscaler"):
                _upscaler(maker, "second_upscaler")
                _add(maker, "second_visibility")
            with gr.Accordion(word("group.tiles"), open=False, elem_id="extras_group_tiles"):
                _add(maker, "tile_size")
                _add(maker, "tile_overlap")
            groups.reset_button(maker)
    form = Form(TAB, Upscale.kind, maker.made, maker.defaults, elsewhere=PICTURES)
    form.submits(generate, "submitExtras")
    form.wire(page)
    _follow_folder(maker)
    return form


def _add(maker: groups.Maker, name: str, **layout: Any) -> None:
    ids = {"elem_id": ELEMENT_IDS[name]} if name in ELEMENT_IDS else {}
    maker.add(name, **ids, **layout)


def _upscaler(maker: groups.Maker, name: str) -> None:
    maker.made[name] = gr.Dropdown(
        choices=list(BUILT_IN),
        value=maker.defaults[name],
        label=word(f"param.{name}.label"),
        info=word(f"param.{name}.help"),
        elem_id=ELEMENT_IDS[name],
        interactive=True,
    )


def _size(maker: groups.Maker) -> None:
    """Which fields matter is seen from the choice by the styles."""
    choices = [(word(f"choice.size_mode.{mode}"), mode) for mode in CHOICES["size_mode"]]
    maker.made["size_mode"] = gr.Radio(
        choices,
        value=maker.defaults["size_mode"],
        label=word("param.size_mode.label"),
        elem_id=ELEMENT_IDS["size_mode"],
        interactive=True,
    )
    for name in ("scale", "max_side"):
        _add(maker, name, elem_classes="easel-scale-by")
    for name in ("width", "height"):
        _add(maker, name, info=None, elem_classes="easel-scale-to")
    _add(maker, "crop", elem_classes="easel-scale-to")


def _follow_folder(maker: groups.Maker) -> None:
    """The script presses this on load and when the models folder has changed."""
    upscalers = [maker.made[name] for name in UPSCALERS]
    reload = gr.Button("reload", elem_id="extras_reload_upscalers", elem_classes="easel-hidden")
    reload.click(
        fn=None, inputs=upscalers, outputs=upscalers, js=call("reloadUpscalers"), show_progress="hidden"
    )  # fmt: skip
