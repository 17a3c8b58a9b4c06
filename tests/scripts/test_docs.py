"""The script of docs/extensions.md, taken from there and run; and that docs/scripts.md tells of every script."""

import re
from dataclasses import replace
from pathlib import Path

from tests.extensions.builder import DOCS, trust, write
from tests.scripted_engine import ScriptedEngineFactory
from tests.scripts.conftest import SMALL, wait_for
from webui.app import create_app
from webui.extension import ScriptHooks
from webui.extensions.manifest import read_folder
from webui.extensions.shelf import SHIPPED
from webui.scripts.runs import Asked
from webui.settings import ROOT, Settings

SCRIPTS = (ROOT / "docs" / "scripts.md").read_text("utf-8")
SECTION = DOCS.partition("### Scripts")[2].partition("### Other languages")[0]


def test_the_documented_script_runs(settings: Settings, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    folder = write(tmp_path / "extensions" / "countdown", script=example)
    for name in ("engine.py", "options.py"):
        (folder / name).unlink()
    trust(tmp_path, "countdown")
    settings = replace(settings, extensions_dir=tmp_path / "extensions")
    app = create_app(settings, engine_factory=ScriptedEngineFactory())
    try:
        app.start()
        asked = Asked(script="countdown", kind="txt2img", values=SMALL, options={"first": 2})
        run = wait_for(app, app.runs.submit(asked).id)
        assert [cell["label"] for cell in run["cells"]] == ["2", "1"]
        assert [picture["width"] for picture in run["pictures"]] == [128]
        assert app.extensions.card("countdown")["halves"] == ["script"]
    finally:
        app.close()


def test_everything_that_a_script_can_define_is_documented() -> None:
    public = {name for name in vars(ScriptHooks) if not name.startswith("_")}
    assert {name for name in public if f"`{name}" not in SECTION} == set()
    assert all(getattr(ScriptHooks, name).__doc__ for name in public if callable(getattr(ScriptHooks, name)))


def test_every_script_that_ships_has_a_section_of_its_own() -> None:
    titles = [read_folder(path.parent).manifest.title for path in (ROOT / "extensions").glob("*/script.py")]
    assert {title for title in titles if f"\n## {title}\n" not in SCRIPTS} == set()
    assert {path.parent.name for path in (ROOT / "extensions").glob("*/script.py")} <= SHIPPED
