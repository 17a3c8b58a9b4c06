"""Builds the page anew when another set of extensions is enabled; open pages keep working until they are reloaded.

Knows nothing of what is on the page.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from webui.ui.page_head import is_page

if TYPE_CHECKING:
    import gradio as gr


class Renewed:
    """An ASGI app in whose place another one is put when `look` sees something else at the next opening of the page."""

    def __init__(
        self, app: ASGIApp, look: Callable[[], object], build: Callable[[], "tuple[gr.Blocks, ASGIApp]"]
    ) -> None:
        self.app = app
        self._look, self._build = look, build
        self._seen = look()
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_page(scope):
            await self._renew()
        await self.app(scope, receive, send)

    async def _renew(self) -> None:
        async with self._lock:
            seen = await asyncio.to_thread(self._look)
            if seen == self._seen:
                return
            page, app = await asyncio.to_thread(self._build)
            page.run_startup_events()
            await page.run_extra_startup_events()
            self.app, self._seen = app, seen
