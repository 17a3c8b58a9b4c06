"""The image-to-image tab: which controls it has and where they stand. The picture, its mask and its sketch are our own
element (assets/source.js, assets/canvas.js), which also decides whether a job is img2img or inpaint.
"""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.ui import groups
from webui.ui.controls import tool
from webui.ui.form import Form, call
from webui.ui.result import element

TAB = "img2img"
KINDS = ("img2img", "inpaint")
"""What the tab asks for; the last has all the fields of the others."""
PICTURES = ("image", "mask")
"""Fields that name uploaded pictures."""


def build(page: gr.Blocks, checkpoint: Any, recommended: Mapping[str, Any], panels: groups.Panels) -> Form:
    """Lay the tab out inside `page`. `checkpoint` is the page's own dropdown; `recommended` are its defaults."""
    maker = groups.Maker(TAB, KINDS[-1], recommended)
    with gr.Row(elem_id=TAB, elem_classes="easel-workspace easel-with-source"):
        with gr.Column(elem_classes="easel-prompts"):
            groups.prompts(maker)
            generate = groups.generate_button(maker)
        with gr.Column(elem_classes="easel-source-column"):
            element("easel-source", elem_id=f"{TAB}_source", kind=TAB)
        with gr.Column(elem_classes="easel-results"):
            element("easel-runs", elem_id=f"{TAB}_runs", kind=TAB)
            element("easel-result", elem_id=f"{TAB}_result", kind=TAB)
        with gr.Column(elem_classes="easel-controls"):
            _size(maker)
            maker.add("strength")
            groups.steps_and_guidance(maker)
            groups.seed(maker)
            groups.folded(maker, panels)
            groups.script(maker)
            groups.reset_button(maker)
    controls = {"checkpoint": checkpoint, **maker.made}
    form = Form(TAB, KINDS[-1], controls, maker.defaults, PICTURES, KINDS, maker.options)
    form.submits(generate, "submitSource")
    form.wire(page)
    return form


def _size(maker: groups.Maker) -> None:
    with groups.size(maker):
        take = tool("picture_size", f"{TAB}_detect_image_size_btn")
    size = [maker.made["width"], maker.made["height"]]
    take.click(fn=None, inputs=size, outputs=size, js=call("sizeOfSource", TAB), show_progress="hidden")
    maker.add("resize_mode")
