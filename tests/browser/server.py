"""A real server process for browser tests: the command line's `serve`, on a free port, with its own folders."""

import itertools
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from webui.settings import ROOT

SERVE = "import sys; from webui.cli import main; sys.exit(main(sys.argv[1:]))"
START_SECONDS = 300
"""A cold import of Gradio and torch on a busy machine."""
STOP_SECONDS = 20
PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections: a browser that looks for a server that is away would otherwise
sooner or later be given its port, and the server could not come back."""


def free_port() -> int:
    """A port that nobody listens on, looked for from a place of this process's own."""
    for tried in itertools.count():
        port = PORTS[(os.getpid() * 31 + tried) % len(PORTS)]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError


class Server:
    def __init__(self, home: Path, models_dir: Path, extensions_dir: Path | None = None) -> None:
        """Without an extensions folder it has one of its own, which is empty."""
        self.home = home
        self._models_dir = models_dir
        self._extensions_dir = extensions_dir or home / "extensions"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers and its engine is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        own = {name: self.home / name for name in ("data", "outputs")}
        folders = own | {"models": self._models_dir, "extensions": self._extensions_dir}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        flags = [part for name, folder in folders.items() for part in (f"--{name}-dir", str(folder))]
        with (self.home / "console.txt").open("ab") as console:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVE, "serve", "--no-browser", "--port", str(self.port), *flags],
                cwd=ROOT, stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._wait_until_ready()

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """kill -9: not a word to anybody, and nothing is put in order."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def kill_engine(self) -> None:
        """What the system does when memory runs out: kill -9 to the engine process, at once and without a word."""
        self.engine().kill()

    def engine(self) -> psutil.Process:
        assert self._process is not None
        for child in psutil.Process(self._process.pid).children():
            if "webui.workers.child" in child.cmdline():
                return child
        raise AssertionError("the server has no engine process")

    @property
    def console(self) -> str:
        return (self.home / "console.txt").read_text("utf-8", "replace")

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self._process is not None
            assert self._process.poll() is None, f"the server ended:\n{self.console}"
            if self._engine_is_ready():
                return
            time.sleep(0.2)
        raise AssertionError(f"the server was not ready in {START_SECONDS} s:\n{self.console}")

    def _engine_is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/status", timeout=5) as answer:
                return b'"state":"ready"' in answer.read()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False
