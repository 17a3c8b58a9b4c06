"""The server's line to the pages of a context, for journeys in which something else is told than what happened."""

import json
import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, WebSocketRoute

Frame = dict[str, Any]


class Line:
    """`rewrite` may change a frame or keep it back (None)."""

    def __init__(self, context: BrowserContext, rewrite: Callable[[Frame], Frame | None]) -> None:
        self._rewrite = rewrite
        context.route_web_socket(re.compile("/api/v1/events"), self._connect)

    def _connect(self, page: WebSocketRoute) -> None:
        self._page = page
        page.connect_to_server().on_message(self._pass)

    def _pass(self, message: str | bytes) -> None:
        frame = self._rewrite(json.loads(message))
        if frame is not None:
            self.tell(frame)

    def tell(self, frame: Frame) -> None:
        self._page.send(json.dumps(frame))
