"""launch.py: what a new machine and a killed installation lead to. Nothing is downloaded here."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import launch
from webui.settings import ROOT

PYTHON_OF = Path("Scripts/python.exe" if os.name == "nt" else "bin/python")


# Which Python.


@pytest.mark.parametrize("version", [(3, 8), (3, 10), (3, 14), (4, 0)])
@pytest.mark.parametrize("found, remedy", [("python3.12", "run 'python3.12 launch.py'"), ("", "Install one")])
def test_a_wrong_python_is_told_in_one_paragraph(
    version: tuple[int, int], found: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "runs", lambda command: command[0] == found)
    complaint = launch.wrong_python(version)
    assert complaint is not None
    assert "3.11 to 3.13" in complaint
    assert f"this is Python {version[0]}.{version[1]}" in complaint
    assert remedy in complaint
    assert "\n" not in complaint


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_a_fitting_python_is_told_nothing(version: tuple[int, int]) -> None:
    assert launch.wrong_python(version) is None


def test_a_wrong_python_ends_with_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(launch, "runs", lambda command: False)
    assert launch.main(["doctor"]) == 2
    assert capsys.readouterr().err.startswith("Easel needs Python 3.11 to 3.13")


def test_launch_imports_the_standard_library_only() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import launch; print(launch.OLDEST)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "(3, 11)"


def test_bytecode_that_may_not_lie_beside_the_sources_lies_in_the_venv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dont_write_bytecode", "pycache_prefix"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(os, "environ", {"PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]})
    launch.keep_bytecode(tmp_path / ".venv")
    (tmp_path / "module.py").write_text("")
    subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path, env=os.environ, check=True)
    assert list((tmp_path / ".venv").rglob("module.*.pyc"))
    assert not (tmp_path / "__pycache__").exists()


def test_bytecode_lies_where_the_environment_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in ({}, {"PYTHONPYCACHEPREFIX": "elsewhere"}):
        monkeypatch.setattr(os, "environ", dict(environment))
        launch.keep_bytecode(tmp_path)
        assert os.environ == environment


# What is installed.


def test_xformers_is_for_nvidia_cards_only() -> None:
    requirements = launch.REQUIREMENTS["run"]
    without = launch.pinned(requirements, nvidia=False)
    assert not [line for line in without if line.startswith(("xformers", "triton", "nvidia"))]
    with_card = launch.pinned(requirements, nvidia=True)
    assert [line.split("==")[0] for line in with_card if line not in without] == ["xformers"]


@pytest.mark.parametrize("name", ["run", "test"])
def test_every_requirement_is_pinned(name: str) -> None:
    lines = launch.pinned(launch.REQUIREMENTS[name], nvidia=True)
    assert lines
    assert [line for line in lines if "==" not in line] == []


@pytest.fixture
def installations(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was asked to install, by calls of the real code with the network left out."""
    calls: list[list[str]] = []
    monkeypatch.setattr(launch, "pip", lambda venv, arguments: calls.append(list(arguments)))
    monkeypatch.setattr(launch, "has_nvidia_card", lambda: False)
    return calls


