"""The command line: reads flags into `Settings` and calls the part that does the work. The only place that prints.

    launch.py                     serve, the page in a browser
    launch.py generate "a red apple" --seed 7 --output apple.png
    launch.py doctor | test | bench | train

A `UserError` ends a command with one sentence: exit code 2 when nothing could start, 1 when the work failed.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from webui import log as logs
from webui.errors import CannotStart, UserError
from webui.settings import Settings

INTERRUPTED = 130

Run = Callable[[argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    parser = make_parser()
    known, rest = parser.parse_known_args(_with_command(arguments))
    if rest and known.run is not run_tests:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    known.rest = rest
    try:
        return int(known.run(known))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, CannotStart) else 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED


def _with_command(arguments: Sequence[str]) -> list[str]:
    """`serve` is meant when no command is named."""
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        return ["serve", *arguments]
    return list(arguments)


def make_parser() -> argparse.ArgumentParser:
    from webui.generate import add_request_flags

    parser = argparse.ArgumentParser(prog="launch.py", description="Easel, a latent-diffusion web UI.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serving = _command(commands, "serve", serve, "open the page in a browser (what happens without a command)")
    serving.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serving.add_argument("--listen", action="store_true", help="let other machines in; they need the printed link")
    serving.add_argument("--port", type=_port, default=7860, help="port to listen on (%(default)s; 0: any free one)")
    serving.add_argument("--no-browser", action="store_true", help="do not open a browser")
    _add_folders(serving)
    _add_device(serving)
    serving.add_argument("--workers", type=_count, default=1, help="engine processes (%(default)s)")
    serving.add_argument("--verbose", action="store_true", help="log details, prompts included")

    generating = _command(commands, "generate", generate, "make pictures without a browser")
    add_request_flags(generating)
    generating.add_argument("--output", type=Path, default=Path("picture.png"), help="file to write (%(default)s)")
    generating.add_argument("--force", action="store_true", help="overwrite the file if it is there")
    generating.add_argument("--models-dir", type=Path, default=Settings.models_dir, help="folder of the models")
    _add_device(generating)

    examining = _command(commands, "doctor", doctor, "say what is there and what is missing, to copy into a report")
    _add_folders(examining)
    _add_device(examining)
    examining.add_argument("--port", type=_port, default=7860, help="port to look at (%(default)s)")

    _command(commands, "test", run_tests, "lint, types and tests; further arguments go to pytest")

    measuring = _command(commands, "bench", bench, "measure how fast Easel is here")
    measuring.add_argument("what", nargs="?", choices=("start", "engine", "all"), default="all")
    measuring.add_argument("--models-dir", type=Path, default=Settings.models_dir, help="folder of the models")
    _add_device(measuring)

    training = _command(commands, "train", train, "train a model; without a recipe: list the recipes")
    training.add_argument("recipe", nargs="?", help="name of a shipped recipe, or path of a .toml file")
    training.add_argument("--data", type=Path, help="folder with the pictures and captions")
    training.add_argument("--run", type=Path, dest="run_dir", help="folder for checkpoints and loss curves; resumable")
    training.add_argument("--output", type=Path, help="folder to write the finished checkpoint to")
    return parser


def _command(commands: Commands, name: str, run: Run, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.set_defaults(run=run)
    return command


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, default=Settings.data_dir, help="folder of queue, options and logs")
    parser.add_argument("--models-dir", type=Path, default=Settings.models_dir, help="folder of the models")
    parser.add_argument("--outputs-dir", type=Path, default=Settings.outputs_dir, help="folder of finished pictures")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", type=_device, default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port: it goes from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of workers: 1 to 64")
    return int(text)


def _device(text: str) -> str:
    kind, _, number = text.partition(":")
    if text not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdigit()):
        raise argparse.ArgumentTypeError(f"'{text}' is not a device: auto, cpu, cuda or cuda:N")
    return text


# The commands, in the order of the help.


def serve(flags: argparse.Namespace) -> int:
    from webui.startup import check_folders, is_exposed

    host = "0.0.0.0" if flags.listen and flags.host == "127.0.0.1" else flags.host
    settings = Settings(
        host=host,
        port=flags.port,
        listen=flags.listen or is_exposed(host),
        open_browser=not flags.no_browser,
        data_dir=flags.data_dir.absolute(),
        models_dir=flags.models_dir.absolute(),
        outputs_dir=flags.outputs_dir.absolute(),
        device=flags.device,
        workers=flags.workers,
    )
    check_folders(settings)
    logs.set_up(settings.data_dir, verbose=flags.verbose)
    from webui.server import serve as serve_page

    serve_page(settings, lambda line: print(line, flush=True))
    return 0


def generate(flags: argparse.Namespace) -> int:
    from webui.generate import generate as make_pictures
    from webui.generate import values_of

    logs.set_up(None, quiet=True)
    settings = Settings(models_dir=flags.models_dir.absolute(), device=flags.device)
    for path in make_pictures(settings, values_of(flags), flags.output, overwrite=flags.force):
        print(path)
    return 0


def doctor(flags: argparse.Namespace) -> int:
    from webui.doctor import report

    settings = Settings(
        port=flags.port,
        data_dir=flags.data_dir.absolute(),
        models_dir=flags.models_dir.absolute(),
        outputs_dir=flags.outputs_dir.absolute(),
        device=flags.device,
    )
    for line in report(settings):
        print(line, flush=True)
    return 0


def run_tests(flags: argparse.Namespace) -> int:
    from webui.checks import run_checks

    return run_checks(flags.rest, lambda line: print(line, flush=True))


def bench(flags: argparse.Namespace) -> int:
    from webui.bench import measure, table

    logs.set_up(None, quiet=True)
    results = measure(flags.what, flags.models_dir.absolute(), flags.device)
    print(table(results))
    print(json.dumps({name: round(value, 4) for name, value in results.items()}))
    return 0


def train(flags: argparse.Namespace) -> int:
    from webui.training.recipe import available_recipes, load_recipe

    if flags.recipe is None:
        print("Recipes: " + ", ".join(available_recipes()))
        return 0
    folders = {"--data": flags.data, "--run": flags.run_dir, "--output": flags.output}
    if missing := [flag for flag, folder in folders.items() if folder is None]:
        raise CannotStart(f"train needs {' and '.join(missing)} as well.")
    recipe = load_recipe(flags.recipe)
    logs.set_up(flags.run_dir)
    from webui.training.pipeline import train as train_recipe

    train_recipe(recipe, flags.data, flags.run_dir, flags.output)
    return 0
