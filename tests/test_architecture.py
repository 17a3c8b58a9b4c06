"""The promises of the design that a machine can check: who imports whom, sizes, words.

Reads the sources as text and syntax trees; runs next to nothing of them.
"""

import ast
import functools
import inspect
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import webui.errors
from webui.errors import UserError
from webui.params import parameters
from webui.requests import REQUESTS
from webui.settings import ROOT

SOURCES = sorted((ROOT / "webui").rglob("*.py"))

TORCH = {"torch", "diffusers", "transformers", "accelerate", "peft", "xformers", "safetensors"}
WEB = {"fastapi", "starlette", "uvicorn", "gradio"}
SHARED = {
    *("settings", "errors", "params", "requests", "registry", "events", "contract"),
    *("metadata", "library", "options", "prompt", "dataset", "pictures", "sentences", "garbage"),
    *("request_base", "train_requests", "model_requests", "upscale_request", "upscalers", "train_names", "datasets"),
    *("unpacking", "naming", "presets", "drafts"),
    *("extension", "extensions", "script", "grids"),
}
"""Plain modules that everybody may import and that import none of the layers."""

LAYERS = ("cli", "server", "ui", "api", "app", "scripts", "jobs", "workers", "engine", "training")

LONGEST_FUNCTION = 60
LONGEST_FILE = 400
LONGER_ON_PURPOSE = {"webui/ui/theme.py:easel_theme": "a table: one line per colour and size"}
"""File, or file:function -> why it may be longer."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(path: Path) -> str:
    """ "engine" for webui/engine/vae.py, "gate" for webui/gate.py."""
    return path.relative_to(ROOT / "webui").parts[0].removesuffix(".py")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(tree: ast.AST, *, for_types_too: bool = False) -> Iterator[str]:
    """Dotted names of everything a module imports, also inside functions; what only type checkers see is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not for_types_too:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole way: from webui.x import y"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imported(node, for_types_too=for_types_too)


@functools.cache
def packages(path: Path, **options: bool) -> set[str]:
    return {name.split(".")[0] for name in imported(tree_of(path), **options)}


@functools.cache
def parts_used(path: Path) -> set[str]:
    """The parts of webui that a module imports."""
    names = (name.split(".") for name in imported(tree_of(path)))
    return {name[1] for name in names if name[0] == "webui" and len(name) > 1}


def offenders(parts: set[str], forbidden: set[str]) -> dict[str, set[str]]:
    """Modules of `parts` that import something forbidden -> what."""
    found = {name_of(path): parts_used(path) & forbidden for path in SOURCES if part_of(path) in parts}
    return {name: used for name, used in found.items() if used}


def test_only_engine_and_training_import_torch() -> None:
    wrong = [
        name_of(path)
        for path in SOURCES
        if part_of(path) not in ("engine", "training")
        # The contract names tensors, for those who check types alone.
        and packages(path, for_types_too=part_of(path) != "extension") & TORCH
    ]
    assert not wrong, f"move tensor work into webui/engine: {wrong}"


def test_only_the_ui_imports_gradio() -> None:
    assert [name_of(path) for path in SOURCES if part_of(path) != "ui" and "gradio" in packages(path)] == []


def test_shared_modules_import_none_of_the_layers() -> None:
    assert offenders(SHARED, set(LAYERS) | {"gate", "startup", "bench", "doctor", "generate", "train", "checks"}) == {}


def test_shared_modules_know_no_web_framework() -> None:
    assert [name_of(path) for path in SOURCES if part_of(path) in SHARED and packages(path) & WEB] == []


def test_the_engine_knows_nothing_of_queue_server_or_page() -> None:
    assert (
        offenders({"engine"}, {"jobs", "scripts", "workers", "app", "ui", "api", "training", "server", "gate", "cli"})
        == {}
    )


def test_training_uses_the_engine_and_nothing_above_it() -> None:
    assert offenders({"training"}, {"jobs", "workers", "app", "ui", "api", "server", "gate", "cli"}) == {}


def test_workers_know_nothing_of_queue_server_or_page() -> None:
    assert offenders({"workers"}, {"jobs", "scripts", "app", "ui", "api", "server", "gate", "cli"}) == {}


def test_jobs_know_nothing_of_app_server_or_page() -> None:
    assert offenders({"jobs"}, {"app", "scripts", "ui", "api", "server", "gate", "cli", "engine"}) == {}


def test_scripts_know_nothing_of_app_server_or_page() -> None:
    assert offenders({"scripts"}, {"app", "ui", "api", "server", "gate", "cli", "workers", "engine"}) == {}


