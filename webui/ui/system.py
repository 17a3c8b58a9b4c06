"""The System tab: an element of our own (assets/system.js), which asks /api/v1/system for everything."""

from webui.ui.result import element


def build() -> None:
    """Place the element."""
    element("easel-system", elem_id="easel_system")
