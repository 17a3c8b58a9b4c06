"""Imports an extension in a process of its own, to see whether it can be: `python -m webui.extensions.probe FOLDER`.

Whatever it does there (hang, exit, eat memory, write to the terminal) is seen from outside and harms nobody.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from webui.errors import ExtensionError
from webui.extension import EngineHooks
from webui.extensions.manifest import Folder, read_folder
from webui.extensions.modules import described, import_half
from webui.extensions.options import options_of
from webui.script import ScriptHooks
from webui.sentences import Sentence
from webui.settings import ROOT

SECONDS = 20.0
"""For the extension's own import."""
SECONDS_FOR_LIBRARIES = 240.0
"""For those that it stands on, before it: torch takes half a minute on a busy machine."""
MOST_MEMORY = 12 * 2**30
"""Beyond what the libraries have reserved, bytes of address space."""
MOST_ANSWER = 64 * 2**10
LIBRARIES = {"ui": "gradio", "engine": "diffusers"}
READY = b"ready\n"


def probe(folder: Folder, seconds: float = SECONDS) -> None:
    """Raises `ExtensionError` when it cannot be imported within `seconds`, for whatever reason."""
    title = folder.manifest.title
    command = [sys.executable, "-P", "-m", "webui.extensions.probe", str(folder.path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            ready = _within(process, process.stdout, SECONDS_FOR_LIBRARIES, len(READY))
            answer = _within(process, process.stdout, seconds, MOST_ANSWER) if ready == READY else b""
        finally:
            _end(process)
    if answer is None:
        raise ExtensionError("{title} was still not imported after {seconds} s.", title=title, seconds=round(seconds))
    try:
        told = json.loads(answer)
        problem = None if told is None else Sentence.from_json(told)
    except (ValueError, KeyError, TypeError):
        raise ExtensionError("{title} ended the process that imported it.", title=title) from None
    if problem is not None:
        raise ExtensionError("{title} cannot be enabled. {reason}", title=title, reason=problem)


def _within(process: "subprocess.Popen[bytes]", stdout: "IO[bytes]", seconds: float, most: int) -> bytes | None:
    """What the process says until a line ends or it does; None when that takes too long."""
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(stdout.readline(most)), daemon=True)
    reader.start()
    reader.join(seconds)
    if reader.is_alive():
        _end(process)
        return None
    return said[0] if said else b""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With everything that it has started."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def main() -> None:
    folder = read_folder(Path(sys.argv[1]))
    line = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    for half, library in LIBRARIES.items():
        if folder.has(half):
            importlib.import_module(library)
    _limit_memory()
    os.write(line, READY)
    problem: Sentence | None = None
    try:
        check(folder)
    except ExtensionError as error:
        problem = error.sentence
    except (Exception, SystemExit) as error:
        problem = Sentence("It ended with {error}.", error=described(error))
    os.write(line, (json.dumps(problem and problem.to_json()) + "\n").encode())
    os._exit(0)  # threads that it may have started are none of our business


def check(folder: Folder) -> None:
    """Import everything. Raises `ExtensionError` for what is not as the contract says."""
    title = folder.manifest.title
    if folder.has("options"):
        options_of(import_half(folder, "options"), title)
    if folder.has("ui"):
        import_half(folder, "ui")
    if folder.has("engine"):
        engine_of(folder)
    if folder.has("script"):
        script_of(folder)


def engine_of(folder: Folder) -> type[EngineHooks[object]]:
    """The class Engine of an engine half. Raises `ExtensionError`."""
    found = getattr(import_half(folder, "engine"), "Engine", None)
    if not isinstance(found, type) or not issubclass(found, EngineHooks):
        title = folder.manifest.title
        raise ExtensionError("{title} has an engine.py without a class Engine(EngineHooks).", title=title)
    return found


def script_of(folder: Folder) -> tuple[type[ScriptHooks[object]], type]:
    """The class Script of a script half and that of its options. Raises `ExtensionError`."""
    module, title = import_half(folder, "script"), folder.manifest.title
    found = getattr(module, "Script", None)
    if not isinstance(found, type) or not issubclass(found, ScriptHooks):
        raise ExtensionError("{title} has a script.py without a class Script(ScriptHooks).", title=title)
    return found, options_of(module, title)


def _limit_memory() -> None:
    statm = Path("/proc/self/statm")
    if sys.platform == "win32" or not statm.exists():
        return
    import resource

    reserved = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (reserved + MOST_MEMORY, reserved + MOST_MEMORY))


if __name__ == "__main__":
    main()
