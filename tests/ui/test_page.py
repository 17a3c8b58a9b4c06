"""The page as it leaves the server, without a browser."""

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from webui.api import mount_api
from webui.app import App
from webui.settings import ROOT
from webui.ui import page
from webui.ui.assets_router import ASSETS, assets_router

MARKUP_SINKS = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    fastapi = FastAPI()
    mount_api(fastapi, app)
    fastapi.include_router(page.assets_router())
    page.mount(fastapi, app)
    with TestClient(fastapi) as client:
        yield client


def test_the_page_loads_our_script_before_gradios_own(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["content-length"])
    assert answer.text.index("easel/early.js") < answer.text.index("./assets/index-")
    assert answer.text.count("easel/easel.css") == 1


def test_the_page_opens_without_any_checkpoint(client: TestClient) -> None:
    assert "setting_sd_model_checkpoint" in client.get("/").text


def test_nothing_on_the_page_comes_from_another_host(client: TestClient) -> None:
    ours = client.get("/theme.css").text + "".join(path.read_text("utf-8") for path in ASSETS.iterdir())
    assert set(re.findall(r"https?://[^\s'\"/)]+", ours)) <= {"http://www.w3.org"}


@pytest.mark.row("F1", "F2")
def test_gradio_checks_which_files_a_request_names(client: TestClient, app: App) -> None:
    """Gradio 6 skips that check on a mounted app that was never launched, and then serves any file."""
    fastapi = client.app
    assert isinstance(fastapi, FastAPI)
    mounted = fastapi.routes[-1].app  # type: ignore[attr-defined]
    assert mounted.app.gradio_app.get_blocks().has_launched is True
    for path in (
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=webui/settings.py",
        "/gradio_api/file=../../etc/passwd",
    ):
        assert client.get(path).status_code in (403, 404), path


@pytest.mark.row("U12")
def test_no_python_runs_behind_any_control(app: App) -> None:
    blocks = page.build_page(app)
    assert [event["js"] for event in blocks.config["dependencies"] if event["backend_fn"]] == []
    assert len(blocks.config["dependencies"]) >= 8


@pytest.mark.row("U12")
def test_forged_events_reach_no_handler(client: TestClient) -> None:
    forged = {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}] * 13, "session_hash": "x"}
    for number in range(8):
        answer = client.post("/gradio_api/run/predict", json={**forged, "fn_index": number})
        assert "root:" not in answer.text
        assert answer.status_code >= 400


def test_importing_gradio_writes_no_source_files(client: TestClient) -> None:
    import gradio.component_meta as meta

    assert meta.create_or_modify_pyi(object, "x", []) is None
    assert list((ROOT / "webui").rglob("*.pyi")) == []


def test_assets_have_types_and_are_asked_for_again(client: TestClient) -> None:
    for name, media_type in {
        "easel.js": "text/javascript; charset=utf-8",
        "easel.css": "text/css; charset=utf-8",
        "favicon.svg": "image/svg+xml",
        "languages/ko.json": "application/json",
    }.items():
        answer = client.get(f"/easel/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert answer.headers["cache-control"] == "no-cache"
        again = client.get(f"/easel/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "../page.py", "%2e%2e/page.py", "languages/../../page.py", ""])
def test_nothing_but_the_assets_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/easel/{name}").status_code == 404


@pytest.mark.row("M4")
def test_the_script_never_parses_markup() -> None:
    wrong = [path.name for path in ASSETS.glob("*.js") if MARKUP_SINKS.search(path.read_text("utf-8"))]
    assert wrong == []


@pytest.mark.row("M4")
def test_an_element_takes_plain_words_only() -> None:
    from webui.ui.result import element

    with pytest.raises(ValueError, match="plain words"):
        element("easel-result", kind="${alert(1)}")


def test_the_routers_prefix_does_not_hide_gradios_own_files(client: TestClient) -> None:
    script = re.search(r"\./(assets/index-[^\"]+\.js)", client.get("/").text)
    assert script
    assert client.get(f"/{script[1]}").status_code == 200
    assert {route.path for route in assets_router().routes} == {"/easel/{name:path}"}  # type: ignore[attr-defined]
