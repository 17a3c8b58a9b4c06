"""Small real extensions: those of docs/extensions.md, and others written by the tests themselves."""

import re
from pathlib import Path

from webui.extensions.desk import ExtensionDesk
from webui.extensions.shelf import Shelf
from webui.extensions.state import StateFile
from webui.settings import ROOT

DOCS = (ROOT / "docs" / "extensions.md").read_text("utf-8")
TEMPLATE = ROOT / "extensions" / "_template"
FILES = dict(re.findall(r"^`film_grain/([\w.]+)`\n\n```\w+\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL))
"""File of the documented extension -> what is in it."""
HOOK_EXAMPLES = dict(re.findall(r"^#### `(\w+)`\n.*?^```python\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL))
"""Hook -> the engine.py that the documentation shows for it."""
AREA_EXAMPLE = re.findall(r"^`conditioning.read\(.*?^```python\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)[0]
UI_EXAMPLE = re.findall(r"^```python\n(.*?)^```", DOCS.partition("### On the page")[2], re.MULTILINE | re.DOTALL)[0]


def write(folder: Path, **files: str) -> Path:
    """The documented extension under the folder's own name; `engine="…"` is another engine.py, and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**FILES, **{f"{name}.py": content for name, content in files.items()}}.items():
        (folder / name).write_text(content, "utf-8")
    manifest = folder / "extension.toml"
    manifest.write_text(manifest.read_text("utf-8").replace('"film_grain"', f'"{folder.name}"', 1), "utf-8")
    return folder


def replace_in(file: Path, before: str, after: str) -> None:
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), "utf-8")


def shelf(home: Path, *, safe_mode: bool = False) -> Shelf:
    return Shelf(home / "extensions", StateFile(home / "data" / "extensions.json"), safe_mode=safe_mode)


def desk(home: Path, *, safe_mode: bool = False) -> ExtensionDesk:
    return ExtensionDesk(shelf(home, safe_mode=safe_mode), home / "models", home / "data" / "extensions")


def trust(home: Path, name: str) -> None:
    """Enable it without trying to import it, which the tests of that do."""
    here = shelf(home)
    folder = here.find(name).folder
    assert folder is not None
    here.state.change(name, enabled=True, files=dict(folder.files), reason=None)
