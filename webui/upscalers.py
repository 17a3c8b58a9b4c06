"""The upscalers there are, by name: three that need no file, then the library's files. Reads no file.

What is in a file and how it enlarges a picture is known to `engine/upscaling` alone.
"""

from collections.abc import Mapping
from pathlib import Path

from webui.library import ShelfItem

BUILT_IN = ("None", "Lanczos", "Nearest")
"""AUTOMATIC1111's names. None leaves a picture as it is where that is possible; where a size must come out, Lanczos."""
SHELF = "upscalers"
"""Of the library."""


def upscaler_names(shelf: Mapping[str, ShelfItem]) -> tuple[str, ...]:
    """Everything that can be named as an upscaler, built in first."""
    return *BUILT_IN, *upscaler_files(shelf)


def upscaler_files(shelf: Mapping[str, ShelfItem]) -> Mapping[str, Path]:
    """Name -> file, in the library's order, without those that restore faces.

    One that cannot be used is among them: its problem is told when it is asked for.
    """
    return {name: item.path for name, item in shelf.items() if item.kind != "face-restorer" and name not in BUILT_IN}
