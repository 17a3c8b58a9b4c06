"""The Train tab: which controls it has, where they stand, and for which kind of training each one matters.

One control per field, shared by the kinds that have the field; `assets/train-form.js` shows those of the chosen kind,
keeps their values and posts the request. Data sets and runs are our own elements.
"""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.params import Parameter, parameters
from webui.registry import CHOICES
from webui.train_requests import TRAIN_REQUESTS
from webui.ui.controls import TRAIN, control
from webui.ui.form import call
from webui.ui.languages import word
from webui.ui.result import element

ELSEWHERE = {"dataset": "chosen in the data set panel"}
"""Fields without a control of their own -> where their value comes from."""
NAMES_OF_MODELS = ("checkpoint", "first_stage", "text_encoder")
"""Fields that name something in the models folder; the script fills their choices in."""
ONLY_WITH = {"codebook_size": "VQ", "kl_weight": "KL"}
"""Field -> the regularisation for which it matters."""

BASICS = ("steps", "batch_size", "learning_rate", "size")
SAMPLES = ("sample_every", "sample_prompt")
RUN = ("accumulation", "precision", "ema_decay", "seed", "save_every")
FIRST = ("name", *NAMES_OF_MODELS, "trigger", "token")


def fields() -> Mapping[str, Parameter]:
    """Every field of every kind of training, once."""
    return {name: field for request_type in TRAIN_REQUESTS.values() for name, field in parameters(request_type).items()}


def method() -> list[str]:
    """Fields that say how a kind is trained: all that have no other place."""
    return [name for name in fields() if name not in (*FIRST, *BASICS, *SAMPLES, *RUN, *ELSEWHERE)]


def kinds_with(name: str) -> list[str]:
    return [kind for kind, request_type in TRAIN_REQUESTS.items() if name in parameters(request_type)]


def build(page: gr.Blocks) -> None:
    """Lay the tab out inside `page`."""
    maker = _Maker()
    with gr.Row(elem_id=TRAIN, elem_classes="easel-train"):
        with gr.Column(elem_classes="easel-train-form"):
            kind = _kind()
            start = gr.Button(word("train.start"), variant="primary", elem_id=f"{TRAIN}_start")
            with gr.Column(elem_classes="easel-controls"):
                _controls(maker)
        with gr.Column(elem_classes="easel-train-run"):
            element("easel-training", elem_id=f"{TRAIN}_runs")
        with gr.Column(elem_classes="easel-train-data"):
            element("easel-dataset", elem_id=f"{TRAIN}_datasets")
    _wire(page, kind, maker.made, start)


def _kind() -> gr.Radio:
    choices = [(word(f"kind.{kind}"), kind) for kind in TRAIN_REQUESTS]
    kind = gr.Radio(choices, value=next(iter(TRAIN_REQUESTS)), label=word("train.kind"), elem_id=f"{TRAIN}_kind")
    element("easel-train-hint")
    return kind


def _controls(maker: "_Maker") -> None:
    for name in (*FIRST, *BASICS):
        maker.add(name)
    for group, names in (("method", method()), ("samples", SAMPLES), ("run", RUN)):
        with gr.Accordion(word(f"train.group.{group}"), open=False, elem_id=f"{TRAIN}_group_{group}"):
            for name in names:
                maker.add(name)


class _Maker:
    """Makes controls and keeps them by name."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}
        self._fields = fields()

    def add(self, name: str) -> None:
        field = self._fields[name]
        classes = [f"easel-for-{kind}" for kind in kinds_with(name)] + [f"easel-with-{ONLY_WITH.get(name, 'any')}"]
        layout = {"elem_classes": ["easel-for", *classes]}
        value = "" if name in ("name", "token") else field.default
        if name in NAMES_OF_MODELS:
            self.made[name] = _model_name(name, layout)
        else:
            self.made[name] = control(TRAIN, field, value, **layout)


def _model_name(name: str, layout: Mapping[str, Any]) -> gr.Dropdown:
    return gr.Dropdown(
        choices=[(word("train.model.default"), "")],
        value="",
        label=word(f"param.{TRAIN}.{name}.label"),
        info=word(f"param.{TRAIN}.{name}.help"),
        elem_id=f"{TRAIN}_{name}",
        interactive=True,
        **layout,
    )


def _wire(page: gr.Blocks, kind: gr.Radio, controls: Mapping[str, Any], start: gr.Button) -> None:
    """Restore on load, follow the kind, remember on input, let the script put values in, and send."""
    missing = set(fields()) - set(controls) - set(ELSEWHERE)
    if missing:
        raise ValueError(f"The Train tab has no control for {missing}")
    everything = [kind, *controls.values()]
    spec = {
        "names": list(controls),
        "elements": [each.elem_id for each in everything],
        "kinds": {name: _describe(name) for name in TRAIN_REQUESTS},
    }
    quiet: dict[str, Any] = {"fn": None, "show_progress": "hidden"}
    page.load(inputs=everything, outputs=everything, js=call("startTraining", spec), **quiet)
    kind.change(inputs=everything, outputs=everything, js=call("followTraining"), **quiet)
    save, fill = (gr.Button(what, elem_id=f"{TRAIN}_{what}", elem_classes="easel-hidden") for what in ("save", "fill"))
    save.click(fn=None, inputs=everything, js=call("saveTraining"), trigger_mode="multiple")
    fill.click(inputs=everything, outputs=everything, js=call("fillTraining"), **quiet)
    start.click(fn=None, inputs=everything, js=call("submitTraining"), trigger_mode="multiple")


def _describe(kind: str) -> dict[str, Any]:
    """What the script has to know of the fields of one kind."""
    return {
        name: {
            "default": field.default if isinstance(field.default, str | int | float) else "",
            "minimum": field.param.minimum,
            "maximum": field.param.maximum,
            "choices": list(CHOICES[field.param.choices]) if field.param.choices else None,
        }
        for name, field in parameters(TRAIN_REQUESTS[kind]).items()
    }
