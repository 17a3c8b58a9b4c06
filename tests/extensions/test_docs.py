"""docs/extensions.md, followed to the letter: what it says to write, type and send makes an extension that works."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.extensions.builder import DOCS, FILES, desk, shelf
from webui import cli
from webui.extension import EngineHooks

pytestmark = pytest.mark.torch


def test_the_documentation_leads_to_an_extension_that_draws(
    tiny_models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.engine.helpers import new_engine, pictures, request, run
    from webui.engine.engine import create_engine
    from webui.events import Done

    monkeypatch.chdir(tmp_path)
    (tmp_path / "film_grain").mkdir()
    for name, content in FILES.items():
        (tmp_path / "film_grain" / name).write_text(content, "utf-8")
    typed = re.findall(r"^```sh\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)[0].splitlines()
    here = ["--data-dir", str(tmp_path / "data"), "--extensions-dir", str(tmp_path / "extensions")]
    for line in typed:
        assert cli.main([*shlex.split(line)[2:], *here]) == 0, capsys.readouterr()
    assert "film_grain is enabled." in capsys.readouterr().out

    sent = json.loads(re.findall(r"^```json\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)[0])
    options = desk(tmp_path).checked(sent["values"]["extensions"])
    wanted = request(checkpoint="tiny", prompt=sent["values"]["prompt"], extensions=options)
    with_grain = run(create_engine(tiny_models_dir, "cpu", 0, shelf(tmp_path)), wanted)
    without = run(new_engine(tiny_models_dir), request(checkpoint="tiny", prompt=sent["values"]["prompt"]))
    assert isinstance(with_grain[-1], Done)
    assert "film_grain.after_decode" in with_grain[-1].timings
    assert pictures(with_grain)[0] != pictures(without)[0]


def test_every_public_name_of_the_contract_can_be_imported_and_explains_itself() -> None:
    import webui.extension

    for name in webui.extension.__all__:
        assert hasattr(webui.extension, name), name
    for hook in webui.extension.HOOKS:
        assert getattr(EngineHooks, hook).__doc__, hook
