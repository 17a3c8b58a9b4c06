"""`launch.py generate`: pictures without a browser, through the same app, queue and engine process as the page.

A server that runs on the same data folder is asked to do it, as its engine is warm. Else this uses a queue and folders
of its own, gone when the command ends.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from webui.client import Client
from webui.contract import Signal
from webui.errors import CannotSave, Conflict, InvalidRequest, UserError
from webui.extensions.desk import EXTENSIONS
from webui.params import Parameter, parameters
from webui.requests import REQUESTS, build
from webui.running import running_server
from webui.settings import Settings

if TYPE_CHECKING:
    from webui.app import App

KINDS = ("txt2img", "img2img", "inpaint")
SECOND_PASS = "hires"
"""The flag that also takes how many times as large the picture becomes."""
PICTURES = {"mask": "inpaint", "image": "img2img"}
"""Field that takes a picture's file -> the kind of job that is meant when it is named."""
NOT_YET = "0" * 32
"""Stands for a picture that is not uploaded yet."""

SHORT_FLAGS = {
    "negative_prompt": "--negative",
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance",
    "batch_count": "--count",
}
"""Further spellings beside the field's own name."""


VALUES: Mapping[object, Callable[[str], Any]] = {int: int, float: float, str: str}
"""How a value is read; of any other type it is JSON."""


def add_request_flags(parser: argparse.ArgumentParser) -> None:
    """One flag per field of the request; limits and words come from the field."""
    for name, parameter in _fields().items():
        if name == "prompt":
            parser.add_argument("prompt", help=parameter.param.help)
        elif name in PICTURES:
            parser.add_argument(
                f"--{name}", type=Path, default=argparse.SUPPRESS, help=flag_help(parameter), metavar="FILE"
            )
        elif name == SECOND_PASS:
            parser.add_argument(
                f"--{name}", nargs="?", type=float, const=True, default=argparse.SUPPRESS, metavar="SCALE",
                help=flag_help(parameter),
            )  # fmt: skip
        elif parameter.type is bool:
            parser.add_argument(
                f"--{name.replace('_', '-')}", action="store_true", default=argparse.SUPPRESS, help=flag_help(parameter)
            )
        elif name != "preview":  # nobody watches
            spellings = [f"--{name.replace('_', '-')}", *([SHORT_FLAGS[name]] if name in SHORT_FLAGS else [])]
            parser.add_argument(
                *spellings, dest=name, type=VALUES.get(parameter.type, json.loads), default=argparse.SUPPRESS,
                help=flag_help(parameter), metavar=name.rpartition("_")[2].upper(),
            )  # fmt: skip


def _fields() -> Mapping[str, Parameter]:
    """Those of all kinds of picture."""
    return {name: field for kind in KINDS for name, field in parameters(REQUESTS[kind]).items()}


def add_field_flags(parser: argparse.ArgumentParser, request_type: type, without: Collection[str]) -> None:
    """One flag per field of a request but those that are told otherwise; limits and words come from the field."""
    for name, parameter in parameters(request_type).items():
        if name in without:
            continue
        flag, words = f"--{name.replace('_', '-')}", flag_help(parameter)
        if parameter.type is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=words)
        else:
            parser.add_argument(
                flag, dest=name, type=parameter.type, default=argparse.SUPPRESS, help=words,
                metavar=name.rpartition("_")[2].upper(),
            )  # fmt: skip


def flag_help(parameter: Parameter) -> str:
    param = parameter.param
    limits = f" {param.minimum:,} to {param.maximum:,}." if param.minimum is not None else ""
    return f"{param.help}{limits}".replace("%", "%%")


def values_of(flags: argparse.Namespace) -> dict[str, Any]:
    """The values that were named on the command line; the others are left to the checkpoint."""
    names = _fields()
    values = {name: value for name, value in vars(flags).items() if name in names} | {"preview": "Off"}
    scale = values.get(SECOND_PASS, True)
    return values if scale is True else {**values, SECOND_PASS: True, f"{SECOND_PASS}_scale": scale}


def kind_of(values: Mapping[str, Any]) -> str:
    """What is asked for: with a mask or a growing picture inpainting, with a picture img2img, else txt2img."""
    if any(name.startswith("outpaint_") for name in values):
        return "inpaint"
    return next((kind for name, kind in PICTURES.items() if name in values), "txt2img")


