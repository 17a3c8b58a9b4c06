"""Extensions that ship keep to the contract: what they import from Easel, and where torch and gradio may stand."""

import ast
from pathlib import Path

import pytest

from tests.test_architecture import tree_of
from webui.settings import ROOT

FILES = sorted(path for path in (ROOT / "extensions").rglob("*.py") if "__pycache__" not in path.parts)


def imported_absolute(path: Path) -> list[str]:
    """Dotted names of everything that is imported by its whole name."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_an_extension_imports_the_contract_and_nothing_else_of_easel(path: Path) -> None:
    packages = {name.partition(".")[0] for name in imported_absolute(path)}
    assert {name for name in imported_absolute(path) if name.partition(".")[0] == "webui"} <= {"webui.extension"}
    assert "gradio" not in packages or path.name == "ui.py"
    has_torch = {"torch", "diffusers", "transformers"} & packages
    assert not has_torch or path.name not in ("ui.py", "options.py", "script.py")
