"""Options: changed atomically, never fatal when broken."""

import os
import signal
import subprocess
import sys
import time

import pytest

from webui.options import Options, OptionsFile


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
    assert "kept as options.broken-" in (options.warning or "")
    assert [file.read_bytes() for file in tmp_path.glob("options.broken-*.json")] == [content]


def test_a_wrong_value_is_refused_and_the_file_stays(tmp_path):
    path = tmp_path / "options.json"
    options = OptionsFile(path)
    options.change(default_checkpoint="one")
    with pytest.raises(ValueError, match="default_checkpoint"):
        options.change(default_checkpoint=3)
    assert OptionsFile(path).current.default_checkpoint == "one"


def test_kill_9_while_saving_leaves_the_old_or_the_new_file(tmp_path):
    path = tmp_path / "options.json"
    script = (
        "import itertools, sys; from pathlib import Path; from webui.options import OptionsFile\n"
        "options = OptionsFile(Path(sys.argv[1]))\n"
        "for n in itertools.count(): options.change(default_checkpoint=str(n) * 2000)"
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
