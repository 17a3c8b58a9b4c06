"""A form: the controls of one kind of request by name, and their wiring to `assets/form.js`.

No value ever passes through a Python handler: the browser collects the controls and posts one request to
/api/v1/jobs, where the request type validates it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from webui import branches
from webui.params import Parameter, parameters
from webui.registry import CHOICES
from webui.requests import REQUESTS

SCRIPT = "easel/easel.js"
NO_CONTROL = ("extensions", "branch_step", "branch_from")
"""Fields without a control of their own: what extensions are told, and the branch (assets/branch.js)."""


def call(function: str, *arguments: Any) -> str:
    """JavaScript for a Gradio event: our `function` with constant arguments, then the list of input values."""
    constants = "".join(f"{json.dumps(argument)}, " for argument in arguments)
    return f'async (...v) => (await import(new URL("{SCRIPT}", document.baseURI).href)).{function}({constants}v)'


@dataclass(frozen=True)
class Form:
    """Every field of a request type has exactly one control here, or is named in `elsewhere`."""

    tab: str
    """Begins the element ids, and names the form in the script."""
    kind: str
    """The request that has all the fields."""
    controls: Mapping[str, Any]
    """Field name -> Gradio component."""
    defaults: Mapping[str, Any]
    """What an untouched form holds, without the checkpoint's own recommendations."""
    elsewhere: tuple[str, ...] = ()
    """Fields whose values the script brings: uploaded pictures."""
    kinds: tuple[str, ...] = ()
    """Requests that the form is sent as; () for its own kind alone."""
    options: Mapping[str, Parameter] = field(default_factory=dict)
    """Options of extensions, by "<extension>.<option>"; the request carries them in its one field `extensions`."""

    def __post_init__(self) -> None:
        if wrong := {*self.controls, *self.elsewhere} ^ set(self.fields):
            raise ValueError(f"Controls and fields of {self.kind} differ: {wrong}")

    @property
    def fields(self) -> Mapping[str, Parameter]:
        own = {name: field for name, field in parameters(REQUESTS[self.kind]).items() if name not in NO_CONTROL}
        return {**own, **self.options}

    @property
    def names(self) -> list[str]:
        return list(self.controls)

    def wire(self, page: gr.Blocks) -> None:
        """Restore on load, remember on input, and let the script put values into the controls."""
        controls = list(self.controls.values())
        requests = {kind: list(parameters(REQUESTS[kind])) for kind in self.kinds or (self.kind,)}
        fields = {name: self._describe(name) for name in self.names}
        spec = {"kind": self.tab, "fields": fields, "requests": requests}
        page.load(fn=None, inputs=controls, outputs=controls, js=call("startForm", spec), show_progress="hidden")
        save, fill = self._hidden_button("save"), self._hidden_button("fill")
        save.click(fn=None, inputs=controls, js=call("saveForm", self.tab), trigger_mode="multiple")
        fill.click(fn=None, inputs=controls, outputs=controls, js=call("fillForm", self.tab), show_progress="hidden")

    def submits(self, button: gr.Button, function: str = "submitForm", *constants: Any) -> None:
        """Make `button` send this form through `function` of the script. It stays enabled: a click, a job."""
        button.click(
            fn=None,
            inputs=list(self.controls.values()),
            js=call(function, self.tab, self.names, *constants),
            trigger_mode="multiple",
        )

    def _hidden_button(self, purpose: str) -> gr.Button:
        """What the script clicks to read or write all controls; Gradio offers no other way in."""
        return gr.Button(purpose, elem_id=f"{self.tab}_{purpose}", elem_classes="easel-hidden")

    def _describe(self, name: str) -> dict[str, Any]:
        field = self.fields[name]
        return {
            "type": {int: "number", float: "number", str: "string", bool: "boolean"}[field.type],
            "default": self.defaults[name],
            "minimum": field.param.minimum,
            "maximum": field.param.maximum,
            "choices": list(field.param.values or CHOICES.get(field.param.choices, ())) or None,
            "kept": branches.keeps(name),
            "element": self.controls[name].elem_id,
        }
