"""From a folder, archive or address to an enabled extension: what is refused, noticed, updated and removed."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.extensions.builder import DOCS, FILES, TEMPLATE, desk, replace_in, shelf, trust, write
from webui.errors import Conflict, ExtensionError, InvalidRequest, UnknownName, UserError
from webui.extension import Sentence
from webui.extensions import probe, requirements, sources
from webui.extensions.command import run
from webui.extensions.desk import ExtensionDesk
from webui.extensions.manifest import read_folder
from webui.extensions.shelf import SHIPPED
from webui.settings import ROOT, Settings

NO_ENGINE = {"engine": ""}
"""Without torch a probe takes a second."""


def light(folder: Path, **files: str) -> Path:
    """The documented extension without its engine half."""
    write(folder, **files)
    if "engine" not in files:
        (folder / "engine.py").unlink()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "extensions").mkdir()
    return tmp_path


def nothing_is_left(home: Path) -> bool:
    return [path.name for path in (home / "extensions").iterdir()] == []


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
    return target


def committed(folder: Path) -> str:
    """A local git repository of the folder as it is; its address."""
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@x"]
    if not (folder / ".git").exists():
        subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "x"], check=True)
    return folder.as_uri()


def test_the_template_is_what_the_documentation_shows():
    assert {path.name: path.read_text("utf-8") for path in TEMPLATE.iterdir() if path.is_file()} == FILES
    lines = sum(text.count("\n") for text in FILES.values())
    assert lines < 50, "a template is one screen"


def test_what_a_folder_that_is_not_hidden_ships_is_known_to_the_shelf():
    folders = {path.name for path in (ROOT / "extensions").iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert folders <= SHIPPED


@pytest.mark.parametrize("way", ["folder", "zip", "git"])
def test_an_extension_is_installed_disabled_and_reviewed_without_running(way: str, home: Path):
    canary = home / "canary"
    folder = write(home / "film_grain", ui=f"open({str(canary)!r}, 'w')")
    source = {"folder": lambda: folder, "zip": lambda: zipped(folder, home / "a.zip"), "git": lambda: committed(folder)}
    review = desk(home).install(source[way]())
    assert (review["name"], review["enabled"], review["problem"]) == ("film_grain", False, None)
    assert review["hooks"] == ["after_decode"]
    assert review["files"] == ["engine.py", "extension.toml", "options.py", "ui.py"]
    assert len(review["digest"]) == 64
    assert not canary.exists()
    assert shelf(home).enabled() == {}


def test_enabling_pins_the_files_and_a_changed_one_disables_it_by_name(home: Path):
    here = desk(home)
    here.install(light(home / "film_grain"))
    assert here.enable("film_grain")["enabled"] is True
    assert desk(home).option_types().keys() == {"film_grain"}
    replace_in(home / "extensions/film_grain/options.py", "0: none", "0: nothing")
    card = here.card("film_grain")
    assert card["enabled"] is False
    assert "options.py" in card["problem"]["text"]
    assert here.review("film_grain")["changes"] == ["options.py"]
    assert here.enable("film_grain")["enabled"] is True


def test_what_ships_with_easel_is_enabled_until_a_person_disables_it(home: Path):
    light(home / "extensions" / "lora")
    here = desk(home)
    assert here.card("lora")["enabled"] is True
    assert here.disable("lora")["enabled"] is False
    for refused in (here.remove, here.update):
        with pytest.raises(Conflict, match="comes with Easel"):
            refused("lora")
    assert here.enable("lora")["enabled"] is True


def test_in_safe_mode_nothing_is_enabled(home: Path):
    light(home / "extensions" / "lora")
    assert desk(home, safe_mode=True).shelf.enabled() == {}


FAULTS = {
    "raises": ("raise KeyError('grain')", "options.py ended with KeyError: 'grain'"),
    "is no Python": ("def (", "options.py ended with SyntaxError"),
    "exits": ("import sys; sys.exit(7)", r"options.py ended with sys.exit\(7\)"),
    "lacks a package": ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    "has no options": ("x = 1", "without a class Options"),
    "has a wrong option": (
        "from webui.extension import options\n@options\nclass Options:\n    x: int = 0",
        "has no Param",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_extension_that_cannot_be_imported_says_why(fault: str, home: Path):
    body, told = FAULTS[fault]
    with pytest.raises(ExtensionError, match=told):
        probe.check(read_folder(light(home / "broken", options=body)))


def test_an_extension_that_ends_the_process_that_tries_it_stays_disabled(home: Path):
    here = desk(home)
    here.install(light(home / "broken", options="import os; os._exit(0)"))
    with pytest.raises(ExtensionError, match="ended the process that imported it"):
        here.enable("broken")
    assert here.card("broken")["enabled"] is False


def test_an_enabled_extension_that_cannot_be_imported_any_more_is_disabled_and_the_rest_goes_on(home: Path):
    light(home / "extensions" / "broken", options="import no_such_package")
    light(home / "extensions" / "film_grain")
    for name in ("broken", "film_grain"):
        trust(home, name)
    here = desk(home)
    assert here.option_types().keys() == {"film_grain"}
    assert "no_such_package" in here.card("broken")["problem"]["text"]


def test_an_extension_that_hangs_at_import_is_given_up_with_all_that_it_started(home: Path):
    marker = home / "child"
    hang = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(6); open({str(marker)!r}, 'w')"])
print("x" * 10**6)
time.sleep(1000)
"""
    folder = read_folder(light(home / "slow", options=hang))
    with pytest.raises(ExtensionError, match="was still not imported after 1 s"):
        probe.probe(folder, seconds=1.0)
    assert not marker.exists()


