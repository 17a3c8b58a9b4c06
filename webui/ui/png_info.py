"""The PNG info tab. Its element (assets/png-info.js) asks /api/v1/picture-info; ids as in AUTOMATIC1111."""

from webui.ui.result import element


def build() -> None:
    """Place the element."""
    element("easel-png-info", elem_id="pnginfo")
