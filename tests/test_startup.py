"""The server before and after it serves: a taken port, a folder that takes no files, a signal."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from webui.errors import CannotStart
from webui.server import STOP_SECONDS
from webui.settings import ROOT, Settings
from webui.startup import bind, check_folders, is_exposed, not_writable

# The port and the folders.


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_names_the_flag(taken_port: int) -> None:
    with pytest.raises(CannotStart, match=f"Port {taken_port} .* --port {taken_port + 1}"):
        bind(Settings(port=taken_port))


def test_a_port_taken_by_another_easel_says_so() -> None:
    class Easel(BaseHTTPRequestHandler):
        server_version, sys_version = "Easel", ""

        def do_GET(self) -> None:
            self.send_error(401)

        def version_string(self) -> str:
            return "Easel"

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Easel) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(CannotStart, match="Another Easel already runs at http://127"):
            bind(Settings(port=other.server_port))
        other.shutdown()


def test_port_0_is_any_free_port() -> None:
    with bind(Settings(port=0)) as listener:
        assert listener.getsockname()[1] > 0


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(CannotStart, match=r"192\.0\.2\.1"):
        bind(Settings(host="192.0.2.1", port=0))


@pytest.mark.parametrize("name, flag", [("data_dir", "--data-dir"), ("outputs_dir", "--outputs-dir")])
def test_a_folder_that_takes_no_files_names_the_flag(tmp_path: Path, name: str, flag: str) -> None:
    (tmp_path / "file").touch()
    folders = {"data_dir": tmp_path / "data", "outputs_dir": tmp_path / "outputs", name: tmp_path / "file" / "x"}
    with pytest.raises(CannotStart, match=flag):
        check_folders(Settings(**folders))


def test_trying_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    assert not_writable(tmp_path / "new") is None
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    "host, exposed",
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("127.1.2.3", False), ("0.0.0.0", True),
     ("::", True), ("192.168.1.7", True), ("my-machine", True)],
)  # fmt: skip
@pytest.mark.row("N17")
def test_every_address_but_loopback_counts_as_exposed(host: str, exposed: bool) -> None:
    assert is_exposed(host) is exposed


# Signals, on the real server class with an application that never lets go.


def test_a_signal_ends_the_server_although_a_client_hangs_on() -> None:
    with contextlib.ExitStack() as stack:
        servers = {number: stack.enter_context(start_stubborn_server()) for number in (signal.SIGINT, signal.SIGTERM)}
        for _, port in servers.values():
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4) == b"HTTP"
        for number, (server, _) in servers.items():
            server.send_signal(number)
        for number, (server, _) in servers.items():
            assert server.wait(60) == 0, f"{number}: with 1 it would have been cut short after {STOP_SECONDS} s"


class start_stubborn_server:  # noqa: N801 - reads as a function
    """A process that serves an endless answer with `webui.server`'s uvicorn."""

    CODE = """
import asyncio, socket, uvicorn
from webui.server import GRACE_SECONDS, _Server
async def endless(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.sleep(0.1)
listener = socket.create_server(("127.0.0.1", 0))
config = uvicorn.Config(endless, log_config=None, lifespan="off", timeout_graceful_shutdown=GRACE_SECONDS)
_Server(config, lambda: print(listener.getsockname()[1], flush=True)).run(sockets=[listener])
"""

    def __enter__(self) -> tuple["subprocess.Popen[bytes]", int]:
        self.process = subprocess.Popen([sys.executable, "-c", self.CODE], cwd=ROOT, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        return self.process, int(self.process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