def test_an_extension_that_ended_easel_while_it_was_imported_is_disabled_at_the_next_start(home: Path):
    light(home / "extensions" / "film_grain")
    trust(home, "film_grain")
    (home / "data" / "extensions").mkdir()
    (home / "data" / "extensions" / "importing").write_text("film_grain", "utf-8")
    here = desk(home)
    here.sweep()
    assert here.card("film_grain")["enabled"] is False
    assert here.card("film_grain")["problem"]["text"] == "Easel ended while it was imported."
    assert here.enable("film_grain")["enabled"] is True


def test_the_third_failure_of_a_session_disables_it_with_the_reason(home: Path):
    light(home / "extensions" / "film_grain")
    trust(home, "film_grain")
    here = desk(home)
    for count in range(3):
        assert here.card("film_grain")["enabled"] is True, count
        here.failed("film_grain", Sentence("No film left."))
    card = here.card("film_grain")
    assert card["enabled"] is False
    assert card["problem"]["text"] == "It failed 3 times since Easel was started. No film left."


def test_times_are_told_per_picture_and_hook(home: Path):
    light(home / "extensions" / "film_grain")
    here = desk(home)
    here.measure({"sampling": 3.0, "film_grain.after_decode": 0.5, "total": 4.0}, pictures=4)
    here.measure({"film_grain.after_decode": 0.1}, pictures=1)
    assert here.card("film_grain")["ms_per_picture"] == {"after_decode": 120.0}


# What is refused.


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('name = "hostile"', 'name = "../hostile"'),
        ('name = "hostile"', 'name = "Hostile"'),
        ("api = 1", "api = 99"),
        ("api = 1", "api = true"),
        ("api = 1", ""),
        ("api = 1", "api = 1\nmore = 2"),
        ("tags = []", 'tags = ["a:b"]'),
        ("requirements = []", 'requirements = ["x @ file:///tmp/x.whl"]'),
        ("requirements = []", 'requirements = ["--index-url=http://x"]'),
        ('title = "Film grain"', f'title = "{"x" * 61}"'),
        ("asks = []", f"asks = {'[' * 9000}"),
        ("asks = []", f"asks = ['{'x' * 70_000}']"),
        ("api = 1", "api = 1\n[[["),
    ],
)
def test_a_hostile_manifest_is_refused_and_nothing_is_left(before: str, after: str, home: Path):
    folder = light(home / "hostile")
    replace_in(folder / "extension.toml", before, after)
    with pytest.raises(ExtensionError):
        desk(home).install(folder)
    assert nothing_is_left(home)


