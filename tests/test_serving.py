"""A real start: it opens the page in the person's own browser, here a script that notes the address it is given."""

import os
import re
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.farm import wait_until
from webui.server import _ready
from webui.settings import ROOT, Settings

pytestmark = pytest.mark.skipif(os.name == "nt", reason="BROWSER names a shell script")

SERVE = """
import sys
from webui.cli import main
try:
    main(sys.argv[1:])
finally:
    import webui.cli, webui.doctor, webui.generate, webui.train, webui.bench
    heavy = ("torch", "diffusers", "transformers", "pandas.core", "gradio.cli.cli")
    print("imported:", [name for name in heavy if name in sys.modules], flush=True)
"""


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the browser notes what it opens."""
    script, notes = tmp_path / "browser", tmp_path / "opened.txt"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {notes}\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(script))
    monkeypatch.setattr(webbrowser, "_tryorder", None)  # it is made from BROWSER once per process
    return notes


def noted(opened: Path) -> bool:
    return opened.exists() and opened.read_text().endswith("\n")


def test_a_real_start_opens_the_page_that_it_serves_and_imports_nothing_heavy(opened: Path, tmp_path: Path) -> None:
    flags = [part for name in ("data", "models", "outputs") for part in (f"--{name}-dir", str(tmp_path / name))]
    command = [sys.executable, "-c", SERVE, "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
            assert address is not None
            wait_until(lambda: noted(opened), "the browser to be opened", seconds=20)
            assert opened.read_text() == f"{address[0]}\n"
            with urllib.request.urlopen(address[0], timeout=20) as answer:
                assert b"easel/early.js" in answer.read()
        finally:
            server.terminate()
        assert server.stdout.read().splitlines()[-1] == "imported: []"
    assert opened.read_text() == f"{address[0]}\n", "once"


@pytest.mark.parametrize(
    "settings, told",
    [
        (Settings(open_browser=False), ["Easel is at", "Operator token"]),
        # A link works once: it is for whoever is sent it, and the console has it.
        (Settings(listen=True, host="0.0.0.0"), ["Easel is at", "Operator token", "Programs use the header"]),
    ],
    ids=["--no-browser", "--listen"],
)
def test_no_browser_is_opened_where_none_is_wanted(opened: Path, settings: Settings, told: list[str]) -> None:
    lines: list[str] = []
    _ready(SimpleNamespace(settings=settings, let_engines_start=lambda: None), lines.append)  # type: ignore[arg-type]
    assert [line.startswith(start) for line, start in zip(lines, told, strict=True)] == [True] * len(told)
    time.sleep(0.3)
    assert not opened.exists()


def test_a_browser_is_opened_without_waiting_for_it(opened: Path) -> None:
    app = SimpleNamespace(settings=Settings(port=1234), let_engines_start=lambda: None)
    _ready(app, lambda line: None)  # type: ignore[arg-type]
    wait_until(lambda: noted(opened), "the browser to be opened")
    assert opened.read_text() == "http://127.0.0.1:1234\n"
