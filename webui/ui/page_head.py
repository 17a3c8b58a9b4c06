"""Puts our script and styles into the head of Gradio's page as it goes out.

Gradio's own `head=` is added by its script, after the first paint and after the language has been chosen.
"""

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = (
    b'<script src="easel/early.js"></script>'
    b'<link rel="stylesheet" href="easel/easel.css">'
    b'<link rel="stylesheet" href="easel/canvas.css">'
    b'<link rel="stylesheet" href="easel/extras.css">'
    b'<link rel="stylesheet" href="easel/gallery.css">'
    b'<link rel="stylesheet" href="easel/train.css">'
    b'<link rel="stylesheet" href="easel/palette.css">'
    b'<link rel="stylesheet" href="easel/extensions.css">'
    b'<link rel="stylesheet" href="easel/prompts.css">'
    b'<link rel="stylesheet" href="easel/queue.css">'
    b'<link rel="stylesheet" href="easel/scripts.css">'
    b'<script type="module" src="easel/easel.js"></script>'
)
BASE = re.compile(rb"<base [^>]*>")
"""Ours goes right behind it: before it, relative addresses mean something else."""


class PageHead:
    """Wraps the mounted Gradio app; every answer but the page itself passes untouched."""

    def __init__(self, gradio_app: ASGIApp, extra: bytes = b"") -> None:
        """`extra` comes after `HEAD`: scripts and styles of extensions."""
        self.gradio_app = gradio_app
        self._extra = extra

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_page(scope):
            await self.gradio_app(scope, receive, _Insertion(send, HEAD + self._extra))
        else:
            await self.gradio_app(scope, receive, send)


class _Insertion:
    """An ASGI `send` that holds the answer back until it is complete and adds the head."""

    def __init__(self, send: Send, head: bytes) -> None:
        self._send = send
        self._head = head
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = BASE.sub(lambda base: base[0] + self._head, self._body, count=1)
        MutableHeaders(raw=self._start["headers"])["content-length"] = str(len(body))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body})


def is_page(scope: Scope) -> bool:
    """Whether somebody opens the page itself."""
    return scope["type"] == "http" and scope["method"] == "GET" and _path_inside_mount(scope) in ("", "/")


def _path_inside_mount(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
