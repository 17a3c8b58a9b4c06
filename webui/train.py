"""`launch.py train FILE.toml`: the same request as the page's, trained in the terminal without a server.

The file is the request: `kind = "train-lora"` and its values by name. A run that was stopped goes on when the same
command is given again. How the embedded model is made is the business of `webui/training/embedded`.
"""

import json
import os
import shutil
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from webui.app import train_folders
from webui.contract import Signal
from webui.errors import CannotStart, Conflict, InvalidRecipe, UserError
from webui.events import Done, Event, Metrics, Paused, Progress, Result, Sample, Warning
from webui.options import write_atomically
from webui.requests import to_values
from webui.settings import Settings
from webui.train_names import settle
from webui.train_requests import TRAIN_REQUESTS, TrainRequest
from webui.workers.local import OFFLINE, PATIENT_THREADS

if TYPE_CHECKING:
    from webui.training.session import Workspace

SIBLINGS = Path(__file__).parent / "training" / "siblings"
REQUEST = "request.json"
"""In the run folder: what is trained there, seed included."""


def prepare_process() -> None:
    """What a worker's process is started with: offline, and threads that sleep while they wait. Before torch loads."""
    os.environ.update(OFFLINE | PATIENT_THREADS)


def what_can_be_trained() -> str:
    """Lines for a person who asks."""
    from webui.training.recipe import available_recipes

    kinds = "\n".join(f"  {kind:<18} {(type_.__doc__ or '').splitlines()[0]}" for kind, type_ in TRAIN_REQUESTS.items())
    return (
        f'A .toml file with kind = "…", name = "…" and any other values trains one of:\n{kinds}\n'
        f"Such files that ship, for the embedded model: {', '.join(available_siblings())}\n"
        f"Recipes of the embedded model itself: {', '.join(available_recipes())}"
    )


def available_siblings() -> Mapping[str, Path]:
    """The files that ship beside the recipes, by name: what the embedded model's family learns."""
    return {path.stem: path for path in sorted(SIBLINGS.glob("*.toml"))}


def find_request(name: str) -> Path | None:
    """A file with a `kind`, by path or by the name of one that ships; anything else is left to the recipes."""
    path = available_siblings().get(name, Path(name))
    try:
        return path if "kind" in tomllib.loads(path.read_text("utf-8")) else None
    except (OSError, ValueError):
        return None


def read_request(path: Path) -> tuple[str, dict[str, Any]]:
    """Kind and values of a .toml file. Raises `InvalidRecipe` for a kind that there is not."""
    values = tomllib.loads(path.read_text("utf-8"))
    kind = values.pop("kind")
    if kind not in TRAIN_REQUESTS:
        known = ", ".join(TRAIN_REQUESTS)
        raise InvalidRecipe(
            "{file} names the kind '{kind}'. Known: {known}.", file=path.name, kind=str(kind), known=known
        )
    return kind, values


def train(
    settings: Settings, kind: str, values: Mapping[str, Any], *, data: Path | None = None, run: Path | None = None
) -> Path:
    """Train, or go on training, and return the path of the result. Raises `UserError`, or KeyboardInterrupt.

    `data` is a folder of pictures to take instead of one of the page's datasets, `run` where the state is kept.
    """
    folders = train_folders(settings)
    if data is not None:
        if not data.is_dir():
            raise CannotStart("There is no folder {folder}. Name one with pictures in --data.", folder=str(data))
        folders = replace(folders, given=data.absolute())
        values = {"dataset": "given", **values}
    request = settle(kind, values, folders, folders.library())
    from webui.engine.device import pick_device
    from webui.training.engine import workspace_of

    own = f"terminal {request.name}"
    workspace = workspace_of(request, own, folders, str(pick_device(settings.device).torch_device))
    if run is not None:
        workspace = replace(workspace, run=run.absolute())
    request = _same_as_before(request, workspace.run / REQUEST)
    result = _run(request, workspace)
    if run is None:
        shutil.rmtree(folders.trainings / own, ignore_errors=True)
    return settings.models_dir / result


def _same_as_before(request: TrainRequest, path: Path) -> TrainRequest:
    """The request as this run began with it, drawn seed included. Raises `Conflict` when it was another one."""
    try:
        before = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        write_atomically(path, json.dumps({"kind": request.kind, **to_values(request)}, indent=1).encode())
        return request
    wanted = {"kind": request.kind, **to_values(request), "seed": before.get("seed")}
    if different := sorted(name for name in wanted | before if wanted.get(name) != before.get(name)):
        raise Conflict(
            "The run in {folder} was begun with another {names}. Put it back, or name another folder in --run.",
            folder=str(path.parent),
            names=", ".join(different),
        )
    return replace(request, seed=before["seed"])


def _run(request: TrainRequest, workspace: "Workspace") -> str:
    """The result's path below the models folder."""
    from webui.training.engine import events_of

    result = ""
    bar = tqdm(total=request.steps, unit="step", dynamic_ncols=True)
    with bar, _ctrl_c(lambda text: bar.write(text, file=sys.stderr)) as told:
        for event in events_of(request, workspace, told):
            match event:
                case Result(path=path):
                    result = path
                case Sample(step=step, jpeg=jpeg):
                    write_atomically(workspace.run / "samples" / f"{step:08d}.jpg", jpeg)
                case Paused():
                    raise KeyboardInterrupt
                case Done():
                    return result
                case _:
                    _show(bar, event)
    raise UserError("The training ended without a result.")


def _show(bar: "tqdm[Any]", event: Event) -> None:
    match event:
        case Progress(phase=phase, step=step, total=total):
            bar.total = total
            if not bar.n:
                bar.initial = step  # of a run that goes on, the speed is that of this session
            bar.set_description(phase)
            bar.n = step
            bar.refresh()
        case Metrics(losses=losses):
            bar.set_postfix(loss=f"{losses[-1][1]:.4g}", refresh=False)
        case Warning(text=text):
            bar.write(str(text), file=sys.stderr)


@contextmanager
def _ctrl_c(say: Callable[[str], object]) -> Iterator[Callable[[], Signal | None]]:
    """The first Ctrl+C asks the run to save its state, the second one ends it where it is."""
    asked: list[Signal] = []

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(Signal.PAUSE)
        say("Saving; the same command goes on from here. Once more to stop at once.")

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: asked[0] if asked else None
    finally:
        signal.signal(signal.SIGINT, previous)
