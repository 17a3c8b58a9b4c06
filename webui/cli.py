"""The command line: reads flags into `Settings` and calls the part that does the work. The only place that prints.

    launch.py                     serve, the page in a browser
    launch.py generate "a red apple" --seed 7 --output apple.png
    launch.py extensions list
    launch.py upscale small.png --upscaler Lanczos --scale 2 --output large.png
    launch.py doctor | models | test | bench | train | evaluate | dataset

A `UserError` ends a command with one sentence: exit code 2 when nothing could start, 1 when the work failed.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from webui import flag_values
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
    from webui.extensions.command import add_flags
    from webui.generate import add_request_flags
    from webui.models_command import add_models_flags

    parser = argparse.ArgumentParser(prog="launch.py", description="Easel, a latent-diffusion web UI.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serving = _command(commands, "serve", serve, "open the page in a browser (what happens without a command)")
    serving.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serving.add_argument("--listen", action="store_true", help="let other machines in; they need the printed link")
    serving.add_argument(
        "--api-auth", type=flag_values.accounts, default=(), metavar="USER:PASSWORD[,…]",
        help="who may use AUTOMATIC1111's API, by basic authentication",
    )  # fmt: skip
    serving.add_argument(
        "--port", type=flag_values.port, default=7860, help="port to listen on (%(default)s; 0: any free one)"
    )
    serving.add_argument("--no-browser", action="store_true", help="do not open a browser")
    _add_folders(serving)
    _add_device(serving)
    serving.add_argument("--workers", type=flag_values.count, default=1, help="engine processes (%(default)s)")
    serving.add_argument("--extensions-dir", type=Path, default=Settings.extensions_dir, help="folder of extensions")
    serving.add_argument("--safe-mode", action="store_true", help="start without any extension")
    serving.add_argument("--verbose", action="store_true", help="log details, prompts included")

    generating = _command(commands, "generate", generate, "make pictures without a browser")
    add_request_flags(generating)
    generating.add_argument("--output", type=Path, default=Path("picture.png"), help="file to write (%(default)s)")
    generating.add_argument("--force", action="store_true", help="overwrite the file if it is there")
    _add_models(generating)
    generating.add_argument("--data-dir", type=Path, default=Settings.data_dir, help="a server on it is asked first")
    _add_device(generating)

    _add_upscale(commands)
    add_models_flags(_command(commands, "models", models, "list, examine, merge and convert models"), _add_models)
    examining = _command(commands, "doctor", doctor, "say what is there and what is missing, to copy into a report")
    _add_folders(examining)
    _add_device(examining)
    examining.add_argument("--port", type=flag_values.port, default=7860, help="port to look at (%(default)s)")

    add_flags(_command(commands, "extensions", extensions, "install, review, enable and remove extensions"))

    _command(commands, "test", run_tests, "lint, types and tests; further arguments go to pytest")

    measuring = _command(commands, "bench", bench, "measure how fast Easel is here")
    measuring.add_argument("what", nargs="?", choices=("start", "library", "api", "engine", "all"), default="all")
    measuring.add_argument("--models-dir", type=Path, default=Settings.models_dir, help="folder of the models")
    _add_device(measuring)

    _add_train(commands)
    _add_evaluate(commands)

    composing = _command(commands, "dataset", dataset, "write pictures and captions of a recipe as a dataset")
    composing.add_argument("recipe", help="recipe of the embedded model")
    composing.add_argument("--data", type=Path, required=True, help="folder with its downloads")
    composing.add_argument("--look", default="plain", help="plain, pixel-art or blueprint (%(default)s)")
    composing.add_argument("--count", type=int, default=600, help="how many pictures (%(default)s)")
    composing.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser


def _add_upscale(commands: Commands) -> None:
    from webui.upscale import add_upscale_flags

    enlarging = _command(commands, "upscale", upscale, "enlarge pictures without a browser")
    add_upscale_flags(enlarging)
    enlarging.add_argument("--output", type=Path, default=Path("upscaled.png"), help="file to write (%(default)s)")
    enlarging.add_argument("--force", action="store_true", help="overwrite the file if it is there")
    enlarging.add_argument("--models-dir", type=Path, default=Settings.models_dir, help="folder of the models")
    _add_device(enlarging)


def _add_train(commands: Commands) -> None:
    training = _command(commands, "train", train, "train a model; without a file: say what can be trained")
    training.add_argument(
        "recipe", nargs="?", help="a .toml file with a kind and its values, or the name of one that ships"
    )
    training.add_argument("--data", type=Path, help="folder with the pictures and captions")
    training.add_argument("--run", type=Path, dest="run_dir", help="folder for the state of the run; resumable")
    training.add_argument("--output", type=Path, help="recipes only: folder to write the finished checkpoint to")
    training.add_argument(
        "--start-from", type=Path, help="recipes only: checkpoint whose first stage and denoiser it begins with"
    )
    training.add_argument(
        "--only", nargs="+", metavar="PART",
        help="recipes only: first-stage, words and/or denoiser; the rest is taken from --start-from as it is",
    )  # fmt: skip
    training.add_argument("--fetch", action="store_true", help="recipes only: download what --data lacks")
    training.add_argument("--figures", type=Path, help="recipes only: measure the result, figures and sheets go here")
    training.add_argument("--data-dir", type=Path, default=Settings.data_dir, help="folder of the page's datasets")
    _add_models(training)
    _add_device(training)


def _add_evaluate(commands: Commands) -> None:
    judging = _command(commands, "evaluate", evaluate, "measure a trained model, or compare two folders of pictures")
    judging.add_argument("recipe", nargs="?", help="recipe of the embedded model, for its own held-out measures")
    judging.add_argument("--data", type=Path, help="with a recipe: folder with its downloads")
    judging.add_argument("--run", type=Path, dest="run_dir", help="with a recipe: folder of its run; keeps the judge")
    judging.add_argument("--checkpoint", default="", help="with a recipe: the checkpoint to measure (the default one)")
    judging.add_argument("--output", type=Path, help="with a recipe: folder for figures.json and the sample sheets")
    judging.add_argument("--real", type=Path, help="without a recipe: folder of real pictures")
    judging.add_argument("--generated", type=Path, help="without a recipe: folder of generated pictures")
    judging.add_argument("--features", type=Path, help="without a recipe: file of the feature network")
    judging.add_argument("--models-dir", type=Path, default=Settings.models_dir, help="folder of the models")
    _add_device(judging)


def _command(commands: Commands, name: str, run: Run, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.set_defaults(run=run)
    return command


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, default=Settings.data_dir, help="folder of queue, options and logs")
    _add_models(parser)
    parser.add_argument("--outputs-dir", type=Path, default=Settings.outputs_dir, help="folder of finished pictures")


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models-dir", type=Path, default=Settings.models_dir, help="folder of the models")
    parser.add_argument(
        "--extra-models", type=Path, action="append", default=[], metavar="DIR",
        help="models of AUTOMATIC1111 or ComfyUI beside them: their folder, or an extra_model_paths.yaml; repeatable",
    )  # fmt: skip


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", type=flag_values.device, default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)"
    )


def _extra_models(flags: argparse.Namespace) -> tuple[Path, ...]:
    return tuple(folder.absolute() for folder in flags.extra_models)


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
        extra_models=_extra_models(flags),
        outputs_dir=flags.outputs_dir.absolute(),
        device=flags.device,
        workers=flags.workers,
        extensions_dir=flags.extensions_dir.absolute(),
        safe_mode=flags.safe_mode,
        api_accounts=flags.api_auth,
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
    settings = Settings(
        data_dir=flags.data_dir.absolute(), models_dir=flags.models_dir.absolute(), extra_models=_extra_models(flags),
        device=flags.device,
    )  # fmt: skip
    for path in make_pictures(settings, values_of(flags), flags.output, overwrite=flags.force):
        print(path)
    return 0


def upscale(flags: argparse.Namespace) -> int:
    from webui.upscale import upscale as enlarge_pictures
    from webui.upscale import values_of

    logs.set_up(None, quiet=True)
    settings = Settings(models_dir=flags.models_dir.absolute(), device=flags.device)
    for path in enlarge_pictures(settings, values_of(flags), flags.pictures, flags.output, overwrite=flags.force):
        print(path)
    return 0


def models(flags: argparse.Namespace) -> int:
    from webui.models_command import run

    return _told(run(flags))


def doctor(flags: argparse.Namespace) -> int:
    from webui.doctor import report

    settings = Settings(
        port=flags.port,
        data_dir=flags.data_dir.absolute(),
        models_dir=flags.models_dir.absolute(),
        extra_models=_extra_models(flags),
        outputs_dir=flags.outputs_dir.absolute(),
        device=flags.device,
    )
    for line in report(settings):
        print(line, flush=True)
    return 0


def extensions(flags: argparse.Namespace) -> int:
    from webui.extensions.command import run

    return _told(run(flags))


def _told(lines: Iterator[str]) -> int:
    logs.set_up(None, quiet=True)
    for line in lines:  # as they come: what was told before an error stays told
        print(line)
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
    from webui.train import find_request, prepare_process, read_request, what_can_be_trained
    from webui.train import train as train_request

    prepare_process()

    if flags.recipe is None:
        print(what_can_be_trained())
        return 0
    file = find_request(flags.recipe)
    if file is None:
        return _train_recipe(flags)
    if given := [flag for flag in FOR_RECIPES if getattr(flags, flag.removeprefix("--").replace("-", "_"))]:
        raise CannotStart("{flags}: for recipes only; what a file trains goes to the models folder.",
                          flags=", ".join(given))  # fmt: skip
    logs.set_up(None, quiet=True)
    settings = Settings(
        data_dir=flags.data_dir.absolute(),
        models_dir=flags.models_dir.absolute(),
        extra_models=_extra_models(flags),
        device=flags.device,
    )
    kind, values = read_request(file)
    print(train_request(settings, kind, values, data=flags.data, run=flags.run_dir))
    return 0


FOR_RECIPES = ("--output", "--start-from", "--only", "--fetch", "--figures")
"""Flags of `train` that a file with a `kind` does not take."""


def _train_recipe(flags: argparse.Namespace) -> int:
    from webui.training.recipe import load_recipe

    folders = {"--data": flags.data, "--run": flags.run_dir, "--output": flags.output}
    if missing := [flag for flag, folder in folders.items() if folder is None]:
        raise CannotStart("train needs {flags} as well.", flags=" and ".join(missing))
    recipe = load_recipe(flags.recipe)
    logs.set_up(flags.run_dir)
    from webui.engine.device import pick_device
    from webui.training.embedded.fetch import fetch
    from webui.training.embedded.pipeline import PARTS, Start
    from webui.training.embedded.pipeline import train as train_recipe
    from webui.training.embedded.report import evaluate as measure_model

    start = Start(flags.start_from, flags.only or PARTS)
    device = str(pick_device(flags.device).torch_device)
    if flags.figures and flags.output.absolute().parent.name != "checkpoints":
        raise CannotStart("--figures draws with the result, so --output must be a folder in models/checkpoints.")
    if flags.fetch:
        fetch(flags.data)
    train_recipe(recipe, flags.data, flags.run_dir, flags.output, device, start)
    if flags.figures:
        models, name = flags.output.absolute().parents[1], flags.output.name
        _print(measure_model(recipe, flags.data, flags.run_dir, models, name, flags.figures, device))
    return 0


def evaluate(flags: argparse.Namespace) -> int:
    wanted = ("data", "run_dir", "output") if flags.recipe else ("real", "generated", "features")
    if missing := [f"--{name.removesuffix('_dir')}" for name in wanted if getattr(flags, name) is None]:
        raise CannotStart("evaluate needs {flags} as well.", flags=" and ".join(missing))
    logs.set_up(None, quiet=True)
    from webui.engine.device import pick_device

    device = str(pick_device(flags.device).torch_device)
    _print(_model_figures(flags, device) if flags.recipe else _folder_figures(flags, device))
    return 0


def _print(figures: Mapping[str, float]) -> None:
    print("\n".join(f"{name:<56} {value:10.3f}" for name, value in figures.items()))


def _model_figures(flags: argparse.Namespace, device: str) -> Mapping[str, float]:
    from webui.training.embedded.report import evaluate as measure_model
    from webui.training.recipe import load_recipe

    models = flags.models_dir.absolute()
    return measure_model(
        load_recipe(flags.recipe), flags.data, flags.run_dir, models, flags.checkpoint, flags.output, device
    )


def _folder_figures(flags: argparse.Namespace, device: str) -> Mapping[str, float]:
    from webui.training.metrics import compare_folders

    return compare_folders(flags.real, flags.generated, flags.features, device)


def dataset(flags: argparse.Namespace) -> int:
    from webui.training.embedded.datasets import write_dataset
    from webui.training.embedded.emoji import load_emoji
    from webui.training.embedded.scenes import Composer
    from webui.training.recipe import load_recipe

    recipe = load_recipe(flags.recipe)
    pictures = load_emoji(flags.data, recipe.pictures.styles, recipe.pictures.subgroups, recipe.pictures.size)
    write_dataset(Composer(pictures, recipe.scenes, recipe.seed), flags.look, flags.count, flags.output)
    return 0
