"""A worker on this machine: a child process with an engine inside, watched, and started again when it ends.

The child is a plain `python -m webui.workers.child` and not multiprocessing's, which would import the server's main
module, gradio with it, into every engine. What the child does is in `child.py`.
"""

import contextlib
import dataclasses
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from webui.contract import EngineInfo, Job, Signal, Tuning
from webui.errors import EngineDied, way_of_ending
from webui.events import FINAL, Event, Failed, Progress
from webui.sentences import Sentence
from webui.settings import ROOT
from webui.workers.messages import (
    Begin,
    Happened,
    Loading,
    Logged,
    Raised,
    Ready,
    Run,
    Tell,
    Tune,
    Unload,
    Unusable,
    WarmUp,
)
from webui.workers.worker import EngineFactory, WorkerState, WorkerStatus

log = logging.getLogger(__name__)

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Nothing is fetched at run time, whatever a library would like to do."""
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Compute threads sleep between operations: spinning ones make a picture take ten times as long on a busy machine."""
STARTING = Sentence("Starting the engine…")
PATIENCE_SECONDS = 1.5
"""How long a process may take to end by itself, then after being asked, then after being killed."""
LONGEST_PAUSE_SECONDS = 30.0
"""Between two attempts to start an engine that does not start."""


@dataclass(frozen=True)
class _Process:
    popen: "subprocess.Popen[bytes]"
    connection: "Connection[Any, Any]"
    sending: threading.Lock

    def send(self, message: object) -> None:
        """Nothing happens when the process is gone: its end is noticed where its events are read."""
        with self.sending, contextlib.suppress(OSError):
            self.connection.send(message)

    def end(self) -> int:
        """The exit code; a process that does not end by itself is made to."""
        for force in (None, self.popen.terminate, self.popen.kill):
            if force is not None:
                force()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.popen.wait(PATIENCE_SECONDS)
        return -signal.SIGTERM


