"""`launch.py bench`: how long a person waits, measured from outside. The torch half is `engine/bench.py`.

Every number is in the names of the results, so that a table and a JSON line say the same.
"""

import http.client
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.chromium import ARGUMENTS, find_chromium
from webui.errors import CannotStart, UserError
from webui.library import Library
from webui.settings import ROOT, Settings
from webui.startup import bind

if TYPE_CHECKING:
    from webui.app import App

ROUNDS = 3
PATIENCE_SECONDS = 120
MODELS = 20_000
"""In the largest collection that should still open at once."""
TENSORS = 2_600
"""Of Stable Diffusion XL in one file."""


def measure(what: str, models_dir: Path, device: str) -> Mapping[str, float]:
    """Run "start", "library", "api", "engine" or "all" and return the numbers by name."""
    results: dict[str, float] = {}
    if what in ("library", "all"):
        results |= measure_library()
    if what in ("start", "all"):
        results |= measure_start(models_dir, device)
    if what in ("api", "all"):
        from webui.bench_api import measure_api

        results |= measure_api(models_dir, device)
    if what in ("engine", "all"):
        from webui.engine.bench import measure_engine
        from webui.engine.bench_memory import measure_memory

        results |= measure_engine(models_dir, device)
        results |= measure_memory(models_dir, device)
        results |= measure_preview(models_dir, device)
    return results


def table(results: Mapping[str, float]) -> str:
    width = max(map(len, results))
    return "\n".join(f"{name:<{width}}  {value:8.3f}" for name, value in results.items())


def measure_start(models_dir: Path, device: str) -> Mapping[str, float]:
    """Median seconds from the command to the first answers and to a page that can be used; not the first start."""
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder, _pages() as visit:
        flags = ["--models-dir", str(models_dir), "--device", device, "--no-browser", "--data-dir", f"{folder}/data"]
        for counted in (False, *[True] * ROUNDS):
            seconds = _start_once([*flags, "--outputs-dir", f"{folder}/outputs"], visit)
            if counted:
                rounds.append(seconds)
    return {name: statistics.median(seconds[name] for seconds in rounds) for name in rounds[0]}


def _start_once(flags: list[str], visit: Callable[[str], None] | None) -> dict[str, float]:
    port = _free_port()
    begin = time.perf_counter()
    command = [sys.executable, str(ROOT / "launch.py"), "serve", "--port", str(port), *flags]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, "/api/v1/status", server)
        seconds = {"start to first answer of the API (s)": time.perf_counter() - begin}
        _wait_for(port, "/", server)
        seconds["start to the page's HTML (s)"] = time.perf_counter() - begin
        if visit is not None:
            visit(f"http://127.0.0.1:{port}/")
            seconds["start to a visible Generate button (s)"] = time.perf_counter() - begin
        _wait_for(port, "/api/v1/status", server, containing=b'"state":"ready"')
        seconds["start to a ready engine (s)"] = time.perf_counter() - begin
        return seconds
    finally:
        server.terminate()
        server.wait(PATIENCE_SECONDS)


def _wait_for(port: int, path: str, server: "subprocess.Popen[bytes]", containing: bytes = b"") -> None:
    """Ask until the answer is 200 with `containing` in it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise CannotStart("The server that was to be measured ended with exit code {code}.", code=server.returncode)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status == 200 and containing in answer.read():
                return
        except OSError:
            pass  # nobody listens yet
        finally:
            connection.close()
        time.sleep(0.02)
    raise CannotStart("The server did not answer {path} within {limit} s.", path=path, limit=PATIENCE_SECONDS)


@contextmanager
def _pages() -> Iterator[Callable[[str], None] | None]:
    """A function that opens an address in a fresh Chromium page and waits for the Generate button; None without one."""
    path = find_chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))

        def visit(address: str) -> None:
            context = browser.new_context()
            page = context.new_page()
            page.goto(address, timeout=PATIENCE_SECONDS * 1000)
            page.locator("#txt2img_generate").wait_for(state="visible", timeout=PATIENCE_SECONDS * 1000)
            context.close()

        yield visit
        browser.close()


def measure_library() -> Mapping[str, float]:
    """Seconds to list `MODELS` checkpoint files: the first time, later, and of one with a large header alone."""
    tensors = {
        "model.diffusion_model.input_blocks.0.0.weight": [320, 4, 3, 3],
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 768],
        "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": [77, 768],
        "first_stage_model.decoder.conv_in.weight": [512, 4, 3, 3],
    }
    large = tensors | {f"model.diffusion_model.output_blocks.{n}.weight": [8, 8] for n in range(TENSORS)}
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
        models, index = Path(folder) / "checkpoints", Path(folder) / "models.sqlite"
        for number in range(MODELS):
            _write_header(models / str(number // 500) / f"{number}.safetensors", tensors)
        seconds = {
            f"{name} (s)": _seconds(lambda: Library(models, index=index))
            for name in (f"{MODELS:,} models, first list", f"{MODELS:,} models, list from the index")
        }
        _write_header(Path(folder) / "large" / "one.safetensors", large)
        return {**seconds, f"a header of {TENSORS:,} tensors (s)": _seconds(lambda: Library(Path(folder) / "large"))}


def _write_header(path: Path, shapes: Mapping[str, list[int]]) -> None:
    """A .safetensors file of bytes that take no room on the disk."""
    end, header = 0, {}
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape)
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [begin, end]}
    content = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        file.truncate(8 + len(content) + end)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure_preview(models_dir: Path, device: str) -> Mapping[str, float]:
    """Median seconds from submitting a job to its first live preview, through queue and engine process, warm."""
    from webui.app import create_app

    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
        settings = replace(
            Settings(models_dir=models_dir, device=device),
            data_dir=Path(folder) / "data",
            outputs_dir=Path(folder) / "outputs",
        )
        app = create_app(settings)
        app.start()
        try:
            _first_preview(app)
            return {"submit to first preview, warm (s)": statistics.median(_first_preview(app) for _ in range(ROUNDS))}
        finally:
            app.close()


def _first_preview(app: "App") -> float:
    """Seconds until the first preview of a job; waits for its end."""
    watch = app.hub.subscribe()
    begin = time.perf_counter()
    job = app.submit("txt2img", {"prompt": "a red apple", "seed": 1, "preview": "Linear"})
    first: float | None = None
    while True:
        frame: Mapping[str, Any] | None = watch.get(PATIENCE_SECONDS)
        if frame is None:
            raise UserError("The job said nothing for {limit} s.", limit=PATIENCE_SECONDS)
        if frame["job"] != job.id:
            continue
        if first is None and frame.get("preview"):
            first = time.perf_counter() - begin
        if frame["kind"] == "failed":
            raise UserError("{text}", text=frame["text"])
        if frame["kind"] == "done":
            watch.close()
            return first if first is not None else time.perf_counter() - begin


def _free_port() -> int:
    with bind(Settings(port=0)) as listener:
        return int(listener.getsockname()[1])
