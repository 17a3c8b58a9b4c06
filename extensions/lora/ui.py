"""The panel of LoRA cards in every form; what they show is asked of the server by assets/loras.js."""

import gradio as gr

from webui.extension import Panel


def panel(panel: Panel) -> None:
    gr.HTML(
        html_template=f'<easel-loras prompt="{panel.prompt_id}"></easel-loras>',
        js_on_load=None,
        apply_default_css=False,
        elem_classes="easel-element",
        elem_id=f"{panel.kind}_lora_cards",
    )
