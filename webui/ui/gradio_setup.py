"""How gradio is imported: offline, without analytics, without writing source files. Nothing about the page.

`prepare` must run before the first `import gradio` of the process.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

TARGET = "gradio.component_meta"
WRITER = "create_or_modify_pyi"


def prepare(data_dir: Path) -> None:
    """Set gradio's switches and put its temporary files under `data_dir`. Harmless when called again."""
    temporary = data_dir / "gradio"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(temporary)
    os.environ["HF_HUB_OFFLINE"] = "1"
    if "gradio" not in sys.modules and not any(isinstance(finder, _NoStubs) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NoStubs())


class _NoStubs(MetaPathFinder):
    """Replaces the function that writes a .pyi beside every component, half of gradio's import time.

    The function is not public: when a version of gradio has none, the import goes on as it is.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != TARGET:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_silence(module: ModuleType) -> None:
            execute(module)
            if hasattr(module, WRITER):
                setattr(module, WRITER, lambda *_, **__: None)

        spec.loader.exec_module = execute_and_silence  # type: ignore[method-assign]
        return spec