class LocalWorker:
    """A `Worker` whose engine lives in a child process."""

    def __init__(
        self, name: str, engine_factory: EngineFactory, *, log_file: Path, may_start: threading.Event | None = None
    ) -> None:
        self.name = name
        self._engine_factory = engine_factory
        self._may_start = may_start
        """The engine is started when this is set; None: at once."""
        self._log_file = log_file
        """Named to people when the engine fails in a way that only the log can explain."""
        self._on_change: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._status = WorkerStatus(state=WorkerState.STARTING, text=STARTING, info=None)
        self._process: _Process | None = None
        self._exit_code: int | None = None
        self._running: tuple[str, queue.SimpleQueue[Event | EngineDied]] | None = None
        self._wish: WarmUp | None = None
        """A warm-up that waits for the process."""
        self._tuning = Tuning()
        self._problem: Sentence | None = None
        """Why the engine could not be made."""
        self._thread = threading.Thread(target=self._supervise, name=f"worker {name}", daemon=True)

    # The contract of a worker.

    def start(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._thread.start()

    def status(self) -> WorkerStatus:
        return self._status

    def run(self, job: Job) -> Iterator[Event]:
        events: queue.SimpleQueue[Event | EngineDied] = queue.SimpleQueue()
        with self._lock:
            process = self._process
            if process is None:
                raise EngineDied(self._exit_code)
            self._running = (job.id, events)
        process.send(Run(job))
        return _until_final(events)

    def signal(self, job_id: str, signal: Signal) -> None:
        self._send(Tell(job_id, signal))

    def warm_up(self, checkpoint: str) -> None:
        with self._lock:
            if self._process is None:
                self._wish = WarmUp(checkpoint)
                return
        self._send(WarmUp(checkpoint))

    def tune(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._send(Tune(tuning))

    def unload(self) -> None:
        self._send(Unload())

    def kill(self) -> None:
        if (process := self._process) is not None:
            process.popen.kill()

    def close(self) -> None:
        self._closing.set()
        if (process := self._process) is not None:
            process.popen.terminate()
            process.end()
        if self._thread.is_alive():
            self._thread.join(PATIENCE_SECONDS)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.popen.pid if process is not None else None

    # The life of the process; all of this runs in the supervising thread.

    def _supervise(self) -> None:
        while self._may_start is not None and not self._closing.is_set() and not self._may_start.wait(0.1):
            pass
        failures = 0
        while not self._closing.is_set():
            self._become(WorkerState.STARTING, STARTING)
            self._problem = None
            try:
                process = self._spawn()
            except OSError as error:
                failures += 1
                self._not_started(Sentence("its process cannot be started ({error}).", error=str(error)), failures)
                continue
            was_ready = self._listen(process.connection)
            exit_code = process.end()
            process.connection.close()
            failures = 0 if was_ready else failures + 1
            self._ended(exit_code, failures)
        self._become(WorkerState.DEAD, Sentence("The engine is closed."))

    def _ended(self, exit_code: int, failures: int) -> None:
        """The process is gone: say so, tell the job that ran, and wait before a next start that may fail again."""
        with self._lock:
            self._process, self._exit_code = None, exit_code
            running, self._running = self._running, None
        why = self._problem or Sentence("{reason}.", reason=way_of_ending(exit_code))
        if not failures and not self._closing.is_set():
            self._become(WorkerState.DEAD, Sentence("The engine ended: {why} Starting it again…", why=why))
            log.error("%s: %s", self.name, self._status.text)
        if running is not None:
            running[1].put(EngineDied(exit_code))
        if failures and not self._closing.is_set():
            self._not_started(why, failures)

    def _not_started(self, why: Sentence, failures: int) -> None:
        pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** (failures - 1))
        text = Sentence(
            "The engine could not be started: {why} Trying again in {seconds} s.", why=why, seconds=round(pause)
        )
        self._become(WorkerState.DEAD, text)
        log.error("%s: %s", self.name, text)
        self._closing.wait(pause)

    def _spawn(self) -> _Process:
        ours, theirs = Pipe()
        try:
            popen = _start_process(theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        process = _Process(popen, ours, threading.Lock())
        process.send(sys.path)
        process.send(Begin(self._engine_factory, logging.getLogger().getEffectiveLevel()))
        with self._lock:
            self._process, wish, self._wish = process, self._wish, None
        process.send(Tune(self._tuning))
        if wish is not None:
            process.send(wish)
        if self._closing.is_set():  # closed while it was being started
            popen.terminate()
        return process

    def _listen(self, connection: "Connection[Any, Any]") -> bool:
        """Take in what the child says until its pipe ends."""
        was_ready = False
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError, UnpicklingError):
                return was_ready
            was_ready |= isinstance(message, Ready)
            self._hear(message)

    def _hear(self, message: object) -> None:
        match message:
            case Ready(info):
                self._become(WorkerState.READY, Sentence("Ready."), info)
            case Loading(checkpoint):
                self._become(WorkerState.LOADING, Sentence("Loading {checkpoint}…", checkpoint=checkpoint))
            case Unusable(why):
                self._problem = why
            case Logged(name, level, text, traceback):
                _log_remote(name, level, f"{self.name}: {text}", traceback)
            case Happened(job_id, event):
                self._pass_on(job_id, event)
            case Raised(job_id, error, traceback):
                _log_remote(__name__, logging.ERROR, f"{self.name}: job {job_id} failed: {error}", traceback)
                self._pass_on(job_id, self._internal_error(error))

    def _pass_on(self, job_id: str, event: Event) -> None:
        if isinstance(event, Progress) and event.phase == "loading":
            self._become(WorkerState.LOADING, Sentence("Loading the checkpoint…"))
        elif not isinstance(event, FINAL):
            self._become(WorkerState.BUSY, Sentence("Working."))
        with self._lock:
            running = self._running
        if running is not None and running[0] == job_id:
            running[1].put(event)

    def _internal_error(self, error: str) -> Failed:
        return Failed(
            error="InternalError",
            text=Sentence(
                "Something went wrong inside Easel ({error}); this is not your fault. Other jobs go on. "
                "Try it again; if it happens again, report it with the end of {log}.",
                error=error,
                log=str(self._log_file),
            ),
        )

    def _become(self, state: WorkerState, text: Sentence, info: EngineInfo | None = None) -> None:
        info = info or self._status.info
        if state in (WorkerState.STARTING, WorkerState.DEAD) and info is not None:
            info = dataclasses.replace(info, checkpoint=None, models=())
        status = WorkerStatus(state=state, text=text, info=info)
        if status != self._status:
            self._status = status
            self._on_change()

    def _send(self, message: object) -> None:
        if (process := self._process) is not None:
            process.send(message)


def _until_final(events: "queue.SimpleQueue[Event | EngineDied]") -> Iterator[Event]:
    while True:
        event = events.get()
        if isinstance(event, EngineDied):
            raise event
        yield event
        if isinstance(event, FINAL):
            return


def _log_remote(logger: str, level: int, text: str, traceback: str | None) -> None:
    """Log a line of the child with its traceback, which handlers treat as one of this process."""
    log = logging.getLogger(logger)
    if log.isEnabledFor(level):
        record = log.makeRecord(logger, level, "(engine)", 0, text, (), None)
        record.exc_text = traceback
        log.handle(record)


def _start_process(pipe: "Connection[Any, Any]") -> "subprocess.Popen[bytes]":
    """The child with its end of the pipe, outside the terminal's reach: Ctrl-C is for the server alone."""
    environment = {**os.environ, **OFFLINE, **PATIENT_THREADS, "PYTHONPATH": str(ROOT)}
    handle = pipe.fileno()
    command = [sys.executable, "-P", "-m", "webui.workers.child", str(handle)]
    # What libraries print goes to stderr: the stdout of `generate` is for its result.
    if sys.platform == "win32":
        os.set_handle_inheritable(handle, True)
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,
            env=environment,
            startupinfo=startup,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=2, env=environment, pass_fds=(handle,), process_group=0
    )
