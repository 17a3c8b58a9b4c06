"""Tells the palette (assets/palette.js) what the page holds: every control and button, in which tab and under which
heading. What choosing one of them does is not decided here.
"""

import re
from collections.abc import Iterator
from typing import Any, TypedDict

import gradio as gr
from gradio.blocks import Block
from gradio.components.base import FormComponent

from webui.ui.form import call

TRANSLATED = re.compile(r'__i18n__.*"key": "([^"]*)"')
"""A label that the browser translates, as `word` makes it."""


class Control(TypedDict):
    element: str
    label: str
    """Key of a word, or the text itself where an extension brings one of its own."""
    inside: list[str]
    """Element ids of the tab and the folded headings around it, outermost first."""
    role: str
    """"field": a value of a form; "button": one with words on it; "tool": a small one with an icon."""


class Contents(TypedDict):
    controls: list[Control]
    headings: dict[str, str]
    """Element id of a tab or folded heading -> its label."""


def wire(page: gr.Blocks) -> None:
    """Let the script know on load. To be called when everything else is on the page."""
    page.load(fn=None, js=call("startPalette", contents(page)), show_progress="hidden")


def contents(page: gr.Blocks) -> Contents:
    """Whatever a reader can change or press in `page`, in its order; hidden buttons are left out."""
    blocks = list(page.blocks.values())
    headings = {str(block.elem_id): _words(block.label) for block in blocks if _is_heading(block)}
    return {"controls": list(_controls(blocks)), "headings": headings}


def _controls(blocks: list[Block]) -> Iterator[Control]:
    for block in blocks:
        if block.elem_id is None or "easel-hidden" in block.elem_classes:
            continue
        if isinstance(block, FormComponent):
            yield _control(block, _words(block.label), "field")
        elif isinstance(block, gr.Button):
            yield _control(block, _words(block.value), "tool" if "easel-tool" in block.elem_classes else "button")


def _control(block: Block, label: str, role: str) -> Control:
    inside: list[str] = []
    around = block.parent
    while around is not None:
        if _is_heading(around):
            inside.insert(0, str(around.elem_id))
        around = around.parent
    return {"element": str(block.elem_id), "label": label, "inside": inside, "role": role}


def _is_heading(block: Any) -> bool:
    return isinstance(block, gr.Tab | gr.Accordion) and block.elem_id is not None


def _words(label: Any) -> str:
    text = str(label)
    found = TRANSLATED.match(text)
    return found[1] if found else text
