"""Scripts that ship speak Korean, too: their names, their options and what they have to say against a request."""

import ast
import json
import re
from pathlib import Path

import pytest

from webui.extension import parameters
from webui.extensions.manifest import read_folder
from webui.extensions.probe import script_of
from webui.sentences import PLACEHOLDER
from webui.settings import ROOT

SCRIPTS = sorted(path.parent for path in (ROOT / "extensions").glob("*/script.py"))
SAYING = {"InvalidRequest", "Sentence"}


def sentences(folder: Path) -> set[str]:
    """Templates in the sources of an extension."""
    calls = (node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    made = [call for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)]
    first = {call.args[0] for call in made if call.func.id in SAYING and call.args}  # type: ignore[attr-defined]
    return {str(text.value) for text in first if isinstance(text, ast.Constant)}


@pytest.mark.parametrize("folder", SCRIPTS, ids=lambda folder: folder.name)
def test_everything_that_a_script_shows_has_a_korean_text(folder: Path) -> None:
    found = read_folder(folder)
    declared = [option.param for option in parameters(script_of(found)[1]).values()]
    shown = {found.manifest.title, found.manifest.description, *sentences(folder)}
    shown |= {text for param in declared for text in (param.label, param.help, *param.values)}
    korean = json.loads((folder / "languages" / "ko.json").read_text("utf-8"))
    assert sorted(shown - korean.keys()) == []
    for english, text in korean.items():
        assert sorted(PLACEHOLDER.findall(english)) == sorted(PLACEHOLDER.findall(text)), english
        assert re.search("[가-힣]", text), english
