"""What enabled extensions put into the page: an accordion in every form, a tab of their own, scripts and styles.

The controls of options come from their declarations, as those of requests do. One that fails while it is built is
disabled and leaves a line that says so; the rest of the page stands.
"""

import functools
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import gradio as gr

from webui.errors import ExtensionError
from webui.extension import Panel
from webui.extensions.desk import ExtensionDesk
from webui.extensions.manifest import Folder
from webui.extensions.modules import described
from webui.params import parameters
from webui.ui.controls import element_id
from webui.ui.groups import Maker, Panels
from webui.ui.languages import word

log = logging.getLogger(__name__)


def panels_of(desk: ExtensionDesk) -> Panels:
    """One for each enabled extension with options or a panel of its own, by name."""
    types = desk.option_types()
    return [
        _Accordion(desk, folder)
        for name, folder in desk.shelf.enabled().items()
        if name in types or _defined(desk, folder, "panel") is not None
    ]


def build_tabs(desk: ExtensionDesk) -> None:
    """The tabs that extensions bring along."""
    for folder in desk.shelf.enabled().values():
        tab = _defined(desk, folder, "tab")
        if tab is not None:
            with gr.Tab(folder.manifest.title, elem_id=f"tab_{folder.name}"):
                _guarded(desk, folder, functools.partial(tab, desk.context(folder)))


class _Accordion:
    """Options and panel of one extension, for any form."""

    def __init__(self, desk: ExtensionDesk, folder: Folder) -> None:
        self._desk = desk
        self._folder = folder

    def __call__(self, maker: Maker) -> None:
        folder = self._folder
        declared = self._desk.option_types().get(folder.name)
        with gr.Accordion(folder.manifest.title, open=False, elem_id=f"{maker.tab}_group_{folder.name}"):
            options = {} if declared is None else parameters(declared)
            controls = {name: maker.add_option(folder.name, option) for name, option in options.items()}
            panel = _defined(self._desk, folder, "panel")
            if panel is not None:
                told = Panel(
                    kind=maker.tab,
                    controls=controls,
                    prompt_id=element_id(maker.tab, "prompt"),
                    context=self._desk.context(folder),
                )
                _guarded(self._desk, folder, functools.partial(panel, told))


def _defined(desk: ExtensionDesk, folder: Folder, function: str) -> Callable[[Any], object] | None:
    """A function of the extension's ui.py; None when there is none."""
    module: ModuleType | None = desk.imported(folder, "ui") if folder.has("ui") else None
    return getattr(module, function, None)


def _guarded(desk: ExtensionDesk, folder: Folder, build: Callable[[], object]) -> None:
    try:
        build()
    except (Exception, SystemExit) as error:
        log.warning("the page of extension %s cannot be built", folder.name, exc_info=True)
        told = ExtensionError(
            "{title} cannot be started: its {file} ended with {error}.",
            title=folder.manifest.title, file="ui.py", error=described(error),
        )  # fmt: skip
        desk.failed(folder.name, told.sentence)
        gr.HTML(word("extensions.broken"))
