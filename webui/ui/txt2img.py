"""The text-to-image tab: which controls it has and where they stand."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.params import parameters
from webui.requests import REQUESTS
from webui.ui.controls import control, tool
from webui.ui.form import Form, call
from webui.ui.languages import word
from webui.ui.result import element

KIND = "txt2img"

SAMPLER_OPTIONS = (
    *("eta", "ddim_eta", "s_noise", "s_churn", "s_tmin", "s_tmax", "eta_noise_seed_delta"),
    *("sigma_min", "sigma_max", "rho", "discard_next_to_last_sigma"),
)
"""Numbers that few people change; each belongs to some samplers or schedules only."""


def build(page: gr.Blocks, checkpoint: Any, recommended: Mapping[str, Any]) -> Form:
    """Lay the tab out inside `page`. `checkpoint` is the page's own dropdown; `recommended` are its defaults."""
    defaults = {name: field.default for name, field in parameters(REQUESTS[KIND]).items()}
    maker = _Maker({**defaults, **recommended})
    with gr.Row(elem_id=KIND, elem_classes="easel-workspace"):
        with gr.Column(elem_classes="easel-prompts"):
            _prompts(maker)
            generate = gr.Button(word("generate"), variant="primary", elem_id=f"{KIND}_generate")
        with gr.Column(elem_classes="easel-results"):
            element("easel-result", elem_id=f"{KIND}_result", kind=KIND)
        with gr.Column(elem_classes="easel-controls"):
            _size(maker)
            maker.add("num_inference_steps")
            maker.add("guidance_scale")
            _seed(maker)
            _folded(maker)
            reset = gr.Button(word("reset"), size="sm", elem_id=f"{KIND}_reset", elem_classes="easel-quiet")
    form = Form(KIND, {"checkpoint": checkpoint, **maker.made}, defaults)
    form.submits(generate)
    reset.click(fn=None, js=call("resetForm", KIND), show_progress="hidden")
    form.wire(page)
    return form


class _Maker:
    """Makes controls and keeps them by name."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.made: dict[str, Any] = {}

    def add(self, name: str, **layout: Any) -> Any:
        field = parameters(REQUESTS[KIND])[name]
        self.made[name] = control(KIND, field, self._values[name], **layout)
        return self.made[name]


def _prompts(maker: _Maker) -> None:
    maker.add("prompt", info=None, placeholder=word("prompt.placeholder"), autofocus=True)
    maker.add("negative_prompt", info=None, lines=2, placeholder=word("negative_prompt.placeholder"))


def _size(maker: _Maker) -> None:
    with gr.Row(elem_classes="easel-size"):
        with gr.Column(min_width=0):
            width = maker.add("width", info=None)
            height = maker.add("height", info=None)
        swap = tool("swap", f"{KIND}_res_switch_btn")
    swap.click(
        fn=None, inputs=[width, height], outputs=[width, height], js="(width, height) => [height, width]",
        show_progress="hidden",
    )  # fmt: skip


def _seed(maker: _Maker) -> None:
    with gr.Row(elem_classes="easel-seed"):
        seed = maker.add("seed", min_width=0)
        dice = tool("random_seed", f"{KIND}_random_seed")
        reuse = tool("reuse_seed", f"{KIND}_reuse_seed")
    dice.click(fn=None, outputs=seed, js="() => -1", show_progress="hidden")
    reuse.click(fn=None, inputs=seed, outputs=seed, js=call("reuseSeed", KIND), show_progress="hidden")


def _folded(maker: _Maker) -> None:
    with gr.Accordion(word("group.sampling"), open=False, elem_id=f"{KIND}_group_sampling"):
        maker.add("sampler")
        maker.add("schedule")
    with gr.Accordion(word("group.prompt"), open=False, elem_id=f"{KIND}_group_prompt"):
        maker.add("emphasis")
        maker.add("clip_skip")
    with gr.Accordion(word("group.sampler_options"), open=False, elem_id=f"{KIND}_group_sampler_options"):
        for name in SAMPLER_OPTIONS:
            maker.add(name)
    with gr.Accordion(word("group.batch"), open=False, elem_id=f"{KIND}_group_batch"):
        maker.add("batch_count")
        maker.add("batch_size")
    with gr.Accordion(word("group.preview"), open=False, elem_id=f"{KIND}_group_preview"):
        maker.add("preview")
