"""The Extensions tab: an element of our own (assets/extensions.js), which asks the server for everything."""

from webui.ui.result import element


def build() -> None:
    """Lay the tab out."""
    element("easel-extensions", elem_id="easel_extensions")
