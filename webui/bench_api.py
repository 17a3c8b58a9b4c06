"""`launch.py bench api`: how fast a server answers while its engine is busy, and whether all watchers see every step.

A real server in a process of its own, asked over real connections; the job that keeps the engine busy is a long one.
"""

import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from webui.client import Client
from webui.errors import CannotStart, UserError
from webui.settings import ROOT

ROUNDS = 100
WATCHERS = 200
STEPS = 40
PATIENCE_SECONDS = 180
BUSY = {"prompt": "a red apple", "num_inference_steps": 150, "batch_count": 100}


def measure_api(models_dir: Path, device: str) -> Mapping[str, float]:
    """Milliseconds at the median and at the 95th of a hundred; share of the steps that the watchers have seen."""
    with _server(models_dir, device) as port:
        easel = Client(f"http://127.0.0.1:{port}")
        busy = easel.submit("txt2img", BUSY)
        _until_steps(easel, busy.id)
        health = _times(port, "GET", "/api/v1/health")
        submit = _times(port, "POST", "/api/v1/jobs", {"values": {"prompt": "waits", "num_inference_steps": 1}})
        listed = _times(port, "GET", "/api/v1/jobs?limit=20")
        for job in easel.jobs(limit=200):
            if not job.state.is_final:
                easel.tell(job.id, "cancel")
        seen, slowest = _watched(easel, port)
    return {
        "health, engine busy, median (ms)": statistics.median(health),
        "health, engine busy, 95 % (ms)": _high(health),
        "durable submit, engine busy, median (ms)": statistics.median(submit),
        "durable submit, engine busy, 95 % (ms)": _high(submit),
        "list of 20 jobs, engine busy, median (ms)": statistics.median(listed),
        f"steps of a job that {WATCHERS} watchers saw, least (share)": seen,
        f"last of {WATCHERS} watchers told of the end after (s)": slowest,
    }


@contextmanager
def _server(models_dir: Path, device: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
        command = [
            *(
                sys.executable,
                str(ROOT / "launch.py"),
                "serve",
                "--no-browser",
                "--port",
                str(port),
                "--device",
                device,
            ),
            *("--models-dir", str(models_dir), "--data-dir", f"{folder}/data", "--outputs-dir", f"{folder}/outputs"),
        ]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _until_there(Client(f"http://127.0.0.1:{port}"), server)
            yield port
        finally:
            server.terminate()
            server.wait(PATIENCE_SECONDS)


def _until_there(easel: Client, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            easel.health()
        except UserError:
            time.sleep(0.1)
        else:
            return
    raise CannotStart("The server that was to be measured did not start.")


def _until_steps(easel: Client, job_id: str) -> None:
    """The engine draws."""
    for frame in easel.events(job_id):
        if frame.kind == "progress" and frame.values["step"] >= 2:
            return
    raise UserError("The job that was to keep the engine busy ended at once.")


def _times(port: int, method: str, path: str, body: Mapping[str, Any] | None = None) -> list[float]:
    """Milliseconds of each question, over one connection as a program would keep it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    content = None if body is None else json.dumps(body)
    times = []
    for number in range(ROUNDS + 5):
        begin = time.perf_counter()
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status >= 400:
            raise UserError("The server answered {status} instead of the time.", status=answer.status)
        if number >= 5:  # the first ones warm it up
            times.append((time.perf_counter() - begin) * 1000)
    connection.close()
    return times


def _watched(easel: Client, port: int) -> tuple[float, float]:
    """Share of the steps that the least lucky watcher saw, and seconds from the first to the last who knew the end."""
    values = {"prompt": "watched", "num_inference_steps": STEPS}
    easel.wait(easel.submit("txt2img", {**values, "num_inference_steps": 1}), PATIENCE_SECONDS)
    first = easel.submit("txt2img", {**BUSY, "batch_count": 1})  # so that all watch before the job begins
    job = easel.submit("txt2img", values)
    seen: list[int] = []
    ends: list[float] = []
    ready = threading.Barrier(WATCHERS + 1)

    def watch() -> None:
        steps = set()
        frames = Client(f"http://127.0.0.1:{port}").events(job.id)
        next(frames)
        ready.wait(PATIENCE_SECONDS)
        for frame in frames:
            if frame.kind == "progress":
                steps.add(frame.values["step"])
        seen.append(len(steps & set(range(1, STEPS + 1))))
        ends.append(time.perf_counter())

    threads = [threading.Thread(target=watch, daemon=True) for _ in range(WATCHERS)]
    for thread in threads:
        thread.start()
    ready.wait(PATIENCE_SECONDS)
    easel.tell(first.id, "cancel")
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    if len(seen) < WATCHERS:
        raise UserError("{count} watchers were told nothing.", count=WATCHERS - len(seen))
    return min(seen) / STEPS, max(ends) - min(ends)


def _high(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]
