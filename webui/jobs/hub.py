"""The hub: numbers everything that happens and hands it to whoever watches, now or after a lost connection.

A frame is a plain JSON dict {"n", "job", "kind", ...}. Of frames that replace each other (a job's previews, the
status) only the last is kept, so memory is bounded and no watcher can slow down a job. What the frames say comes from
the scheduler; what a newcomer is told first comes from the `snapshot` function.
"""

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any

Frame = dict[str, Any]
"""JSON values; `Any` because frames of different kinds have different fields."""

BUFFER = 2000
"""Frames kept for replay: hours of work, as a picture costs a handful beside its previews."""
BACKLOG = 500
"""Frames that wait for one watcher; one who is further behind gets a snapshot instead."""

REPLACEABLE = ("progress", "metrics", "status", "state", "gallery")
"""Kinds of which only the last per job matters."""
ENDING = ("done", "failed", "cancelled")
"""Kinds after which a job's previews are worth nothing."""


class _Line:
    """Frames in order, of replaceable ones only the last per job."""

    def __init__(self) -> None:
        self._frames: dict[int, Frame] = {}
        self._latest: dict[tuple[str, str | None], int] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Frame) -> None:
        if frame["kind"] in REPLACEABLE:
            key = (frame["kind"], frame["job"])
            self._frames.pop(self._latest.get(key, 0), None)
            self._latest[key] = frame["n"]
        elif frame["kind"] in ENDING:
            for kind in ("progress", "metrics"):
                self._frames.pop(self._latest.pop((kind, frame["job"]), 0), None)
        self._frames[frame["n"]] = frame

    def pop_first(self) -> Frame:
        frame = self._frames.pop(next(iter(self._frames)))
        key = (frame["kind"], frame["job"])
        if self._latest.get(key) == frame["n"]:
            del self._latest[key]
        return frame

    def drop_previews(self) -> None:
        for number in [n for n, frame in self._frames.items() if frame["kind"] == "progress"]:
            del self._frames[number]
        self._latest = {key: n for key, n in self._latest.items() if n in self._frames}

    def after(self, number: int) -> list[Frame]:
        return [frame for n, frame in self._frames.items() if n > number]

    def clear(self) -> None:
        self._frames.clear()
        self._latest.clear()


class Subscription:
    """What one watcher still has to be told. Iterate with `async for`, or call `get` from a plain thread."""

    def __init__(self, hub: "Hub", hello: Frame, missed: Iterable[Frame], *, snapshot_at: int | None) -> None:
        self._hub = hub
        self._hello: Frame | None = hello
        self._snapshot_at = snapshot_at
        """Number of the last frame that a snapshot has to make up for; None when none is needed."""
        self._line = _Line()
        for frame in missed:
            self._line.add(frame)
        self._changed = threading.Condition()
        self._closed = False
        self._wake: Callable[[], object] | None = None

    def get(self, timeout: float | None = None) -> Frame | None:
        """The next frame, waiting for it; None after `timeout` seconds or when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_frame(), timeout)
        return self._next()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Frame:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        with self._changed:
            self._wake = lambda: loop.call_soon_threadsafe(woken.set)
        while not self._closed:
            # A snapshot reads the store: in a thread, as the loop serves everyone.
            frame = await asyncio.to_thread(self._next) if self._snapshot_at is not None else self._next()
            if frame is not None:
                return frame
            await woken.wait()
            woken.clear()
        raise StopAsyncIteration

    def close(self) -> None:
        self._hub.unsubscribe(self)
        with self._changed:
            self._closed = True
            self._notify()

    def offer(self, frame: Frame) -> None:
        """Called by the hub for each new frame; never blocks."""
        with self._changed:
            self._line.add(frame)
            if len(self._line) > BACKLOG:
                self._line.drop_previews()
            if len(self._line) > BACKLOG:
                self._line.clear()
                self._snapshot_at = frame["n"]
            self._notify()

    def _has_frame(self) -> bool:
        return self._hello is not None or self._snapshot_at is not None or len(self._line) > 0

    def _next(self) -> Frame | None:
        with self._changed:
            if self._hello is not None:
                hello, self._hello = self._hello, None
                return hello
            if self._snapshot_at is None:
                return self._line.pop_first() if len(self._line) else None
            number, self._snapshot_at = self._snapshot_at, None
        # Taken now, it may already know what later frames tell again; that does no harm, and nothing is left out.
        return self._hub.take_snapshot(number)

    def _notify(self) -> None:
        self._changed.notify_all()
        if self._wake is not None:
            try:
                self._wake()
            except RuntimeError:  # the watcher's event loop is closed; nobody waits any more
                self._wake = None


class Hub:
    """Frames of this server's life, from number 1; `instance` tells one life from another."""

    def __init__(self, snapshot: Callable[[], Frame]) -> None:
        self.instance = secrets.token_hex(8)
        self._snapshot = snapshot
        self._last = 0
        self._forgotten = 0
        """Number of the newest frame that fell out of the buffer."""
        self._line = _Line()
        self._subscriptions: set[Subscription] = set()
        self._lock = threading.Lock()

    def publish(self, job_id: str | None, kind: str, **fields: Any) -> None:
        """Tell everyone. Call it after the store was changed, never before."""
        with self._lock:
            self._last += 1
            frame = {**fields, "n": self._last, "job": job_id, "kind": kind}
            self._line.add(frame)
            while len(self._line) > BUFFER:
                self._forgotten = self._line.pop_first()["n"]
            for subscription in self._subscriptions:
                subscription.offer(frame)

    def subscribe(self, since: int | None = None, instance: str | None = None) -> Subscription:
        """Watch from now on. With the last number seen of this `instance`: first what was missed since.

        The first frame is the hello; unless it says `replayed`, the second is a snapshot.
        """
        with self._lock:
            replayed = (
                since is not None and instance == self.instance and max(1, self._forgotten) <= since <= self._last
            )
            # Numbers grow along a connection, and a reader cut off right after the hello loses nothing.
            number = since if replayed and since is not None else 0
            hello = {"n": number, "job": None, "kind": "hello", "instance": self.instance, "replayed": replayed}
            missed = self._line.after(number) if replayed else []
            subscription = Subscription(self, hello, missed, snapshot_at=None if replayed else self._last)
            self._subscriptions.add(subscription)
            return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions.discard(subscription)

    def take_snapshot(self, number: int) -> Frame:
        """Everything a newcomer needs who is then told the frames after `number`."""
        return {**self._snapshot(), "n": number, "job": None, "kind": "snapshot"}

    @property
    def last(self) -> int:
        """Number of the newest frame."""
        with self._lock:
            return self._last

    @property
    def watchers(self) -> int:
        """How many are being told."""
        with self._lock:
            return len(self._subscriptions)

    def close(self) -> None:
        """End every subscription."""
        with self._lock:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()
