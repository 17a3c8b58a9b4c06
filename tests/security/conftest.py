"""The whole application, gate in front and Gradio behind, around an app whose engine is the scripted one."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from tests.header_only import write_checkpoint
from tests.scripted_engine import ScriptedEngineFactory
from webui.app import App, create_app
from webui.server import build_asgi
from webui.settings import Settings

HOME = "http://127.0.0.1:7860"


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("security")
    write_checkpoint(folder / "models/checkpoints/one", title="One")
    folders: dict[str, Any] = {f"{name}_dir": folder / name for name in ("data", "models", "outputs")}
    app = create_app(Settings(**folders, open_browser=False), engine_factory=ScriptedEngineFactory())
    app.start()
    yield app
    app.close()


@pytest.fixture(scope="session")
def whole(app: App) -> ASGIApp:
    return build_asgi(app)


@pytest.fixture(scope="session")
def client(whole: ASGIApp) -> TestClient:
    """As a program on this machine."""
    return TestClient(whole, base_url=HOME, raise_server_exceptions=False)


@dataclass(frozen=True)
class Place:
    """Where a real server listens."""

    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture(scope="session")
def place(app: App) -> Iterator[Place]:
    """A real server at a real port, with the configuration that Easel gives to uvicorn."""
    from dataclasses import replace

    from fastapi import FastAPI

    from webui.api import mount_api
    from webui.gate import Gate

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        port = listener.getsockname()[1]
        fastapi = FastAPI()
        mount_api(fastapi, app)
        gate = Gate(fastapi, replace(app.settings, port=port))
        server = uvicorn.Server(uvicorn.Config(gate, log_config=None, server_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield Place(port)
        server.should_exit = server.force_exit = True
        thread.join(20)


@pytest.fixture
def outputs(app: App) -> Path:
    return app.settings.outputs_dir