def hostile_zip(home: Path, name: str, content: bytes = b"x", *, mode: int = 0o644) -> Path:
    path = zipped(light(home / "hostile"), home / "hostile.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = mode << 16
        archive.writestr(entry, content)
    return path


@pytest.mark.parametrize(
    "name", ["../evil.py", "/evil.py", "hostile/../../evil.py", "C:evil.py", "hostile\\..\\evil.py"]
)
def test_an_archive_that_reaches_outside_is_refused_and_nothing_is_left(name: str, home: Path):
    with pytest.raises(InvalidRequest):
        desk(home).install(hostile_zip(home, name))
    assert nothing_is_left(home)
    assert not (home / "evil.py").exists()


def test_links_and_bombs_in_an_archive_are_refused_and_nothing_is_left(home: Path):
    for path in (hostile_zip(home, "hostile/link", b"/etc/passwd", mode=0o120777),
                 hostile_zip(home, "hostile/bomb", bytes(40 * 2**20))):  # fmt: skip
        with pytest.raises(InvalidRequest):
            desk(home).install(path)
        assert nothing_is_left(home)


def test_a_link_in_a_folder_or_repository_is_refused_and_nothing_is_left(home: Path):
    folder = light(home / "hostile")
    (folder / "secret").symlink_to("/etc/passwd")
    for source in (folder, committed(folder)):
        with pytest.raises(ExtensionError, match="'secret' is a link"):
            desk(home).install(source)
        assert nothing_is_left(home)


@pytest.mark.parametrize("address", ["ext::sh -c id", "--upload-pack=id", "git@host:x", "file:///nowhere/at/all"])
def test_an_address_that_is_none_is_refused_in_words(address: str, home: Path):
    with pytest.raises(ExtensionError, match=r"no address of a git repository|could not be fetched"):
        desk(home).install(address)
    assert nothing_is_left(home)


def test_hooks_of_a_repository_do_not_run(home: Path):
    folder = light(home / "film_grain")
    address = committed(folder)
    hook = folder / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {home}/canary\n")
    hook.chmod(0o755)
    desk(home).install(address)
    assert not (home / "canary").exists()
    assert not (home / "extensions/film_grain/.git").exists()


def test_a_name_that_is_taken_or_ships_is_refused(home: Path):
    here = desk(home)
    here.install(light(home / "film_grain"))
    for folder in (home / "film_grain", light(home / "lora")):
        with pytest.raises(Conflict, match="There is an extension"):
            here.install(folder)
    assert [path.name for path in (home / "extensions").iterdir()] == ["film_grain"]


def test_a_folder_under_another_name_and_no_extension_at_all_are_shown_with_the_reason(home: Path):
    light(home / "film_grain").rename(home / "extensions" / "other")
    (home / "extensions" / "empty").mkdir()
    told = {card["name"]: card["problem"]["text"] for card in desk(home).cards()}
    assert "Give the folder that name" in told["other"]
    assert "has no extension.toml" in told["empty"]
    with pytest.raises(UnknownName, match="Known: empty, other"):
        desk(home).enable("gone")


def test_compiled_files_that_lie_beside_the_sources_are_never_read(home: Path):
    folder = light(home / "extensions" / "film_grain")
    trust(home, "film_grain")
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", str(folder)], check=True, env={"PATH": os.environ["PATH"]}
    )
    for compiled in (folder / "__pycache__").iterdir():
        compiled.write_bytes(b"not code at all")
    here = desk(home)
    assert here.option_types().keys() == {"film_grain"}
    assert here.card("film_grain")["enabled"] is True


# Update, remove, requirements.


def test_an_update_tells_the_differences_and_disables_until_it_is_enabled_again(home: Path):
    folder = light(home / "film_grain")
    here = desk(home)
    here.install(committed(folder))
    here.enable("film_grain")
    assert here.update("film_grain")["enabled"] is True, "nothing has changed"
    replace_in(folder / "options.py", "0: none", "0: nothing")
    (folder / "more.py").write_text("import socket\n")
    committed(folder)
    review = here.update("film_grain")
    assert review["enabled"] is False
    assert review["changes"] == ["+ more.py", "options.py"]
    assert review["hints"] == ["network"]
    assert here.enable("film_grain")["problem"] is None


def test_an_upload_is_updated_by_another_upload_only(home: Path):
    folder = light(home / "film_grain")
    here = desk(home)
    here.install(zipped(folder, home / "a.zip"), is_upload=True)
    with pytest.raises(Conflict, match="Upload that"):
        here.update("film_grain")
    replace_in(folder / "extension.toml", '"1.0"', '"1.1"')
    assert here.update("film_grain", zipped(folder, home / "b.zip"))["version"] == "1.1"
    with pytest.raises(Conflict, match="'other' and not 'film_grain'"):
        here.update("film_grain", light(home / "other"))


