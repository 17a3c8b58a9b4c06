"""What extensions put on the page: controls of options, panels, scripts; and a page that stands when one fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.extensions.builder import UI_EXAMPLE, trust
from tests.extensions.test_desk import light
from webui.app import App, create_app
from webui.settings import Settings
from webui.ui import page

TAB = "\n\nimport gradio as gr\n\ndef tab(context):\n    gr.Textbox(context.name, elem_id='own_tab')\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("data", "models", "outputs", "extensions"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def app(home: Path) -> Iterator[App]:
    folders = {f"{name}_dir": home / name for name in ("data", "models", "outputs", "extensions")}
    app = create_app(Settings(**folders))  # type: ignore[arg-type]
    yield app
    app.close()


def plant(home: Path, name: str, **files: str) -> Path:
    folder = light(home / "extensions" / name, **files)
    trust(home, name)
    return folder


def opened(app: App) -> TestClient:
    fastapi = FastAPI()
    page.mount(fastapi, app)
    return TestClient(fastapi)


def ids(client: TestClient) -> set[str]:
    """elem_id of everything on the page as the next reader gets it."""
    assert client.get("/").status_code == 200
    return {part["props"].get("elem_id") for part in client.get("/config").json()["components"]}


def test_the_page_gets_the_controls_panel_and_tab_of_an_extension_when_it_is_enabled(app: App, home: Path) -> None:
    with opened(app) as client:
        assert "txt2img_film_grain_amount" not in ids(client)
        folder = plant(home, "film_grain", ui=UI_EXAMPLE + TAB)
        (folder / "assets").mkdir()
        (folder / "assets" / "grain.js").write_text("// grain", "utf-8")
        trust(home, "film_grain")
        for kind in ("txt2img", "img2img"):
            assert {f"{kind}_film_grain_amount", f"{kind}_film_grain_much", "own_tab"} <= ids(client)
        assert 'src="extensions/film_grain/assets/grain.js?' in client.get("/").text
        assert client.get("/extensions/film_grain/assets/grain.js").text == "// grain"
        assert client.get("/extensions/film_grain/hello").json() == {"name": "film_grain"}
        for path in ("assets/../extension.toml", "assets/%2e%2e/engine.py", "extension.toml", "nothing"):
            assert client.get(f"/extensions/film_grain/{path}").status_code == 404, path
        app.extensions.disable("film_grain")
        assert "txt2img_film_grain_amount" not in ids(client)
        assert client.get("/extensions/film_grain/hello").status_code == 404


@pytest.mark.parametrize("body", ["raise KeyError('x')", "import sys; sys.exit(1)"])
def test_a_panel_that_fails_leaves_the_page_standing_and_is_told(body: str, app: App, home: Path) -> None:
    plant(home, "broken", ui=f"def panel(panel):\n    {body}")
    plant(home, "film_grain", ui=UI_EXAMPLE)
    with opened(app) as client:
        assert {"txt2img_generate", "txt2img_broken_amount", "txt2img_film_grain_much"} <= ids(client)
    assert "its ui.py ended with" in app.extensions.card("broken")["failures"][0]["text"]


def test_a_user_interface_that_cannot_be_imported_disables_its_extension_alone(app: App, home: Path) -> None:
    plant(home, "broken", ui="import no_such_package")
    plant(home, "film_grain", ui=UI_EXAMPLE)
    with opened(app) as client:
        assert {"txt2img_generate", "txt2img_film_grain_much"} <= ids(client)
    assert app.extensions.card("broken")["enabled"] is False
    assert "no_such_package" in app.extensions.card("broken")["problem"]["text"]
