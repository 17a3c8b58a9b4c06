"""A small client of /api/v1 for programs: submit, watch, wait, fetch. The standard library and Easel's own words only.

    easel = Client("http://127.0.0.1:7860")
    job = easel.wait(easel.submit("txt2img", {"prompt": "a red apple", "seed": 7}))
    Path("apple.png").write_bytes(easel.content(job.pictures[0]))

Whatever the server refuses is raised as `Refused`, with the server's own sentence. docs/api.md has the whole story.
"""

import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from webui.errors import Refused, Unreachable
from webui.events import JobState
from webui.sentences import Sentence

LOOK_AGAIN = 1.0
"""Seconds before a broken stream of events is opened again."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A finished picture; `Client.content` fetches it."""

    id: str
    number: int
    seed: int
    width: int
    height: int
    url: str
    parameters: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Picture":
        return cls(**{name: told[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class RemoteJob:
    """A job as it was when the server told of it."""

    id: str
    kind: str
    state: JobState
    request: Mapping[str, Any]
    pictures: tuple[Picture, ...]
    warnings: tuple[str, ...]
    error: Sentence | None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "RemoteJob":
        return cls(
            id=told["id"],
            kind=told["kind"],
            state=JobState(told["state"]),
            request=told["request"],
            pictures=tuple(Picture.of(picture) for picture in told["pictures"]),
            warnings=tuple(warning["text"] for warning in told["warnings"]),
            error=Sentence.from_json(told["error"]) if told["error"] else None,
        )


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One thing that happened: `kind` is job, queued, started, progress, image, warning, done, failed, cancelled, …"""

    id: str
    """Given back as `after`, the events go on behind this one."""
    kind: str
    values: Mapping[str, Any]


class Client:
    """Talks to one server. Safe to use from several threads; keeps no connection open."""

    def __init__(self, address: str = "http://127.0.0.1:7860", *, token: str = "", timeout: float = 60.0) -> None:
        """`token` where the server listens to the network; `timeout` in seconds, of each answer's silence."""
        self.address = address.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout
        # A proxy of the environment would be asked for 127.0.0.1, which is itself there.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    # Jobs.

    def submit(
        self, kind: str, values: Mapping[str, Any], *, styles: Sequence[str] = (), key: str | None = None
    ) -> RemoteJob:
        """Hand a job in; it survives whatever happens once this returns. The same `key` again gives the same job."""
        body = {"kind": kind, "values": dict(values), "styles": list(styles), "key": key}
        return RemoteJob.of(self._json("POST", "/jobs", body))

    def job(self, job_id: str) -> RemoteJob:
        return RemoteJob.of(self._json("GET", f"/jobs/{quote(job_id, safe='')}"))

    def jobs(self, *, limit: int = 50) -> list[RemoteJob]:
        """The newest first."""
        return [RemoteJob.of(told) for told in self._json("GET", f"/jobs?{urlencode({'limit': limit})}")["jobs"]]

    def tell(self, job_id: str, what: str) -> RemoteJob:
        """`what`: cancel, skip, pause or resume."""
        return RemoteJob.of(self._json("POST", f"/jobs/{quote(job_id, safe='')}/{quote(what, safe='')}"))

    def wait(self, job: RemoteJob | str, timeout: float | None = None) -> RemoteJob:
        """The job when it is over. Raises `Refused` when it failed, TimeoutError after `timeout` seconds."""
        job_id = job if isinstance(job, str) else job.id
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            for _ in self._events(job_id, "", deadline):
                _left(deadline)
        except TimeoutError:
            raise TimeoutError(f"job {job_id} is not over after {timeout} s") from None
        ended = self.job(job_id)
        if ended.error is not None:
            raise Refused(500, "JobFailed", ended.error)
        return ended

    def events(self, job_id: str, after: str = "") -> Iterator[Frame]:
        """What happens to a job until it is over: first the job itself. A lost connection is taken up again."""
        return self._events(job_id, after, None)

    def _events(self, job_id: str, after: str, deadline: float | None) -> Iterator[Frame]:
        """Raises TimeoutError after `deadline`, also while nothing but signs of life arrives."""
        while True:
            left = _left(deadline)
            try:
                path = f"/jobs/{quote(job_id, safe='')}/events"
                with self._open("GET", path, after=after, timeout=left) as stream:
                    for frame in _frames(stream, deadline):
                        after = frame.id
                        yield frame
                        if _is_last(frame):
                            return
            except (OSError, HTTPException):  # it broke in the middle; `_open` tells who cannot be reached at all
                pass
            except Unreachable:
                _left(deadline)
                raise
            time.sleep(min(LOOK_AGAIN, _left(deadline)))

    # Pictures.

    def content(self, picture: Picture) -> bytes:
        """The PNG."""
        with self._open("GET", picture.url.removeprefix("/api/v1")) as answer:
            return bytes(answer.read())

    def upload(self, picture: bytes | Path) -> str:
        """Keep a picture on the server; the answer is the id that img2img's `image` and a `mask` take."""
        content = picture if isinstance(picture, bytes) else picture.read_bytes()
        with self._open("POST", "/inputs", content, "application/octet-stream") as answer:
            return str(json.load(answer)["id"])

    # The server.

    def health(self) -> str:
        """Its version. Raises `Unreachable`."""
        return str(self._json("GET", "/health")["version"])

    def checkpoints(self) -> list[str]:
        """Names of those that can be used."""
        listed = self._json("GET", "/checkpoints")["checkpoints"]
        return [told["name"] for told in listed if told["problem"] is None]

    def _json(self, method: str, path: str, body: object = None) -> Any:  # JSON of many shapes
        content = None if body is None else json.dumps(body).encode()
        with self._open(method, path, content, "application/json") as answer:
            return json.load(answer)

    def _open(
        self, method: str, path: str, content: bytes | None = None, kind: str = "", *, after: str = "",
        timeout: float = math.inf,
    ) -> HTTPResponse:  # fmt: skip
        """`timeout` only shortens the client's own. Raises `Refused` with the server's sentence, or `Unreachable`."""
        headers = self._headers | ({"Content-Type": kind} if content is not None else {})
        if after:
            headers["Last-Event-ID"] = after
        request = urllib.request.Request(f"{self.address}/api/v1{path}", content, headers, method=method)
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=min(self._timeout, timeout))
        except urllib.error.HTTPError as error:
            raise _refused(error) from error
        except (OSError, HTTPException) as error:
            raise Unreachable(self.address, str(error)) from error
        return answer


def _refused(answer: urllib.error.HTTPError) -> Refused:
    try:
        told = json.load(answer)["error"]
        return Refused(answer.code, told["kind"], Sentence.from_json(told))
    except (ValueError, KeyError, TypeError):  # something that is no Easel answered
        return Refused(answer.code, "HttpError", Sentence("The server says: {reason}.", reason=str(answer.reason)))


def _left(deadline: float | None) -> float:
    """Seconds until then. Raises TimeoutError when there are none."""
    left = math.inf if deadline is None else deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _frames(stream: HTTPResponse, deadline: float | None) -> Iterator[Frame]:
    """The events of a text/event-stream."""
    fields: dict[str, str] = {}
    for line in stream:
        _left(deadline)
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield Frame(id=fields.get("id", ""), kind=fields.get("event", ""), values=json.loads(fields["data"]))
            fields = {}


def _is_last(frame: Frame) -> bool:
    state = frame.values["value"]["state"] if frame.kind == "job" else frame.kind
    return any(state == ending.value for ending in JobState if ending.is_final)
