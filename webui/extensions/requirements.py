"""Python packages that an extension needs: which are missing, what pip would do about it, and doing it.

Into Easel's own environment and never against its pins: what does not fit beside them is refused.
"""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Sequence

from packaging.requirements import Requirement

from webui.errors import ExtensionError
from webui.settings import ROOT

PINS = ROOT / "requirements.txt"
SECONDS = 900.0


def missing(requirements: Sequence[str]) -> tuple[str, ...]:
    """Those that are not installed, or in a version that does not do."""
    return tuple(text for text in requirements if not _is_met(Requirement(text)))


def plan(title: str, requirements: Sequence[str]) -> tuple[str, ...]:
    """What would be installed, each as name==version. Raises `ExtensionError` when it does not fit to Easel's pins."""
    if not requirements:
        return ()
    report = json.loads(_pip(title, "--dry-run", "--report", "-", *requirements) or "{}")
    packages = (item["metadata"] for item in report.get("install", ()))
    return tuple(f"{package['name']}=={package['version']}" for package in packages)


def install(title: str, requirements: Sequence[str]) -> None:
    """Raises `ExtensionError` when they do not fit, or cannot be fetched."""
    _pip(title, *requirements)


def _is_met(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def _pip(title: str, *arguments: str) -> str:
    """What pip says on stdout; binary packages only, so that installing runs no code."""
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check",
        "--only-binary", ":all:", "--constraint", str(PINS), *arguments,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ExtensionError("The packages that {title} needs took too long to fetch.", title=title) from None
    if done.returncode:
        lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise ExtensionError(
            "The packages that {title} needs do not fit to Easel, or are not to be had: {reason}",
            title=title, reason=" ".join(lines)[:600] or done.stderr.strip()[-300:],
        )  # fmt: skip
    return done.stdout
