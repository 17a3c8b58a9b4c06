"""Options: changed atomically, never fatal when broken."""

import os
import signal
import subprocess
import sys
import time

import pytest

from webui.errors import CannotSaveSettings, InvalidRequest, UserError
from webui.options import GROUPS, Options, OptionsFile
from webui.params import parameters


def test_a_change_is_there_after_a_restart(tmp_path):
    path = tmp_path / "options.json"
    OptionsFile(path).change(default_checkpoint="one")
    assert OptionsFile(path).current == Options(default_checkpoint="one")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"unknown": 1}', b'{"default_checkpoint": 3}', b"\xff\xfe", b"[" * 99_999]
)
def test_a_broken_file_is_set_aside_and_the_defaults_are_used(tmp_path, content):
    path = tmp_path / "options.json"
    path.write_bytes(content)
    options = OptionsFile(path)
    assert options.current == Options()
    assert "kept as options.broken-" in str(options.warning)
    assert [file.read_bytes() for file in tmp_path.glob("options.broken-*.json")] == [content]


def test_a_wrong_value_is_refused_and_the_file_stays(tmp_path):
    path = tmp_path / "options.json"
    options = OptionsFile(path)
    options.change(default_checkpoint="one")
    with pytest.raises(InvalidRequest, match="default_checkpoint"):
        options.change(default_checkpoint=3)
    assert OptionsFile(path).current.default_checkpoint == "one"


def test_kill_9_while_saving_leaves_the_old_or_the_new_file(tmp_path):
    path = tmp_path / "options.json"
    script = (
        "import itertools, sys; from pathlib import Path; from webui.options import OptionsFile\n"
        "options = OptionsFile(Path(sys.argv[1]))\n"
        "for n in itertools.count(): options.change(default_checkpoint=str(n).ljust(300))"
    )
    for wait in (0.5, 0.53, 0.57):
        process = subprocess.Popen([sys.executable, "-c", script, str(path)])
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert OptionsFile(path).warning is None


def test_one_wrong_option_does_not_take_the_others_along(tmp_path):
    path = tmp_path / "options.json"
    path.write_text('{"picture_quality": 70, "theme": "pink", "hidden_tabs": ["train"], "old": 1}')
    options = OptionsFile(path)
    assert options.current == Options(picture_quality=70, hidden_tabs=("train",))
    assert options.warning is not None


@pytest.mark.parametrize(
    "values",
    [
        {"picture_quality": 0}, {"picture_quality": True}, {"picture_format": "BMP"}, {"file_pattern": "[nothing]"},
        {"hidden_tabs": ["settings"]}, {"hidden_tabs": "train"}, {"weight_step": float("nan")}, {"unknown": 1},
        {"folder_pattern": "x" * 301}, {"language": "xx"},
    ],
)  # fmt: skip
def test_what_is_no_value_of_an_option_changes_nothing(tmp_path, values):
    options = OptionsFile(tmp_path / "options.json")
    with pytest.raises(UserError):
        options.change(**{"theme": "dark", **values})
    assert options.current == Options()


def test_whoever_follows_hears_of_each_change_and_of_no_refusal(tmp_path):
    options, heard = OptionsFile(tmp_path / "options.json"), []
    options.follow(heard.append)
    options.change(theme="dark")
    with pytest.raises(InvalidRequest):
        options.change(theme=3)
    assert heard == [Options(theme="dark")]


def test_a_folder_that_takes_nothing_is_told_and_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    options = OptionsFile(tmp_path / "file" / "options.json")
    with pytest.raises(CannotSaveSettings):
        options.change(theme="dark")
    assert options.current == Options()


def test_every_option_is_in_one_group_and_explains_itself():
    declared = parameters(Options)
    assert sorted(declared) == sorted(name for names in GROUPS.values() for name in names)
    for name, option in declared.items():
        assert option.param.label, name
        assert option.param.help.rstrip("…").endswith((".", "-")), name
