"""`launch.py upscale`: pictures enlarged without a browser, through the same app, queue and engine process as the page.

Uses a queue and folders of its own, gone when the command ends, as `generate` does.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from webui.errors import Conflict
from webui.generate import add_field_flags, run_job, targets, write
from webui.params import parameters
from webui.settings import Settings
from webui.upscale_request import Upscale

PICTURE = "image"
"""The field that the pictures of the command line fill."""


def add_upscale_flags(parser: argparse.ArgumentParser) -> None:
    """The pictures, and one flag per field of the request; limits and words come from the field."""
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="file of a picture, or several")
    add_field_flags(parser, Upscale, without=(PICTURE,))


def values_of(flags: argparse.Namespace) -> dict[str, Any]:
    """The values that were named on the command line. A width and a height alone mean Scale to."""
    names = parameters(Upscale)
    values = {name: value for name, value in vars(flags).items() if name in names}
    if {"width", "height"} <= values.keys() and "size_mode" not in values:
        values["size_mode"] = "Scale to"
    return values


def upscale(
    settings: Settings, values: Mapping[str, Any], pictures: Sequence[Path], output: Path, *, overwrite: bool
) -> list[Path]:
    """Enlarge the pictures and write them to `output` (several: name-1, name-2, …). Returns the paths."""
    from webui.app import create_app

    paths = targets(output, len(pictures))
    if not overwrite and (there := [path for path in paths if path.exists()]):
        raise Conflict(
            "{path} is already there. Choose another --output, or overwrite it with --force.", path=str(there[0])
        )
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        own = replace(settings, data_dir=Path(folder) / "data", outputs_dir=Path(folder) / "outputs")
        app = create_app(own)
        try:
            requests = [{**values, PICTURE: app.inputs.receive(path).id} for path in pictures]
            for request in requests:  # what is wrong with any is told before the engine starts
                app.intake.upscale(request)
            app.start(warm_up=False)
            for request, path in zip(requests, paths, strict=True):
                run_job(app, Upscale.kind, request)
                newest = max(own.outputs_dir.rglob("*.png"))
                write(newest.read_bytes(), path, overwrite=overwrite)
        finally:
            app.close()
    return paths
