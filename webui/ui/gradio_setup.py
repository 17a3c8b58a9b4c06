"""How gradio is imported: offline, without analytics, without writing source files, and without what a page never
uses. Nothing about the page.

`prepare` must run before the first `import gradio` of the process.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from pathlib import Path
from types import ModuleType
from typing import Any

COMMAND_LINE = "gradio.cli"
"""Gradio's own command line, typer and rich with it."""
UNUSED = ("pandas",)
"""Executed when somebody asks for something of it, which no component of ours does."""


def prepare(data_dir: Path) -> None:
    """Set gradio's switches and put its temporary files under `data_dir`. Harmless when called again."""
    temporary = data_dir / "gradio"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(temporary)
    os.environ["HF_HUB_OFFLINE"] = "1"
    if "gradio" not in sys.modules and not any(isinstance(finder, _Lighter) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Lighter())


def _writes_no_stubs(module: Any) -> None:
    """A .pyi beside every component is half of gradio's import time, and source that changes by itself."""
    if hasattr(module, "create_or_modify_pyi"):
        module.create_or_modify_pyi = lambda *_, **__: None


def _renders_no_docs(module: Any) -> None:
    """Two hundred docstrings of event listeners, each a template of its own."""
    if hasattr(module, "EventListener"):
        module.EventListener.set_doc = lambda *_, **__: None


CHANGES: Mapping[str, Callable[[Any], None]] = {
    "gradio.component_meta": _writes_no_stubs,
    "gradio.events": _renders_no_docs,
}
"""Module -> what is done to it once it is there. None of it is public: a gradio without it is imported as it is."""


class _Lighter(MetaPathFinder):
    """Takes a third off gradio's import."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == COMMAND_LINE:
            return ModuleSpec(fullname, _NoCommandLine())
        if fullname not in CHANGES and fullname not in UNUSED:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or spec.loader is None:
            return None
        if fullname in UNUSED:
            spec.loader = LazyLoader(spec.loader)
            return spec
        execute = spec.loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            CHANGES[fullname](module)

        spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


class _NoCommandLine(Loader):
    """Makes a module with the one name that gradio takes from it."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        module.deploy = None
