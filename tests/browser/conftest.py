"""One server and one Chromium for all journeys; a fresh context, as of a new person, for each."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.browser.easel_page import PATIENCE, EaselPage
from tests.browser.server import Server
from webui.chromium import ARGUMENTS

OpenPage = Callable[..., EaselPage]


# For this package and no longer: Playwright keeps an event loop running in this thread as long as it is open, and other
# tests want their own.


@pytest.fixture(scope="package")
def models_dir(tiny_models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint, and the same again with recommendations of its own."""
    folder = tmp_path_factory.mktemp("browser-models")
    shutil.copytree(tiny_models_dir / "checkpoints" / "tiny", folder / "checkpoints" / "tiny")
    shutil.copytree(tiny_models_dir / "checkpoints" / "tiny", folder / "checkpoints" / "wide")
    card = {"title": "Wide", "defaults": {"width": 128, "guidance_scale": 3.0}}
    (folder / "checkpoints" / "wide" / "easel.json").write_text(json.dumps(card), "utf-8")
    return folder


@pytest.fixture(scope="package")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), models_dir)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS, "--disable-quic"])
        yield browser
        browser.close()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes contexts (a person's browser each), with Playwright's options; closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> BrowserContext:
            defaults = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US"}
            context = browser.new_context(**{**defaults, **options})
            stack.callback(context.close)
            return context

        yield make


@pytest.fixture
def open_page(server: Server, new_context: Callable[..., BrowserContext]) -> Iterator[OpenPage]:
    """Opens Easel in a new context, or in the one given. At the end no page may have anything to complain about."""
    pages: list[EaselPage] = []

    def open_one(context: BrowserContext | None = None, *, url: str = server.url, **options: Any) -> EaselPage:
        pages.append(EaselPage(context or new_context(**options), url))
        return pages[-1]

    yield open_one
    complaints = [complaint for page in pages for complaint in page.complaints]
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def easel(open_page: OpenPage) -> EaselPage:
    """A fresh page."""
    return open_page()
