"""The page of a real app whose engine is never started."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webui.app import App, create_app
from webui.settings import Settings
from webui.ui.gradio_setup import prepare


@pytest.fixture(scope="session", autouse=True)
def quiet_gradio(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As the server does it, before anything imports gradio."""
    prepare(tmp_path_factory.mktemp("gradio"))


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    folders: dict[str, Any] = {f"{name}_dir": tmp_path / name for name in ("data", "models", "outputs")}
    for folder in folders.values():
        folder.mkdir()
    app = create_app(Settings(**folders))
    yield app
    app.close()
