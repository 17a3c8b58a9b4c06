"""`launch.py doctor`: what is there and what is missing, as lines to copy into a bug report.

Says nothing about prompts or pictures. torch is asked in a process of its own, with a time limit, so that a broken
installation of it is a line of the report and not the end of it.
"""

import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import webui
from webui.errors import CannotStart, CheckpointError
from webui.extensions.desk import shelf_of
from webui.library import Library
from webui.settings import Settings
from webui.startup import bind, is_easel, not_writable, url_of

PACKAGES = ("torch", "diffusers", "transformers", "gradio", "fastapi", "uvicorn", "numpy", "pillow", "xformers")
PROBE_SECONDS = 40

PROBE = """
import json, torch
answer = {"torch": torch.__version__, "cuda": torch.version.cuda, "threads": torch.get_num_threads(), "cards": []}
for index in range(torch.cuda.device_count()):
    card = torch.cuda.get_device_properties(index)
    answer["cards"].append([card.name, card.total_memory])
try:
    import xformers, xformers.ops
    answer["xformers"] = xformers.__version__
    if answer["cards"]:
        q = torch.zeros(1, 64, 8, 64, device="cuda", dtype=torch.float16)
        xformers.ops.memory_efficient_attention(q, q, q)
        torch.cuda.synchronize()
        answer["xformers"] += ", its kernel works"
except Exception as error:
    answer["xformers"] = f"not used: {type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
print(json.dumps(answer))
"""


def report(settings: Settings) -> Iterator[str]:
    """The report, line by line, each as soon as it is known."""
    yield f"Easel {webui.__version__}"
    yield f"Python {platform.python_version()} on {platform.platform()}"
    yield "packages: " + ", ".join(_versions())
    yield from _machine(settings)
    yield from _folders(settings)
    yield from _models(settings)
    yield _extensions(settings)
    yield _port(settings)
    yield from _torch()


def _versions() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} missing"


def _machine(settings: Settings) -> Iterator[str]:
    import psutil

    memory = psutil.virtual_memory()
    yield f"memory: {_gb(memory.available)} free of {_gb(memory.total)}; {psutil.cpu_count()} cores"
    for name, folder in (("outputs", settings.outputs_dir), ("models", settings.models_dir)):
        existing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
        yield f"disk of the {name} folder: {_gb(shutil.disk_usage(existing).free)} free"


def _folders(settings: Settings) -> Iterator[str]:
    for name, folder in (("data", settings.data_dir), ("outputs", settings.outputs_dir)):
        problem = not_writable(folder)
        yield f"{name} folder {folder}: {'writable' if problem is None else f'PROBLEM: {problem}'}"


def _models(settings: Settings) -> Iterator[str]:
    try:
        passports = Library(settings.checkpoints_dir, extra=settings.extra_models).passports()
    except (CannotStart, CheckpointError, OSError) as error:
        yield f"checkpoints: PROBLEM: {error}"
        return
    yield f"checkpoints in {settings.checkpoints_dir}: {len(passports) or 'none'}"
    for passport in passports.values():
        told = (
            passport.family or "unknown kind",
            passport.task,
            passport.prediction_type,
            f"{passport.native_size} px",
        )
        kind = ", ".join(filter(None, told))
        yield f"  {passport.name}: {kind}{f'; PROBLEM: {passport.problem}' if passport.problem else ''}"


def _extensions(settings: Settings) -> str:
    """By name: enabled, disabled, or why Easel disabled it."""
    found = shelf_of(settings).all().values()
    states = (f"{each.name} ({each.problem or ('enabled' if each.enabled else 'disabled')})" for each in found)
    return f"extensions: {', '.join(states) or 'none'}"


def _port(settings: Settings) -> str:
    try:
        bind(settings).close()
    except CannotStart:
        owner = "an Easel, running" if is_easel(settings) else "another program"
        return f"port {settings.port}: used by {owner} ({url_of(settings)})"
    except OSError as error:
        return f"port {settings.port}: {error}"
    return f"port {settings.port}: free"


def _torch() -> Iterator[str]:
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        yield f"torch: PROBLEM: it did not answer within {PROBE_SECONDS} s"
        return
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        yield f"torch: PROBLEM: {last[:200]}"
        return
    answer = json.loads(lines[-1])
    yield f"torch {answer['torch']}, CUDA {answer['cuda'] or 'none'}, {answer['threads']} threads"
    yield "xformers: " + answer["xformers"]
    if not answer["cards"]:
        yield "device: CPU (no CUDA card that torch can use)"
    for number, (name, size) in enumerate(answer["cards"]):
        yield f"device: cuda:{number} {name}, {_gb(size)}"


def _gb(size: int) -> str:
    return f"{size / 2**30:.1f} GB"
