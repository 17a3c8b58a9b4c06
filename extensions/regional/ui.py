"""The panel of boxes in every form; it is drawn by assets/boxes.js over the text of the option."""

import gradio as gr

from webui.extension import Panel


def panel(panel: Panel) -> None:
    gr.HTML(
        html_template=f'<easel-boxes tab="{panel.kind}" extension="regional"></easel-boxes>',
        js_on_load=None,
        apply_default_css=False,
        elem_classes="easel-element",
        elem_id=f"{panel.kind}_regional_canvas",
    )
