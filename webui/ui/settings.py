"""The Settings tab: an element of our own (assets/settings.js), which asks /api/v1/settings for everything."""

from webui.ui.result import element


def build() -> None:
    """Place the element."""
    element("easel-settings", elem_id="easel_settings")
