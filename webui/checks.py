"""`launch.py test`: lint, format, types and tests in a row, and the browser that the tests need.

Every step runs even when an earlier one failed; the exit code is that of the first that failed. pytest comes
last, so that its closing line is the last one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from webui.chromium import find_chromium
from webui.errors import CannotStart
from webui.settings import ROOT

Say = Callable[[str], None]


def run_checks(pytest_arguments: Sequence[str], say: Say) -> int:
    """Run all steps, with `pytest_arguments` for the last, and return the first exit code that is not 0."""
    provide_chromium(say)
    steps = (
        ("ruff check", ["ruff", "check", "."]),
        ("ruff format", ["ruff", "format", "--check", "."]),
        ("mypy", ["mypy"]),
        ("pytest", ["pytest", *pytest_arguments]),
    )
    codes = []
    for name, command in steps:
        say(f"== {name}")
        codes.append(subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode)
    return next((code for code in codes if code), 0)


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
