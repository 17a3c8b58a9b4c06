"""The gallery tab. Everything in it is our own element (assets/gallery-tab.js), which talks to /api/v1/gallery."""

from webui.ui.result import element


def build() -> None:
    """Place the element."""
    element("easel-pictures", elem_id="gallery")
