"""Imports an extension's modules under a name of their own. Never reads or writes compiled files, which no hash covers.

Knows nothing of trust: whoever calls this has made sure that the folder is the one that a person has enabled.
"""

import importlib
import logging
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

from webui.errors import ExtensionError
from webui.extensions.manifest import Folder

log = logging.getLogger(__name__)

PREFIX = "easel_extension_"


class _SourceOnly(SourceFileLoader):
    """Without the file's times Python neither reads nor writes a compiled file."""

    def path_stats(self, path: str) -> dict[str, float]:
        raise OSError


class _Finder(MetaPathFinder):
    """Finds the modules of extensions in the folder that their package names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX) or not path:
            return None
        return FileFinder(path[0], (_SourceOnly, [".py"])).find_spec(fullname)


def import_half(folder: Folder, half: str) -> ModuleType:
    """The module options, ui or engine of an extension, imported once for each state of its files.

    Raises `ExtensionError` with what went wrong, whatever it was: `sys.exit` too.
    """
    package = _package(folder)
    try:
        return importlib.import_module(f"{package}.{half}")
    except (Exception, SystemExit) as error:
        log.warning("%s.py of extension %s cannot be imported", half, folder.name, exc_info=True)
        raise ExtensionError(
            "{title} cannot be started: its {file} ended with {error}.",
            title=folder.manifest.title, file=f"{half}.py", error=described(error),
        ) from error  # fmt: skip


def described(error: BaseException) -> str:
    """What went wrong in one line, for a person who may know the extension's author."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r})"
    text = str(error).strip().partition("\n")[0][:300]
    return f"{type(error).__name__}: {text}".removesuffix(": ").rstrip(".")


def _package(folder: Folder) -> str:
    """Name of the extension's package; older modules of it are forgotten when its files are others now."""
    package = f"{PREFIX}{folder.name}"
    known = sys.modules.get(package)
    identity = (str(folder.path), folder.digest)
    if known is not None and getattr(known, "identity", None) == identity:
        return package
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    made = ModuleType(package, "An extension.")
    made.__path__ = [str(Path(folder.path))]
    made.identity = identity  # type: ignore[attr-defined]
    sys.modules[package] = made
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    return package
