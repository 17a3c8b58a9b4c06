"""A real app with a real worker process, real SQLite and the scripted engine; requests come over ASGI."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.header_only import write_checkpoint
from tests.scripted_engine import ScriptedEngineFactory
from webui.api import mount_api
from webui.app import App, create_app
from webui.settings import Settings


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("api")
    write_checkpoint(folder / "models/checkpoints/one", title="One", defaults={"guidance_scale": 3.0})
    folders: dict[str, Any] = {f"{name}_dir": folder / name for name in ("data", "models", "outputs")}
    app = create_app(Settings(**folders), engine_factory=ScriptedEngineFactory())
    app.start()
    yield app
    app.close()


@pytest.fixture(scope="module")
def client(app: App) -> TestClient:
    fastapi = FastAPI()
    mount_api(fastapi, app)
    return TestClient(fastapi, raise_server_exceptions=False)
