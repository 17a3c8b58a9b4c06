"""The server process: one ASGI application behind one gate, on one port. Never imports torch.

Binds the port first, starts the engine process next and only then imports Gradio, so that the two slow imports
(torch there, Gradio here) run side by side. Where there are few cores they would take them from each other and from
the browser: there the engine waits until the first page is drawn.
"""

import logging
import os
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from webui.app import App, create_app
from webui.garbage import nothing_collected
from webui.gate import Gate
from webui.running import announced
from webui.settings import Settings
from webui.startup import bind, check_folders, url_of

log = logging.getLogger(__name__)

ENOUGH_CORES = 4
"""With fewer the engine waits for the first page: one for Gradio, one for torch, two for a browser."""
PAGE_SECONDS = 3
"""But not longer than this: perhaps nobody opens a page."""
STOP_SECONDS = 5
"""After this a stop that hangs is cut short."""
GRACE_SECONDS = 2
"""How long open connections may take to end when the server stops."""
MESSAGE_BYTES = 64 * 2**10
"""Largest WebSocket message from a page; pages send pings only."""

Announce = Callable[[str], None]
"""Shows a line on the console and nowhere else: it may hold a secret."""


def build_asgi(app: App, announce_link: Announce = lambda link: None) -> ASGIApp:
    """API, assets and page in one application, the gate in front. `announce_link` gets each new one-time link token."""
    from webui.api import mount_api
    from webui.ui import page

    fastapi = FastAPI(title="Easel", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    mount_api(fastapi, app)
    fastapi.include_router(page.assets_router())
    page.mount(fastapi, app)
    return Gate(fastapi, app.settings, announce_link)


def serve(settings: Settings, announce: Announce) -> None:
    """Run until a signal ends it. Raises `CannotStart`."""
    listener = bind(settings)
    with listener:
        settings = replace(settings, port=listener.getsockname()[1])
        check_folders(settings)
        app = create_app(settings)
        app.start(engines_wait=_cores() < ENOUGH_CORES)
        try:
            with nothing_collected():
                asgi = build_asgi(app, lambda link: _show_link(settings, link, announce))
            config = uvicorn.Config(
                asgi,
                log_config=None,
                access_log=False,
                server_header=False,
                ws_max_size=MESSAGE_BYTES,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
            with announced(settings):
                _Server(config, lambda: _ready(app, announce)).run(sockets=[listener])
        finally:
            app.close()
            log.info("stopped")


def _show_link(settings: Settings, link: str, announce: Announce) -> None:
    if settings.listen:
        announce(f"Open Easel in a browser, once: {url_of(settings)}/?token={link}")


def _ready(app: App, announce: Announce) -> None:
    settings = app.settings
    _later(PAGE_SECONDS, app.let_engines_start)
    address = url_of(settings)
    announce(f"Easel is at {address}    (stop with Ctrl+C)")
    announce(f"Operator token, for installing and enabling extensions: {settings.operator_token}")
    if settings.safe_mode:
        announce("Safe mode: no extension runs.")
    if settings.listen:
        announce(f"Programs use the header  Authorization: Bearer {settings.token}")
    elif settings.open_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready; the first signal stops it within STOP_SECONDS, the second one at once."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        yield
        # After a stop the handlers stay: closing the application may take a moment too.
        if not self.should_exit:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(130)
        log.info("stopping; once more to stop at once")
        self.should_exit = True
        _later(STOP_SECONDS, lambda: os._exit(1))


def _later(seconds: float, action: Callable[[], None]) -> None:
    """Unless the process has ended by then."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
