"""The process that holds an engine for a local worker: started as `python -m webui.workers.child <pipe>`.

The main thread runs jobs; a second thread reads the pipe, so that signals arrive while a job computes. When the pipe
ends, the server is gone and so is this process. torch is imported by the engine factory and by nothing before it.
"""

import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection

from webui.contract import Job
from webui.errors import UserError
from webui.events import FINAL, Event, Failed
from webui.garbage import nothing_collected
from webui.sentences import Sentence
from webui.workers.host import Host
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

log = logging.getLogger(__name__)

UNUSABLE = 3
"""Exit code when the engine could not be made."""

_TRACEBACKS = logging.Formatter()


class Line:
    """The pipe to the server; any thread may send."""

    def __init__(self, connection: "Connection[object, object]") -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        with self._lock:
            try:
                self._connection.send(message)
            except OSError:  # the server is gone
                os._exit(0)

    def receive(self) -> object:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            os._exit(0)


class PipeHandler(logging.Handler):
    """Sends log lines to the server, which has the console and the file."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        traceback = _TRACEBACKS.formatException(record.exc_info) if record.exc_info else None
        self._line.send(Logged(record.name, record.levelno, record.getMessage(), traceback))


class Child:
    """Runs what the server asks for, one thing at a time."""

    def __init__(self, line: Line, host: Host) -> None:
        self._line = line
        self._host = host
        self._tasks: queue.SimpleQueue[Run | WarmUp | Tune | Unload] = queue.SimpleQueue()

    def serve(self) -> None:
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        while True:
            self._line.send(Ready(self._host.info()))
            match self._tasks.get():
                case Run(job):
                    self._run(job)
                case WarmUp(checkpoint):
                    self._line.send(Loading(checkpoint))
                    self._host.warm_up(checkpoint)
                case Tune(tuning):
                    self._host.tune(tuning)
                case Unload():
                    self._host.unload()

    def _listen(self) -> None:
        while True:
            match self._line.receive():
                case Run(job) as task:
                    self._host.expect(job.id)
                    self._tasks.put(task)
                case (WarmUp() | Tune() | Unload()) as task:
                    self._tasks.put(task)
                case Tell(job_id, signal_):
                    self._host.signal(job_id, signal_)

    def _run(self, job: Job) -> None:
        last: Event | None = None
        try:
            for last in self._host.run(job):
                self._line.send(Happened(job.id, last))
            if not isinstance(last, FINAL):
                raise RuntimeError(f"The engine stopped without a result; its last event was {last and last.kind}.")
        except UserError as error:
            log.info("job %s failed", job.id, exc_info=True)
            self._line.send(Happened(job.id, Failed(error=error.kind, text=error.sentence)))
        except Exception as error:  # whatever it is, the job has failed and the worker lives on
            self._line.send(Raised(job.id, type(error).__name__, traceback.format_exc()))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which closes the pipe
    faulthandler.enable()
    line = Line(_connection(int(sys.argv[1])))
    sys.path[:] = line.receive()  # type: ignore[call-overload]  # the server's, so that its factory can be found
    try:
        begin = line.receive()
        assert isinstance(begin, Begin)
        logging.basicConfig(level=begin.log_level, handlers=[PipeHandler(line)], force=True)
        logging.captureWarnings(True)
        with nothing_collected():
            host = Host(begin.engine_factory())
    except UserError as error:
        line.send(Unusable(error.sentence))
        sys.exit(UNUSABLE)
    except Exception as error:  # a broken installation can raise anything; the page must hear of it
        log.exception("The engine could not be made")
        line.send(Unusable(Sentence("{error}: {text}.", error=type(error).__name__, text=str(error).rstrip("."))))
        sys.exit(UNUSABLE)
    Child(line, host).serve()


def _connection(handle: int) -> "Connection[object, object]":
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection

        return PipeConnection(handle)
    return Connection(handle)


if __name__ == "__main__":
    main()
