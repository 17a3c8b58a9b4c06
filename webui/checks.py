"""`launch.py test`: lint, format, types and tests in a row, and the browser that the tests need.

Every step runs even when an earlier one failed; the exit code is that of the first that failed. The tests come in three
parts, each with pytest's own closing line; the last line but one counts them all.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import psutil

from webui.chromium import find_chromium
from webui.errors import CannotStart
from webui.settings import ROOT

Say = Callable[[str], None]

SHARED = "EASEL_TESTS_SHARED"
"""Variable with the folder in which a part of the tests may leave something for those that follow."""

LINTS = (
    ("ruff check", ["ruff", "check", "."]),
    ("ruff format", ["ruff", "format", "--check", "."]),
    ("mypy", ["mypy"]),
)
SIDE_BY_SIDE = ["--dist", "loadfile", "--no-loadscope-reorder"]
"""A file's tests always together, and the files in the order of tests/conftest.py."""
PARTS = (
    # These wait for processes and sockets most of the time: three at once.
    ("pytest, without torch and browser", ["-m", "not torch and not browser", "-n", "3", *SIDE_BY_SIDE]),
    # These compute on one thread each.
    ("pytest, with torch", ["-m", "torch and not browser", "-n", "2", *SIDE_BY_SIDE]),
    # A server, its engine and a browser: two of each would get in each other's way on two cores.
    ("pytest, with a browser", ["-m", "browser", "-p", "no:xdist"]),
)
MEMORY = Path("/dev/shm")
ROOMY_BYTES = 4 * 2**30
"""Free memory from which on the tests' files lie there: a disk takes milliseconds for each of thousands of fsyncs."""


def run_checks(pytest_arguments: Sequence[str], say: Say) -> int:
    """Run all steps and return the first exit code that is not 0. With `pytest_arguments`: those tests, in one part."""
    provide_chromium(say)
    parts = [("pytest", list(pytest_arguments))] if pytest_arguments else PARTS
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="easel-test-", dir=_quick_folder(), ignore_cleanup_errors=True) as folder:
        steps = list(LINTS)
        for number, (name, arguments) in enumerate(parts):
            files = [] if pytest_arguments else [f"--basetemp={folder}/{number}"]
            steps.append((name, ["pytest", *arguments, *files, f"--junit-xml={folder}/{number}.xml"]))
        codes = []
        for name, command in steps:
            say(f"== {name}")
            done = subprocess.run(
                [sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, SHARED: folder}, check=False
            )
            codes.append(done.returncode)
        failed = [name for (name, _), code in zip(steps, codes, strict=True) if code]
        say(f"== {_counted(Path(folder))}; all in {time.monotonic() - started:.0f} s")
    say(f"== FAILED: {', '.join(failed)}" if failed else "== everything passed")
    return next((code for code in codes if code), 0)


def _quick_folder() -> Path | None:
    """Where the tests' files may lie in memory, or None where that is not possible or too little."""
    if not os.access(MEMORY, os.W_OK) or psutil.virtual_memory().available < ROOMY_BYTES:
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= ROOMY_BYTES // 2 else None


def _counted(folder: Path) -> str:
    """What pytest's reports in `folder` add up to: "787 passed, 2 failed"."""
    count: Counter[str] = Counter()
    for report in folder.glob("*.xml"):
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            wrong = {name: int(suite.get(attribute, 0)) for name, attribute in _KINDS.items()}
            count.update(wrong)
            count["passed"] += int(suite.get("tests", 0)) - sum(wrong.values())
    return ", ".join(f"{count[name]} {name}" for name in ("passed", *_KINDS) if count[name] or name == "passed")


_KINDS = {"failed": "failures", "in error": "errors", "skipped": "skipped"}
"""Word -> attribute of a report's suite."""


def provide_chromium(say: Say) -> None:
    """Make sure there is a Chromium. Raises `CannotStart` when there is none and none can be installed."""
    if find_chromium():
        return
    for command in _installers():
        say(f"Installing a browser for the tests: {' '.join(command)}")
        if subprocess.run(command, check=False, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}).returncode:
            continue
        if find_chromium():
            return
    raise CannotStart(
        "The browser tests need Chromium, and none could be installed. Install the package 'chromium' of your "
        "system, or Google Chrome, and run the tests again."
    )


def _installers() -> list[list[str]]:
    """Commands that may bring a Chromium, in the order to try; the last one is Playwright's own download."""
    by_playwright = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        return [
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "chromium"],
            *by_playwright,
        ]
    return by_playwright
