"""The page of a real app whose engine is never started."""

from collections.abc import Iterator
from typing import Any

import pytest

from webui.app import App, create_app
from webui.settings import Settings
from webui.ui.gradio_setup import prepare


@pytest.fixture(scope="session", autouse=True)
def quiet_gradio(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As the server does it, before anything imports gradio."""
    prepare(tmp_path_factory.mktemp("gradio"))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Nothing is ever asked of it but its page."""
    home = tmp_path_factory.mktemp("app")
    folders: dict[str, Any] = {f"{name}_dir": home / name for name in ("data", "models", "outputs")}
    for folder in folders.values():
        folder.mkdir()
    app = create_app(Settings(**folders))
    yield app
    app.close()
