"""Places our own elements on the page. What they do is in `assets/`; no data ever passes through these templates."""

import gradio as gr


def element(tag: str, elem_id: str | None = None, **attributes: str) -> gr.HTML:
    """One custom element, e.g. `element("easel-result", kind="txt2img")`. Attributes are constants of the source."""
    markup = "".join(f' {name}="{value}"' for name, value in attributes.items())
    template = f"<{tag}{markup}></{tag}>"
    if "{" in template or not all(value.replace("-", "").isalnum() for value in attributes.values()):
        raise ValueError(f"Only plain words may stand in a template, not {template!r}.")
    return gr.HTML(
        html_template=template, js_on_load=None, apply_default_css=False, elem_id=elem_id, elem_classes="easel-element"
    )