def generate(settings: Settings, values: Mapping[str, Any], output: Path, *, overwrite: bool) -> list[Path]:
    """Make the pictures and write them to `output` (several: name-1, name-2, …). Returns the paths."""
    from webui.app import create_app

    # What the command line leaves out is 1 and not what a checkpoint recommends: the files are named beforehand.
    values = {"batch_count": 1, "batch_size": 1, **values}
    kind = kind_of(values)
    files = {name: values[name] for name in PICTURES if name in values}
    paths = targets(output, build(kind, {**values, **dict.fromkeys(files, NOT_YET)}).pictures)
    if not overwrite and (there := [path for path in paths if path.exists()]):
        raise Conflict(
            "{path} is already there. Choose another --output, or overwrite it with --force.", path=str(there[0])
        )
    own_wishes = settings.device != "auto" or settings.extra_models  # which that server need not share
    if not own_wishes and (server := running_server(settings.data_dir, settings.models_dir)) is not None:
        uploaded = {name: server.upload(path) for name, path in files.items()}
        return _through(server, kind, {**values, **uploaded}, paths, overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        own = replace(settings, data_dir=Path(folder) / "data", outputs_dir=Path(folder) / "outputs")
        _keep_extensions(settings.data_dir, own.data_dir)
        app = create_app(own)
        try:
            app.library.find(values.get("checkpoint", ""))  # a wrong name is told before the engine starts
            uploaded = {name: app.inputs.receive(path).id for name, path in files.items()}
            app.start()
            run_job(app, kind, {**values, **uploaded})
        finally:
            app.close()
            # Also after Ctrl+C or a failure: what is finished is never thrown away.
            made = list(zip(sorted(own.outputs_dir.rglob("*.png")), paths, strict=False))
            for source, target in made:
                write(source.read_bytes(), target, overwrite=overwrite)
    return [target for _, target in made]


def _through(
    server: Client, kind: str, values: Mapping[str, Any], paths: Sequence[Path], *, overwrite: bool
) -> list[Path]:
    """The same by the server that runs on this data folder, whose engine is warm; it keeps the pictures too."""
    job = server.submit(kind, values)
    try:
        with tqdm(desc="waiting in the queue", unit="step", dynamic_ncols=True) as bar:
            for frame in server.events(job.id):
                if frame.kind in ("progress", "warning"):
                    _show(bar, {**frame.values, "kind": frame.kind})
        server.wait(job)
    except KeyboardInterrupt:
        server.tell(job.id, "cancel")
        raise
    finally:
        made = list(zip(server.job(job.id).pictures, paths, strict=False))
        for picture, target in made:
            write(server.content(picture), target, overwrite=overwrite)
    if not made:
        raise UserError("The job was cancelled.")
    return [target for _, target in made]


def _keep_extensions(data_dir: Path, own: Path) -> None:
    """What is enabled on the page is enabled here."""
    own.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        shutil.copy(data_dir / EXTENSIONS, own / EXTENSIONS)


def targets(output: Path, count: int) -> list[Path]:
    """Files to write. Raises `InvalidRequest` for a name that is not a picture's."""
    if output.suffix.lower() != ".png":
        raise InvalidRequest("Easel writes PNG files: name one that ends in .png, not '{path}'.", path=str(output))
    if count == 1:
        return [output]
    return [output.with_stem(f"{output.stem}-{number}") for number in range(1, count + 1)]


def write(content: bytes, target: Path, *, overwrite: bool) -> None:
    """Write a file completely or not at all; another program's file of that name stays unless `overwrite`."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        if not overwrite and target.exists():
            raise Conflict("{path} appeared in the meantime and was not overwritten.", path=str(target))
        partial.replace(target)
    except OSError as error:
        raise CannotSave(str(target.parent), error.strerror or str(error)) from error
    finally:
        partial.unlink(missing_ok=True)


def run_job(app: "App", kind: str, values: Mapping[str, Any]) -> None:
    """Submit the job and show its steps until it ends."""
    watch = app.hub.subscribe()
    job = app.submit(kind, values)
    try:
        with tqdm(desc="starting the engine", unit="step", dynamic_ncols=True) as bar:
            while True:
                frame = watch.get()
                if frame is None:
                    raise UserError("The job's events ended before the job did.")
                if frame["kind"] == "status" and bar.total is None:
                    _check_engine(frame["engine"])
                if frame["job"] == job.id and _show(bar, frame):
                    return
    except KeyboardInterrupt:
        app.signal(job.id, Signal.CANCEL)
        raise


def _check_engine(engine: Mapping[str, Any]) -> None:
    """An engine that does not start is tried again for ever, which is right for a server and wrong for a command."""
    if engine["state"] == "dead":
        raise UserError("{text}", text=engine["text"].partition(" Trying again")[0])


def _show(bar: "tqdm[Any]", frame: Mapping[str, Any]) -> bool:
    """Show one frame; True when it was the last one. Raises `UserError` when the job failed."""
    match frame["kind"]:
        case "progress":
            number = f" {frame['picture'] + 1}/{frame['pictures']}" if frame["pictures"] > 1 else ""
            bar.set_description(frame["phase"] + number)
            if bar.total != frame["total"] or frame["step"] < max(bar.n, 1):
                bar.reset(frame["total"])  # a picture begins, and with it the clock of its steps
            bar.n = frame["step"]
            bar.refresh()
        case "warning":
            bar.write(frame["text"])
        case "failed":
            raise UserError("{text}", text=frame["text"])
        case "done":
            return True
        case "cancelled":
            raise UserError("The job was cancelled.")
    return False
