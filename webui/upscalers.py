"""The upscalers there are, by name: three that need no file, then the files of models/upscalers. Reads no file.

What is in a file and how it enlarges a picture is known to `engine/upscaling` alone.
"""

from collections.abc import Mapping
from pathlib import Path

from webui.library import SAFETENSORS

BUILT_IN = ("None", "Lanczos", "Nearest")
"""AUTOMATIC1111's names. None leaves a picture as it is where that is possible; where a size must come out, Lanczos."""

FOLDER = "upscalers"
"""Of the models folder."""
SUFFIXES = (*SAFETENSORS, ".pth", ".pt")
"""Of files with weights; of two with the same name the one that comes first in here is taken."""


def upscaler_names(models_dir: Path) -> tuple[str, ...]:
    """Everything that can be named as an upscaler, built in first."""
    return *BUILT_IN, *upscaler_files(models_dir / FOLDER)


def upscaler_files(folder: Path) -> Mapping[str, Path]:
    """Name (the file's without its suffix) -> file, in order; nothing when there is no such folder."""
    files = sorted(
        (path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.is_file()),
        key=lambda path: (path.stem.lower(), SUFFIXES.index(path.suffix.lower())),
    )
    found: dict[str, Path] = {}
    for path in files:
        if path.stem not in BUILT_IN:
            found.setdefault(path.stem, path)
    return found
