"""The Models tab. Everything in it is our own element (assets/models-tab.js), which talks to /api/v1/models."""

from webui.ui.result import element


def build() -> None:
    """Place the element."""
    element("easel-models", elem_id="easel_models")
