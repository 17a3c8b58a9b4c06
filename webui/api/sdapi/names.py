"""Checkpoints as AUTOMATIC1111's clients call them: by title ("name [hash]"), file name, stem or hash."""

from pathlib import PurePosixPath

from webui.errors import UnknownName
from webui.library import Library, Passport


def title(passport: Passport) -> str:
    """Name and short hash, as AUTOMATIC1111 shows a checkpoint; the hash only where it was made before."""
    sha256 = passport.known_sha256
    return f"{passport.name} [{sha256[:10]}]" if sha256 else passport.name


def checkpoint_named(library: Library, called: str) -> str:
    """Our name of the checkpoint; "" and "None" stand for the default one. Raises `UnknownName`."""
    wanted = called.split(" [")[0].strip()
    if wanted in ("", "None"):
        return ""
    passports = library.passports()
    if wanted in passports:
        return wanted
    for name, passport in passports.items():
        path, sha256 = PurePosixPath(name), passport.known_sha256
        if wanted.casefold() in {path.name.casefold(), path.stem.casefold(), passport.title.casefold()}:
            return name
        if sha256 and wanted.lower() in (sha256, sha256[:10]):
            return name
    raise UnknownName("checkpoint", called, passports)
