"""The bar at the top: name, checkpoint, state of the engine, language and colours."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.library import Passport
from webui.ui.controls import tool
from webui.ui.form import call
from webui.ui.languages import word
from webui.ui.result import element


def build(passports: Mapping[str, Passport], selected: str) -> Any:
    """Lay the bar out and return the checkpoint dropdown. The script brings its choices up to date on each load."""
    with gr.Row(elem_id="easel_header"):
        element("easel-brand", elem_id="easel_brand")
        with gr.Row(elem_classes="easel-checkpoint"):
            checkpoint = gr.Dropdown(
                choices=[(passport.title, name) for name, passport in passports.items()],
                value=selected or None,
                label=word("param.checkpoint.label"),
                elem_id="setting_sd_model_checkpoint",
                interactive=True,
                container=False,
                min_width=0,
            )
            refresh = tool("refresh", "refresh_sd_model_checkpoint")
        element("easel-quick", elem_id="quicksettings")
        element("easel-status", elem_id="easel_status")
        element("easel-queue", elem_id="easel_queue")
        element("easel-preferences", elem_id="easel_preferences")
    # The models folder has changed: the script presses this, which looks at what the server knows by now.
    reload = gr.Button("reload", elem_id="easel_reload_checkpoints", elem_classes="easel-hidden")
    reload.click(fn=None, inputs=checkpoint, outputs=checkpoint, js=call("reloadCheckpoints"), show_progress="hidden")
    refresh.click(fn=None, inputs=checkpoint, outputs=checkpoint, js=call("refreshCheckpoints"), show_progress="hidden")
    return checkpoint
