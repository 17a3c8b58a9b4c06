"""The network: other web sites, guessers and bad clients reach nothing and stop nothing."""

import contextlib
import json
import logging
import re
import socket
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from tests.security.conftest import HOME, Place
from webui.app import App
from webui.gate import Gate
from webui.settings import Settings

FOREIGN = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain")


def unsafe_routes(client: TestClient) -> Iterator[tuple[str, str]]:
    """(method, path) of everything that can change something."""
    for path, methods in client.get("/api/v1/openapi.json").json()["paths"].items():
        for method in methods:
            if method not in ("get", "head", "options"):
                yield method, re.sub(r"\{\w+\}", "nothing", path)


@pytest.mark.row("N3")
@pytest.mark.parametrize("content_type", FORMS)
def test_a_form_of_another_site_reaches_no_route(client: TestClient, app: App, content_type: str) -> None:
    before = app.hub.last
    routes = list(unsafe_routes(client))
    assert len(routes) > 40
    body = b"prompt=x"
    for method, path in routes:
        answer = client.request(method, path, content=body, headers={"content-type": content_type, **FOREIGN})
        assert answer.status_code == 403, path
    for number in range(8):
        answer = client.post(
            f"/gradio_api/run/{number}", content=body, headers={"content-type": content_type, **FOREIGN}
        )
        assert answer.status_code == 403
    assert app.hub.last == before, "nothing has happened"


@pytest.mark.row("N3")
@pytest.mark.parametrize("content_type", FORMS)
def test_a_form_is_no_request_even_where_it_may_come_from(client: TestClient, content_type: str) -> None:
    for path in ("/api/v1/jobs", "/sdapi/v1/txt2img", "/api/v1/gallery/trash"):
        answer = client.post(path, content=b'{"ids": ["x"]}', headers={"content-type": content_type})
        assert answer.status_code in (415, 422), path


@pytest.mark.row("N2")
def test_a_stream_of_events_is_for_the_own_page_alone(client: TestClient) -> None:
    for origin in ("null", "https://evil.example", "http://localhost:1", "http://127.0.0.1:7861"):
        assert client.get("/api/v1/events/stream", headers={"origin": origin}).status_code == 403


@pytest.mark.row("N11")
def test_no_secret_is_written_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    links: list[str] = []

    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    settings = Settings(listen=True, host="0.0.0.0", token="the-secret-token")
    client = TestClient(Gate(nothing, settings, links.append), base_url=HOME)
    with caplog.at_level(logging.DEBUG):
        first = links[0]
        assert client.get(f"/?token={first}").status_code == 200
        client.get(f"/?token={first}")
        client.get("/api/v1/status", headers={"authorization": "Bearer the-secret-tokem"})
    own = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("webui"))
    for secret in (first, links[-1], "the-secret"):
        assert secret not in own
    assert "the-secret" not in repr(settings)


@pytest.mark.row("N13")
def test_ids_of_jobs_and_pictures_are_not_to_be_guessed(client: TestClient) -> None:
    ids = {client.post("/api/v1/jobs", json={"values": {"num_inference_steps": 1}}).json()["id"] for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch(r"[0-9a-f]{20,}|[A-Za-z0-9_-]{14,}", job) for job in ids), ids


@pytest.mark.row("N14")
def test_silent_and_watching_connections_keep_nobody_waiting(place: Place) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(200):
            silent = stack.enter_context(place.connect())
            silent.sendall(
                b"G" if number % 2 else f"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1:{place.port}\r\n".encode()
            )
        for _ in range(30):
            watching = stack.enter_context(place.connect())
            watching.sendall(_get("/api/v1/events/stream", place.port))
        began = time.perf_counter()
        assert _status(place, _get("/api/v1/health", place.port)) == 200
        assert time.perf_counter() - began < 20, "sockets and threads are not used up"


@pytest.mark.row("N15")
@pytest.mark.parametrize(
    "headers",
    [
        b"Cookie: " + b"x" * 2**20 + b"\r\n",
        b"".join(b"X-%d: y\r\n" % number for number in range(10_000)),
        b"Cookie: \xff\xfe\xc0\r\n" + b"X: \x00\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
    ],
)
def test_bombs_in_headers_are_refused_and_the_server_goes_on(place: Place, headers: bytes) -> None:
    with contextlib.suppress(OSError):  # it may hang up while it is still being talked to
        status = _status(place, _get("/api/v1/health", place.port, headers))
        assert status == 0 or 400 <= status < 500
    assert _status(place, _get("/api/v1/health", place.port)) == 200


@pytest.mark.row("N18")
def test_addresses_in_requests_are_never_fetched(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the server opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    address = "http://example.com/x.png"
    asked = [
        client.post("/sdapi/v1/img2img", json={"init_images": [address]}),
        client.post("/sdapi/v1/png-info", json={"image": address}),
        client.post("/sdapi/v1/extra-single-image", json={"image": address}),
        client.post("/api/v1/jobs", json={"kind": "img2img", "values": {"image": address}}),
        client.get(f"/gradio_api/file={address}"),
    ]
    assert all(400 <= answer.status_code < 500 for answer in asked), [answer.status_code for answer in asked]


@pytest.mark.row("A11")
def test_a_thousand_questions_about_progress_are_all_answered(place: Place) -> None:
    ask = _get("/sdapi/v1/progress", place.port).replace(b"Connection: close\r\n", b"")
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        talking = [stack.enter_context(place.connect()) for _ in range(50)]
        for connection in talking:
            connection.sendall(ask * 20)
        answers = 0
        for connection in talking:
            told = b""
            while told.count(b'"progress"') < 20:
                told += connection.recv(65536)
            answers += told.count(b"HTTP/1.1 200")
    assert answers == 1000
    assert time.perf_counter() - began < 60


def _get(path: str, port: int, headers: bytes = b"") -> bytes:
    start = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n".encode()
    return start + headers + b"\r\n"


def _status(place: Place, asked: bytes) -> int:
    """Of the answer; 0 when there is none."""
    with place.connect() as connection:
        connection.sendall(asked)
        begin = connection.recv(65536)
    found = re.match(rb"HTTP/1.1 (\d+)", begin)
    return int(found[1]) if found else 0


def test_the_answer_of_health_is_small_and_says_that_the_server_lives(client: TestClient) -> None:
    assert json.loads(client.get("/api/v1/health").content)["status"] == "ok"