def test_the_app_knows_nothing_of_page_and_server() -> None:
    assert offenders({"app"}, {"ui", "api", "server", "gate", "cli", "training"}) == {}


def test_page_and_api_do_not_know_each_other_nor_the_engine() -> None:
    below = {"server", "gate", "cli", "engine", "workers", "training"}
    assert offenders({"ui"}, below | {"api"}) == {}
    assert offenders({"api"}, below | {"ui"}) == {}


def test_the_gate_stands_alone() -> None:
    assert offenders({"gate"}, set(LAYERS)) == {}


def test_only_the_command_line_prints() -> None:
    printing = [
        name_of(path)
        for path in SOURCES
        if path.name != "cli.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_nothing_is_global() -> None:
    assert [name_of(path) for path in SOURCES for node in ast.walk(tree_of(path)) if isinstance(node, ast.Global)] == []


def test_every_module_says_what_it_owns() -> None:
    assert [name_of(path) for path in SOURCES if path.stat().st_size and not ast.get_docstring(tree_of(path))] == []


def test_files_and_functions_fit_their_size() -> None:
    too_long = {}
    for path in [*SOURCES, ROOT / "launch.py"]:
        if (lines := path.read_text("utf-8").count("\n")) > LONGEST_FILE:
            too_long[name_of(path)] = lines
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    too_long[f"{name_of(path)}:{node.name}"] = lines
    assert too_long.keys() == LONGER_ON_PURPOSE.keys(), too_long
    assert all(LONGER_ON_PURPOSE.values()), "every exception has its reason"


DANGEROUS = {"eval", "exec", "__import__"}


def test_no_source_evaluates_text_or_loads_a_pickle_unsafely() -> None:
    wrong = []
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            unsafe_load = called == "torch.load" and keywords.get("weights_only") != "True"
            if called in DANGEROUS or unsafe_load or keywords.get("shell") == "True" or called == "pickle.loads":
                wrong.append(f"{name_of(path)}:{node.lineno} {called}")
            if keywords.get("allowed_paths", "[]") != "[]":
                wrong.append(f"{name_of(path)}:{node.lineno} allowed_paths")
    assert wrong == []


def every_user_error() -> list[type[UserError]]:
    return [
        value for _, value in inspect.getmembers(webui.errors, inspect.isclass) if issubclass(value, UserError)
    ]  # fmt: skip


def test_user_errors_live_in_one_file() -> None:
    elsewhere = [
        f"{name_of(path)}:{node.name}"
        for path in SOURCES
        if path.name != "errors.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base) for base in node.bases} & {error.__name__ for error in every_user_error()}
    ]
    assert elsewhere == []


@pytest.mark.parametrize("error", every_user_error(), ids=lambda error: error.__name__)
def test_every_error_is_in_the_drawn_tree_under_its_parent(error: type[UserError]) -> None:
    lines = (webui.errors.__doc__ or "").splitlines()
    drawn = [line for line in lines if error.__name__ in line.replace("├── ", "").replace("└── ", "").split()[:3]]
    assert len(drawn) == 1, f"draw {error.__name__} in the tree at the top of errors.py"
    if error is UserError:
        return
    depth = drawn[0].index(error.__name__)
    above = lines[: lines.index(drawn[0])]
    parent = next(line for line in reversed(above) if 0 <= _indent(line) < depth)
    assert error.__mro__[1].__name__ in parent.split()
    if f"HTTP {error.status}" not in drawn[0]:
        assert "HTTP" not in drawn[0], f"the tree says another status than {error.status}"


def _indent(line: str) -> int:
    """Column at which the name of a drawn error begins; -1 when the line draws none."""
    name = line.lstrip(" │├└─")
    return len(line) - len(name) if name[:1].isupper() and (line.startswith("    ")) else -1


@pytest.mark.parametrize("kind", REQUESTS)
def test_every_field_of_a_request_explains_itself(kind: str) -> None:
    for name, parameter in parameters(REQUESTS[kind]).items():
        assert parameter.param.label, f"{kind}.{name} has no label"
        assert parameter.param.help.endswith("."), f"the help of {kind}.{name} is not a sentence"


def test_nothing_that_is_committed_names_a_path_of_this_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    suffixes = {".py", ".md", ".txt", ".toml", ".json", ".js", ".css", ".html", ""}
    names = [name for name in listed.stdout.decode().splitlines() if Path(name).suffix in suffixes]
    names = [name for name in names if (ROOT / name).is_file()]
    here = f"{ROOT}/"
    assert [name for name in names if here in (ROOT / name).read_text("utf-8", errors="replace")] == []