@pytest.fixture(scope="module")
def made_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real virtual environment with pip, made by launch.py over a killed installation; no test harms it."""
    venv = tmp_path_factory.mktemp("machine") / ".venv"
    venv.mkdir()
    launch.marker_of(venv).touch()
    (venv / "half-copied").touch()
    launch.stamp_of(venv, "run").write_text(launch.digest(launch.REQUIREMENTS["run"], False))
    assert launch.unfinished(venv, ["run"], False) == ["run"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(launch, "pip", lambda venv, arguments: None)
        patched.setattr(launch, "has_nvidia_card", lambda: False)
        launch.prepare(venv, ["run"])
    assert launch.unfinished(venv, ["run"], False) == []
    return venv


def forget(venv: Path) -> None:
    for name in launch.REQUIREMENTS:
        launch.stamp_of(venv, name).unlink(missing_ok=True)


def test_a_second_start_asks_pip_for_nothing(made_venv: Path, installations: list[list[str]]) -> None:
    forget(made_venv)
    launch.prepare(made_venv, ["run"])
    assert installations[0] == [line for line in launch.pinned(launch.REQUIREMENTS["run"], False) if "torch=" in line]
    first = len(installations)
    launch.prepare(made_venv, ["run"])
    assert len(installations) == first


def test_the_tests_requirements_come_on_top_when_they_are_needed(
    made_venv: Path, installations: list[list[str]]
) -> None:
    forget(made_venv)
    launch.prepare(made_venv, ["run"])
    installations.clear()
    launch.prepare(made_venv, ["run", "test"])
    assert len(installations) == 1
    assert any(line.startswith("pytest==") for line in installations[0])


def test_changed_requirements_are_installed_again(
    made_venv: Path, installations: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(made_venv)
    launch.prepare(made_venv, ["run"])
    installations.clear()
    changed = tmp_path / "requirements.txt"
    changed.write_text(launch.REQUIREMENTS["run"].read_text() + "\nsix==1.16.0\n")
    monkeypatch.setitem(launch.REQUIREMENTS, "run", changed)
    monkeypatch.setattr(launch, "ROOT", tmp_path)
    launch.prepare(made_venv, ["run"])
    assert "six==1.16.0" in installations[-1]


def test_a_comment_in_the_requirements_changes_nothing(tmp_path: Path) -> None:
    plain, commented = tmp_path / "a", tmp_path / "b"
    plain.write_text("six==1.16.0\n")
    commented.write_text("# why\nsix==1.16.0  # because\n\n")
    assert launch.digest(plain, False) == launch.digest(commented, False)
    assert launch.digest(plain, False) != launch.digest(plain, True)


def test_a_killed_installation_is_recognised_and_begun_anew(made_venv: Path) -> None:
    assert not (made_venv / "half-copied").exists()
    assert not launch.marker_of(made_venv).exists()
    assert launch.runs([str(made_venv / PYTHON_OF), "-c", launch.IS_FITTING])


def test_a_failed_installation_is_not_taken_for_a_finished_one(
    made_venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(venv: Path, arguments: list[str]) -> None:
        raise launch.InstallError("no network")

    forget(made_venv)
    monkeypatch.setattr(launch, "pip", no_network)
    monkeypatch.setattr(launch, "make_venv", lambda venv: None)
    with pytest.raises(launch.InstallError):
        launch.prepare(made_venv, ["run"])
    assert launch.unfinished(made_venv, ["run"], False) == ["run"]
    launch.marker_of(made_venv).unlink()


def test_a_venv_whose_python_is_gone_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = tmp_path / ".venv"
    python = venv / PYTHON_OF
    python.parent.mkdir(parents=True)
    python.symlink_to(venv / "removed-python")
    launch.stamp_of(venv, "run").write_text(launch.digest(launch.REQUIREMENTS["run"], False))
    assert launch.unfinished(venv, ["run"], False) == ["run"]
    without_pip(monkeypatch)
    launch.make_venv(venv)
    assert launch.runs([str(python), "-c", ""])
    assert not launch.stamp_of(venv, "run").exists(), "what was installed went with it"


def without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting pip into a new environment takes five seconds, and `made_venv` has shown that launch.py does it."""
    run = subprocess.run

    def quicker(command: list[str], **options: Any) -> "subprocess.CompletedProcess[bytes]":
        return run([*command, "--without-pip"] if "venv" in command else command, **options)

    monkeypatch.setattr(launch.subprocess, "run", quicker)


def test_a_failing_pip_ends_with_its_last_words_and_the_remedy(made_venv: Path) -> None:
    with pytest.raises(launch.InstallError) as caught:
        launch.pip(made_venv, ["--no-index", "there-is-no-such-package==1"])
    assert "there-is-no-such-package" in str(caught.value)
    assert "run launch.py again" in str(caught.value)


def test_a_second_launch_waits_for_the_one_that_installs(tmp_path: Path) -> None:
    lock, order = tmp_path / "lock", []
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import launch; from pathlib import Path\n"
        "with launch.only_one_installer(Path(sys.argv[2])): print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(ROOT), str(lock)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"

        def end_other() -> None:
            time.sleep(0.7)
            order.append("other killed")
            other.kill()

        threading.Thread(target=end_other).start()
        with launch.only_one_installer(lock):
            order.append("mine")
    assert order == ["other killed", "mine"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, installations: list[list[str]]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(launch.InstallError, match="cannot be written"):
        launch.prepare(tmp_path / "file" / ".venv", ["run"])
