"""The text-to-image tab: which controls it has and where they stand."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.ui import groups
from webui.ui.form import Form
from webui.ui.result import element

KIND = "txt2img"


def build(page: gr.Blocks, checkpoint: Any, recommended: Mapping[str, Any], panels: groups.Panels) -> Form:
    """Lay the tab out inside `page`. `checkpoint` is the page's own dropdown; `recommended` are its defaults."""
    maker = groups.Maker(KIND, KIND, recommended)
    with gr.Row(elem_id=KIND, elem_classes="easel-workspace"):
        with gr.Column(elem_classes="easel-prompts"):
            groups.prompts(maker, autofocus=True)
            generate = groups.generate_button(maker)
        with gr.Column(elem_classes="easel-results"):
            element("easel-runs", elem_id=f"{KIND}_runs", kind=KIND)
            element("easel-result", elem_id=f"{KIND}_result", kind=KIND)
        with gr.Column(elem_classes="easel-controls"):
            groups.size(maker)
            groups.steps_and_guidance(maker)
            groups.seed(maker)
            groups.folded(maker, panels)
            groups.script(maker)
            groups.reset_button(maker)
    form = Form(KIND, KIND, {"checkpoint": checkpoint, **maker.made}, maker.defaults, options=maker.options)
    form.submits(generate)
    form.wire(page)
    return form
