"""/events: everything that happens, replayable from the last frame seen.

A page holds one WebSocket; programs read server-sent events (WHATWG HTML, 9.2), of everything or of one job. The id of
an event is "<instance>-<number>": sent back as Last-Event-ID it brings what was missed.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Header, WebSocket
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from webui.app import App
from webui.errors import CannotStore
from webui.events import JobState
from webui.jobs.hub import Frame, Subscription

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent: whoever has gone is noticed by that."""
EVENT_ID = re.compile(r"([0-9a-f]{16})-(\d{1,15})")
ENDINGS = frozenset(state.value for state in JobState if state.is_final)
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
Frames = AsyncGenerator[Frame, None]
LastEvent = Annotated[str, Header(alias="Last-Event-ID", max_length=1000)]


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

    @router.get("/events/stream", response_class=StreamingResponse, responses=STREAM)
    async def stream(last_event: LastEvent = "") -> StreamingResponse:
        """Everything that happens, for as long as the connection lasts."""
        return _streamed(app, _everything(app, last_event))

    @router.get("/jobs/{job_id}/events", response_class=StreamingResponse, responses=STREAM)
    async def of_job(job_id: str, last_event: LastEvent = "") -> StreamingResponse:
        """What happens to one job, to its end: first `job`, the job as it is now, then its frames."""
        job = await asyncio.to_thread(app.job, job_id)  # raises here, while there can still be a 404
        # Of what is over nothing more will be told: then the job itself says everything.
        return _streamed(app, _of_job(app, job_id, "" if job["state"] in ENDINGS else last_event))

    return router


def _streamed(app: App, frames: Frames) -> StreamingResponse:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_written(app.hub.instance, frames), media_type="text/event-stream", headers=headers)


def _watch(app: App, last_event: str) -> Subscription:
    """From the last event that the client has seen, if this server knows it, else from now on."""
    found = EVENT_ID.fullmatch(last_event)
    return app.hub.subscribe(int(found[2]), found[1]) if found else app.hub.subscribe()


async def _everything(app: App, last_event: str) -> Frames:
    with contextlib.closing(_watch(app, last_event)) as subscription:
        async for frame in subscription:
            yield frame


async def _of_job(app: App, job_id: str, last_event: str) -> Frames:
    """Ends with the job."""
    with contextlib.closing(_watch(app, last_event)) as subscription:
        async for frame in subscription:
            if frame["kind"] == "snapshot":  # of all jobs; here it is about one
                job = await asyncio.to_thread(app.job, job_id)
                yield {"n": frame["n"], "job": job_id, "kind": "job", "value": job}
                if job["state"] in ENDINGS:
                    return
            elif frame["job"] == job_id:
                yield frame
                if frame["kind"] in ENDINGS:
                    return


async def _written(instance: str, frames: Frames) -> AsyncGenerator[str, None]:
    """As lines of text/event-stream."""
    waiting: asyncio.Future[Frame] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(frames))
            done, _ = await asyncio.wait({waiting}, timeout=KEEP_ALIVE)
            if not done:
                yield ": still here\n\n"
                continue
            frame, waiting = waiting.result(), None
            yield f"id: {instance}-{frame['n']}\nevent: {frame['kind']}\ndata: {json.dumps(frame)}\n\n"
    except (StopAsyncIteration, CannotStore):
        return
    finally:
        if waiting is not None:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, CannotStore):
                await waiting
        await frames.aclose()


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
