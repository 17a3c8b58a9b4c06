"""`launch.py models`: list, info, merge and convert without a browser, through the same desk and jobs as the page.

Prints nothing itself. A queue of its own, gone when the command ends, as `upscale` has it.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.generate import add_field_flags, run_job
from webui.library import SHELVES
from webui.model_desk import Query
from webui.model_requests import ConvertModel, MergeModels
from webui.params import parameters
from webui.settings import Settings

if TYPE_CHECKING:
    from webui.app import App

EVERY = 10**9
MODELS_OF_A_MERGE = ("primary", "secondary", "tertiary")


def add_models_flags(parser: argparse.ArgumentParser, *more: Callable[[argparse.ArgumentParser], None]) -> None:
    """The four actions; `more` adds flags that every command with models has."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    listing = actions.add_parser("list", help="name, family, size and problem of every model")
    listing.add_argument("words", nargs="*", help="only those with all these words in name, tags or notes")
    listing.add_argument("--shelf", default="", choices=("", *SHELVES), help="one shelf of the models folder")
    listing.add_argument("--broken", action="store_true", help="only those that cannot be used")
    informing = actions.add_parser("info", help="everything that is known of a model, as JSON")
    informing.add_argument("model")
    informing.add_argument("--shelf", default="checkpoints", choices=tuple(SHELVES))
    merging = actions.add_parser("merge", help="make one checkpoint of two or three")
    merging.add_argument("models", nargs="+", metavar="MODEL", help="A, then B and C as the method needs them")
    add_field_flags(merging, MergeModels, without=MODELS_OF_A_MERGE)
    converting = actions.add_parser("convert", help="write a model in another format, precision or layout")
    converting.add_argument("source", metavar="MODEL")
    add_field_flags(converting, ConvertModel, without=("source",))
    for action in (listing, informing, merging, converting):
        for add in more:
            add(action)


def run(flags: argparse.Namespace) -> Iterator[str]:
    """Do what the flags say; yields lines for the console. Raises `UserError`."""
    extra = tuple(folder.absolute() for folder in flags.extra_models)
    settings = Settings(models_dir=flags.models_dir.absolute(), extra_models=extra, device="cpu")
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        from webui.app import create_app

        own = replace(settings, data_dir=Path(folder) / "data", outputs_dir=Path(folder) / "outputs")
        app = create_app(own)
        try:
            yield from _act(app, flags)
        finally:
            app.close()


def _act(app: "App", flags: argparse.Namespace) -> Iterator[str]:
    if flags.action == "list":
        yield from _listed(app, Query(text=" ".join(flags.words), shelf=flags.shelf, broken=flags.broken))
    elif flags.action == "info":
        yield json.dumps(app.model_desk.passport(flags.shelf, flags.model), ensure_ascii=False, indent=1)
    else:
        kind, values = request_of(flags)
        values["name"] = app.model_desk.settle(kind, values).name  # what is wrong is told before the engine starts
        app.start(warm_up=False)
        run_job(app, kind, values)
        yield from (str(job["result"]) for job in app.jobs() if job["result"])


def _listed(app: "App", query: Query) -> Iterator[str]:
    models: Sequence[dict[str, Any]] = app.model_desk.search(query, 0, EVERY)["models"]
    for model in models:
        size = f"{model['bytes'] / 2**20:,.1f} MB"
        facts = " ".join(fact for fact in (model["family"], model["precision"], size) if fact)
        problem = f"  ! {model['problem']['text']}" if model["problem"] else ""
        yield f"{model['shelf']:<12} {model['name']}  ({facts}){problem}"


def request_of(flags: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Kind of job and its values, as far as the command line named them."""
    request_type = MergeModels if flags.action == "merge" else ConvertModel
    values = {name: value for name, value in vars(flags).items() if name in parameters(request_type)}
    if flags.action == "merge":
        values |= dict(zip(MODELS_OF_A_MERGE, flags.models, strict=False))
        if len(flags.models) == len(MODELS_OF_A_MERGE):
            values.setdefault("method", "Add difference")
    return request_type.kind, values
