"""Where extensions come from: a folder, a .zip or a git address, into a folder beside their future place.

Nothing of what comes is run. What is hostile or no extension leaves nothing behind.
"""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webui.errors import ExtensionError, UserError
from webui.extensions.manifest import MOST_BYTES, NOT_COUNTED, Folder, read_folder
from webui.unpacking import unpack

STAGING = ".incoming-"
"""Begins the names of folders for what is on its way."""
ADDRESS = re.compile(r"(https|http|ssh|git|file)://[^\s\x00-\x1f]{1,500}")
GIT_SECONDS = 300.0
GIT = (
    "git", "-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", "-c", "core.fsmonitor=false",
    "-c", "credential.helper=", "-c", "submodule.recurse=false", "-c", "http.followRedirects=initial",
)  # fmt: skip
GIT_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ASKPASS": "",
    "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file", "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
}  # fmt: skip
"""No questions, no settings of this machine, nothing that a repository could make git run."""


@contextmanager
def staged(extensions_dir: Path, source: str | Path) -> Iterator[Folder]:
    """The extension at `source` in a folder of its own, gone at the end unless it was moved away.

    A `Path` is a folder or .zip file, a str a git address. Raises `ExtensionError`, or `InvalidRequest` for an archive.
    """
    target = extensions_dir / f"{STAGING}{secrets.token_hex(8)}"
    try:
        extensions_dir.mkdir(parents=True, exist_ok=True)
        _fetch(source, target)
        for name in NOT_COUNTED:
            for path in sorted(target.rglob(name), reverse=True):
                shutil.rmtree(path, ignore_errors=True)
        folder = read_folder(target)
        _ = folder.files  # links and what is too much are refused here
        yield folder
    except OSError as error:
        raise ExtensionError(
            "The extension could not be copied to {folder}: {reason}.",
            folder=str(extensions_dir), reason=error.strerror or str(error),
        ) from error  # fmt: skip
    finally:
        shutil.rmtree(target, ignore_errors=True)


def sweep(extensions_dir: Path) -> None:
    """Remove what an earlier server did not finish."""
    for path in extensions_dir.glob(f"{STAGING}*"):
        shutil.rmtree(path, ignore_errors=True)


def is_address(text: str) -> bool:
    return ADDRESS.fullmatch(text) is not None


def _fetch(source: str | Path, target: Path) -> None:
    if isinstance(source, str):
        _clone(source, target)
    elif source.is_dir():
        _ = read_folder(source).files  # before a wrong folder is copied with all that is in it
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COUNTED))
    elif source.is_file():
        if problems := unpack(source, target, most_bytes=MOST_BYTES):
            raise ExtensionError("{name} is refused. {reason}", name=source.name, reason=problems[0])
    else:
        raise ExtensionError("There is no folder or .zip file {source}.", source=str(source))


def _clone(address: str, target: Path) -> None:
    if not is_address(address):
        raise ExtensionError(
            "'{address}' is no address of a git repository. It begins with https://, ssh://, git:// or file://.",
            address=address[:200],
        )
    if shutil.which("git") is None:
        raise ExtensionError("There is no git on this machine. Download the extension as a .zip file instead.")
    command = [*GIT, "clone", "--quiet", "--depth=1", "--single-branch", "--no-tags", "--template=", "--", address]
    try:
        done = subprocess.run(
            [*command, str(target)], env={**os.environ, **GIT_ENVIRONMENT}, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=GIT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ExtensionError("{address} took too long to answer.", address=address) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = (lines[-1] if lines else "no reason given").removeprefix("fatal: ").rstrip(".")
        raise ExtensionError("{address} could not be fetched: {reason}.", address=address, reason=reason[:300])


def move(staged_folder: Folder, target: Path) -> None:
    """Put a staged extension in its place; what is there goes first. Raises `UserError`."""
    aside = target.with_name(f"{STAGING}{secrets.token_hex(8)}")
    try:
        if target.exists():
            target.rename(aside)
        staged_folder.path.rename(target)
    except OSError as error:
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise _not_moved(target, error) from error
    shutil.rmtree(aside, ignore_errors=True)


def remove(target: Path) -> None:
    """First out of sight in one step, then for good. Raises `UserError`."""
    aside = target.with_name(f"{STAGING}{secrets.token_hex(8)}")
    try:
        target.rename(aside)
    except OSError as error:
        raise _not_moved(target, error) from error
    shutil.rmtree(aside, ignore_errors=True)


def _not_moved(target: Path, error: OSError) -> UserError:
    return ExtensionError(
        "The folder {folder} could not be changed: {reason}.", folder=str(target), reason=error.strerror or str(error)
    )
