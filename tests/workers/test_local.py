"""The child process of a local worker: how it begins, what it holds, how it ends."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.farm import wait_until
from tests.scripted_engine import ScriptedEngine, ScriptedEngineFactory
from webui.contract import Job
from webui.requests import TextToImage
from webui.settings import ROOT
from webui.workers.local import LocalWorker
from webui.workers.worker import EngineFactory, WorkerState, WorkerStatus

JOB = Job(id="a-job", request=TextToImage(checkpoint="scripted", width=64, height=64, seed=1))


@contextmanager
def running(engine_factory: EngineFactory) -> Iterator[tuple[LocalWorker, list[WorkerStatus]]]:
    worker, seen = LocalWorker("engine", engine_factory, log_file=Path("easel.log")), []
    worker.start(lambda: seen.append(worker.status()))
    try:
        yield worker, seen
    finally:
        worker.close()


def wait_ready(worker: LocalWorker) -> None:
    wait_until(lambda: worker.status().state is WorkerState.READY, "the engine to be ready")


def report_surroundings() -> ScriptedEngine:
    """An engine factory that says what its process has imported and how it is set up."""
    heavy = [name for name in ("gradio", "fastapi", "torch", "webui.app") if name in sys.modules]
    offline = [os.environ.get(name) for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")]
    logging.getLogger("webui.surroundings").warning("imported %s, offline %s", heavy, offline)
    return ScriptedEngine(0.0)


def test_the_child_starts_without_the_server_modules_is_offline_and_its_log_lines_arrive(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running(report_surroundings) as (worker, _):
        wait_ready(worker)
    assert "engine: imported [], offline ['1', '1']" in caplog.text


def test_the_status_follows_the_engine_through_its_life() -> None:
    with running(ScriptedEngineFactory()) as (worker, seen):
        worker.warm_up("early")
        wait_until(lambda: (info := worker.status().info) is not None and info.checkpoint == "early", "the warm-up")
        list(worker.run(JOB))
        wait_ready(worker)
    states = [status.state for status in seen]
    assert [state.value for state in states] == ["ready", "loading", "ready", "busy", "ready", "dead"]
    assert str(seen[1].text) == "Loading early…"


def test_an_idle_engine_that_is_killed_is_back_at_once() -> None:
    with running(ScriptedEngineFactory()) as (worker, seen):
        wait_ready(worker)
        first = worker.pid
        worker.kill()
        wait_until(lambda: worker.pid not in (None, first), "another process", seconds=3)
        wait_ready(worker)
        assert list(worker.run(JOB))[-1].kind == "done"
    assert any("signal 9" in str(status.text) for status in seen)


def test_an_engine_that_cannot_be_made_says_why_and_is_tried_again(tmp_path: Path) -> None:
    repaired = tmp_path / "repaired"
    with running(ScriptedEngineFactory(broken="There is no driver.", unless=repaired)) as (worker, seen):
        wait_until(lambda: worker.status().state is WorkerState.DEAD, "the failure")
        text = str(worker.status().text)
        assert text == "The engine could not be started: There is no driver. Trying again in 1 s."
        repaired.touch()
        wait_ready(worker)
    assert seen


def test_ctrl_c_is_not_for_the_engine() -> None:
    with running(ScriptedEngineFactory()) as (worker, _):
        wait_ready(worker)
        pid = worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGINT)
        assert os.getpgid(pid) != os.getpgid(0), "the terminal's Ctrl-C does not even reach it"
        assert list(worker.run(JOB))[-1].kind == "done"
        assert worker.pid == pid


def test_close_ends_an_engine_that_hangs_within_five_seconds() -> None:
    with running(ScriptedEngineFactory()) as (worker, _):
        wait_ready(worker)
        events = worker.run(Job(id="hang", request=TextToImage(prompt="hang", checkpoint="scripted", seed=1)))
        assert [next(events).kind for _ in range(5)][-1] == "checkpoint"
        pid, begin = worker.pid, time.monotonic()
        worker.close()
        assert time.monotonic() - begin < 5
        assert pid is not None and not is_alive(pid)


def deaf_engine() -> ScriptedEngine:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return ScriptedEngine(0.0)


def test_close_ends_an_engine_that_ignores_being_asked() -> None:
    with running(deaf_engine) as (worker, _):
        wait_ready(worker)
        pid, begin = worker.pid, time.monotonic()
        worker.close()
        assert time.monotonic() - begin < 5
        assert pid is not None and not is_alive(pid)


@pytest.mark.parametrize("prompt", ["", "hang"])
def test_the_engine_ends_when_the_server_is_killed(prompt: str) -> None:
    code = f"""
        from pathlib import Path
        from tests.scripted_engine import ScriptedEngineFactory
        from tests.workers.test_local import wait_ready
        from webui.contract import Job
        from webui.requests import TextToImage
        from webui.workers.local import LocalWorker
        worker = LocalWorker("engine", ScriptedEngineFactory(0.01), log_file=Path("easel.log"))
        worker.start(lambda: None)
        wait_ready(worker)
        request = TextToImage(prompt={prompt!r}, checkpoint="x", seed=1, num_inference_steps=150, batch_count=100)
        events = worker.run(Job(id="a", request=request))
        [next(events) for _ in range(5)]
        print(worker.pid, flush=True)
        for event in events: pass
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert is_alive(pid)
        server.kill()
    wait_until(lambda: not is_alive(pid), "the engine to end", seconds=5)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