def test_removing_takes_folder_and_decision_away(home: Path):
    here = desk(home)
    here.install(light(home / "film_grain"))
    here.enable("film_grain")
    here.remove("film_grain")
    assert nothing_is_left(home)
    assert here.shelf.state.entries() == {}


def test_what_an_earlier_server_left_half_done_is_swept(home: Path):
    (home / "extensions" / f"{sources.STAGING}abc" / "x").mkdir(parents=True)
    desk(home).sweep()
    assert nothing_is_left(home)


def test_a_broken_state_file_enables_nothing_and_stops_nobody(home: Path):
    light(home / "extensions" / "film_grain")
    trust(home, "film_grain")
    (home / "data/extensions.json").write_text('{"extensions": {"film_grain": {"enabled": true}}}')
    assert desk(home).card("film_grain")["enabled"] is False


def test_missing_packages_are_named_and_prevent_enabling(home: Path):
    folder = light(home / "film_grain")
    replace_in(folder / "extension.toml", "requirements = []", 'requirements = ["numpy", "no-such-package>=2"]')
    here = desk(home)
    assert here.install(folder)["missing"] == ["no-such-package>=2"]
    with pytest.raises(Conflict, match="no-such-package>=2"):
        here.enable("film_grain")


def wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def test_pip_says_what_it_would_install_and_a_conflict_with_the_pins_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    wheel(home / "wheels", "easelgrain", "2.0")
    wheel(home / "wheels", "easelclash", "1.0", "numpy<2")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home / "wheels"))
    assert requirements.plan("Film grain", ["easelgrain>=1"]) == ("easelgrain==2.0",)
    with pytest.raises(ExtensionError, match="do not fit to Easel"):
        requirements.plan("Film grain", ["easelclash"])


# The command.


def command(home: Path, *arguments: str) -> str:
    from webui.cli import make_parser

    folders = ["--data-dir", str(home / "data"), "--extensions-dir", str(home / "extensions")]
    return "\n".join(run(make_parser().parse_args(["extensions", *arguments, *folders])))


def test_the_command_takes_an_extension_from_its_folder_to_its_end(home: Path):
    folder = light(home / "film_grain")
    assert "There are no extensions" in command(home, "list", "")
    review = command(home, "install", str(folder))
    assert "Film grain 1.0 (film_grain), disabled" in review
    assert "extensions enable film_grain" in review
    assert command(home, "enable", "film_grain") == "film_grain is enabled."
    assert "enabled" in command(home, "list", "")
    assert command(home, "disable", "film_grain") == "film_grain is disabled."
    assert command(home, "requirements", "film_grain") == "Nothing is missing."
    assert command(home, "remove", "film_grain") == "film_grain is removed."
    with pytest.raises(UserError, match="needs the name"):
        command(home, "enable", "")


def test_the_doctor_names_extensions_and_what_is_wrong_with_them(home: Path):
    from webui.doctor import _extensions

    light(home / "extensions" / "film_grain")
    trust(home, "film_grain")
    (home / "extensions" / "empty").mkdir()
    told = _extensions(Settings(data_dir=home / "data", extensions_dir=home / "extensions"))
    assert told == "extensions: empty (empty is no extension: it has no extension.toml.), film_grain (enabled)"


def test_the_commands_of_the_documentation_are_those_of_the_command_line():
    from webui.cli import make_parser

    for line in DOCS.splitlines():
        if (text := line.strip()).startswith("python launch.py extensions"):
            make_parser().parse_args(text.split()[2:])


def test_the_options_of_a_request_are_checked_named_and_reduced(home: Path):
    light(home / "extensions" / "film_grain")
    trust(home, "film_grain")
    here: ExtensionDesk = desk(home)
    assert here.checked({"film_grain": {"amount": 1}}) == {"film_grain": {"amount": 1.0}}
    assert here.checked({"film_grain": {"amount": 0.0}}) == {}
    with pytest.raises(UnknownName, match=r"Unknown field 'size'. Known: amount"):
        here.checked({"film_grain": {"size": 1}})
    with pytest.raises(InvalidRequest, match=r"Amount .* from 0.0 to 1.0, not '2'"):
        here.checked({"film_grain": {"amount": 2}})
    with pytest.raises(UnknownName, match=r"Unknown extension 'sand'. Known: film_grain"):
        here.checked({"sand": {}})
