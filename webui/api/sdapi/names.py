"""Checkpoints as AUTOMATIC1111's clients call them: by title ("name [hash]"), file name, stem or hash."""

import re
from pathlib import PurePosixPath

from webui.errors import UnknownName
from webui.library import Library, Passport

HASH = re.compile(r" \[[0-9a-fA-F]{8,64}\]$")
"""What AUTOMATIC1111 puts behind a checkpoint's name."""


def title(passport: Passport) -> str:
    """Name and short hash, as AUTOMATIC1111 shows a checkpoint; the hash only where it was made before."""
    sha256 = passport.known_sha256
    return f"{passport.name} [{sha256[:10]}]" if sha256 else passport.name


def checkpoint_named(library: Library, called: str) -> str:
    """Our name of the checkpoint; "" and "None" stand for the default one. Raises `UnknownName`."""
    passports = library.passports()
    if called in passports:  # before anything is cut off: a file may be called "dream [v8].safetensors"
        return called
    wanted = HASH.sub("", called).strip()
    if wanted in ("", "None"):
        return ""
    if wanted in passports:
        return wanted
    for name, passport in passports.items():
        path, sha256 = PurePosixPath(name), passport.known_sha256
        if wanted.casefold() in {path.name.casefold(), path.stem.casefold(), passport.title.casefold()}:
            return name
        if sha256 and wanted.lower() in (sha256, sha256[:10]):
            return name
    raise UnknownName("checkpoint", called, passports)
