"""/events: everything that happens, over one WebSocket per page, replayable from the last frame seen."""

import asyncio
import contextlib

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from webui.app import App
from webui.errors import CannotStore
from webui.jobs.hub import Subscription


def routes(app: App) -> APIRouter:
    router = APIRouter(tags=["events"])

    @router.websocket("/events")
    async def events(socket: WebSocket, since: int | None = None, instance: str | None = None) -> None:
        await socket.accept()
        subscription = app.hub.subscribe(since, instance)
        sending = asyncio.create_task(_send(socket, subscription))
        try:
            await _answer_pings(socket)
        finally:
            subscription.close()
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sending

    return router


async def _send(socket: WebSocket, subscription: Subscription) -> None:
    """Whatever ends it also closes the socket, so that the page comes back and asks again."""
    try:
        async for frame in subscription:
            await socket.send_json(frame)
    except CannotStore:
        await socket.close(1011)
    else:
        await socket.close(1001)  # the hub was closed: the server is going away


async def _answer_pings(socket: WebSocket) -> None:
    """Until the page goes away. It says nothing but ping; anything else is not answered."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            if await socket.receive_text() == '{"kind":"ping"}':
                await socket.send_json({"kind": "pong"})
