"""Checkpoints as AUTOMATIC1111's clients call them: by title ("name [hash]"), file name, stem or hash."""

from pathlib import PurePosixPath

from webui.errors import UnknownName
from webui.library import Library, Passport


def title(passport: Passport) -> str:
    return passport.name


def checkpoint_named(library: Library, called: str) -> str:
    """Our name of the checkpoint; "" and "None" stand for the default one. Raises `UnknownName`."""
    wanted = called.split(" [")[0].strip()
    if wanted in ("", "None"):
        return ""
    passports = library.passports()
    if wanted in passports:
        return wanted
    for name, passport in passports.items():
        path = PurePosixPath(name)
        if wanted.casefold() in {path.name.casefold(), path.stem.casefold(), passport.title.casefold()}:
            return name
    raise UnknownName("checkpoint", called, passports)
