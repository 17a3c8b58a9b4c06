"""The gate, in front of a small ASGI application that notes what reaches it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from webui.gate import BODY_BYTES, UPLOAD_BYTES, Gate
from webui.logins import WrongLogins
from webui.settings import Settings

HOME = "http://127.0.0.1:7860"
EVENTS = "ws://127.0.0.1:7860/api/v1/events"
TOKEN = "the-token-of-this-test"
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class World:
    """An application behind a gate, and what became of it."""

    reached: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    gate: Gate = field(init=False)

    def client(self, base: str = HOME, **kwargs: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.gate), base_url=base, **kwargs)

    def ask(self, method: str = "GET", path: str = "/", *, base: str = HOME, **kwargs: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            async with self.client(base) as client:
                return await client.request(method, path, **kwargs)

        return asyncio.run(once())


def make_world(**settings: Any) -> World:
    world = World()

    async def anything(request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            return PlainTextResponse("half a body", status_code=400)
        world.reached.append(request.url.path)
        return PlainTextResponse(str(len(body)))

    async def socket(websocket: WebSocket) -> None:
        world.reached.append("websocket")
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    every = Route("/{path:path}", anything, methods=["GET", *UNSAFE])
    app = Starlette(routes=[WebSocketRoute("/api/v1/events", socket), every])
    world.gate = Gate(app, Settings(token=TOKEN, **settings), world.links.append)
    return world


@pytest.fixture
def local() -> World:
    return make_world()


@pytest.fixture
def listening() -> World:
    return make_world(listen=True, host="0.0.0.0")


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1:7860", "[::1]:7860", "LOCALHOST:7860"])
@pytest.mark.row("N1")
def test_the_own_names_are_answered(local: World, host: str) -> None:
    assert local.ask(headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.com", "evil.com:7860", "127.0.0.1.nip.io:7860", "localhost.evil.com:7860", "127.0.0.1:7861", "localhost",
     "", "127.0.0.1:7860, evil.com", "user@localhost:7860", "localhost:7860/x", "192.168.1.7:7860",
     "localhost:99999999"],
)  # fmt: skip
@pytest.mark.row("N1", "N5")
def test_any_other_host_is_refused_before_anything_else(local: World, host: str) -> None:
    assert local.ask(headers={"host": host}).status_code == 421
    assert local.reached == []


@pytest.mark.row("N1")
def test_two_hosts_are_refused(local: World) -> None:
    headers = [("host", "127.0.0.1:7860"), ("host", "evil.com")]
    assert local.ask(headers=headers).status_code == 421


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.com", "http://localhost:7861", "http://localhost:7860", "https://127.0.0.1.evil.com",
     "http://127.0.0.1:7860.evil.com", "file://", "", "http://127.0.0.1:7860, http://evil.com", "http://[::1"],
)  # fmt: skip
@pytest.mark.row("N2")
def test_a_foreign_origin_changes_nothing(local: World, method: str, origin: str) -> None:
    assert local.ask(method, "/api/v1/jobs", headers={"origin": origin}).status_code == 403
    assert local.reached == []


@pytest.mark.row("N2")
def test_a_foreign_origin_reads_nothing_either(local: World) -> None:
    assert local.ask("GET", "/api/v1/jobs", headers={"origin": "null"}).status_code == 403


def test_the_page_itself_may_post(local: World) -> None:
    headers = {"origin": HOME, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert local.ask("POST", "/api/v1/jobs", headers=headers).status_code == 200


def test_a_program_on_this_machine_may_post_without_an_origin(local: World) -> None:
    assert local.ask("POST", "/api/v1/jobs").status_code == 200


def test_a_browser_without_an_origin_may_not_post(local: World) -> None:
    assert local.ask("POST", "/api/v1/jobs", headers={"sec-fetch-site": "same-origin"}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.row("N6")
def test_requests_that_the_browser_calls_foreign_are_refused(local: World, site: str) -> None:
    assert local.ask("POST", "/x", headers={"origin": HOME, "sec-fetch-site": site}).status_code == 403
    assert local.ask("GET", "/api/v1/pictures/x", headers={"sec-fetch-site": site}).status_code == 403


def test_a_link_on_another_site_may_lead_to_the_page(local: World) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert local.ask("GET", "/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file/http://example.com/x", "/gradio_api/file///host/share",
     "/gradio_api/file=http://127.0.0.1/x", "/gradio_api/file=HTTPS://example.com/x", "/gradio_api/file=//host/x",
     "/gradio_api/file=\\\\host\\share", "/gradio_api/file=%68ttp://example.com", "/gradio_api/proxy=https://x.hf.space",
     "/monitoring", "/monitoring/summary", "/openapi.json", "/docs", "/redoc", "/gradio_api/openapi.json",
     "/gradio_api/runs", "/gradio_api/vibe-edit", "/gradio_api/dev/reload"],
)  # fmt: skip
@pytest.mark.row("F3")
def test_parts_of_gradio_that_easel_does_not_use_are_closed(local: World, path: str) -> None:
    assert local.ask("GET", path).status_code == 404
    assert local.reached == []


def test_ordinary_files_of_gradio_are_open(local: World) -> None:
    for path in ("/gradio_api/file=C:\\temp\\gradio\\x.png", "/gradio_api/file=/tmp/gradio/x.png", "/config", "/"):
        assert local.ask("GET", path).status_code == 200


def test_the_schema_of_our_own_api_is_open(local: World) -> None:
    assert local.ask("GET", "/api/v1/openapi.json").status_code == 200


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    while size > 0:
        yield b"x" * min(size, 2**16)
        size -= 2**16


@pytest.mark.parametrize("path, limit", [("/api/v1/jobs", BODY_BYTES), ("/gradio_api/upload", UPLOAD_BYTES)])
@pytest.mark.row("U13")
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(local: World, path: str, limit: int) -> None:
    assert local.ask("POST", path, content=bytes(limit)).status_code == 200
    refused = local.ask("POST", path, headers={"content-length": str(limit + 1)}, content=b"")
    assert refused.status_code == 413
    assert local.reached == [path]


@pytest.mark.row("U13")
def test_a_body_without_a_length_is_counted(local: World) -> None:
    assert local.ask("POST", "/api/v1/jobs", content=in_pieces(BODY_BYTES)).status_code == 200
    refused = local.ask("POST", "/api/v1/jobs", content=in_pieces(BODY_BYTES + 2**16))
    assert refused.status_code == 413
    assert refused.json()["error"]["kind"] == "Refused"
    assert local.reached == ["/api/v1/jobs"]


@pytest.mark.parametrize("headers", [{}, {"host": "evil.com"}, {"origin": "null"}])
@pytest.mark.row("N6", "N7")
def test_every_answer_carries_the_security_headers(local: World, headers: dict[str, str]) -> None:
    answer = local.ask(headers=headers)
    policy = answer.headers["content-security-policy"]
    for part in ("frame-ancestors 'none'", "object-src 'none'", "base-uri 'self'", "img-src 'self' data: blob:"):
        assert part in policy
    assert "evil.com" not in policy or answer.status_code == 421
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_a_page_may_connect_to_its_own_server_only(local: World) -> None:
    policy = local.ask().headers["content-security-policy"]
    assert "connect-src 'self' ws://127.0.0.1:7860 wss://127.0.0.1:7860;" in policy


def test_errors_of_the_api_are_json_and_others_a_page(local: World) -> None:
    refused = local.ask("POST", "/api/v1/jobs", headers={"origin": "null"})
    assert refused.json()["error"]["kind"] == "Refused"
    assert refused.json()["error"]["text"]
    assert local.ask("POST", "/gradio_api/queue/join", headers={"origin": "null"}).headers["content-type"] == (
        "text/html; charset=utf-8"
    )


def test_without_login_on_loopback_no_token_is_asked(local: World) -> None:
    assert local.ask().status_code == 200


# Open to the network.


@pytest.mark.parametrize("path", ["/", "/config", "/api/v1/status", "/easel/easel.js", "/gradio_api/startup-events"])
def test_nothing_is_answered_without_a_token(listening: World, path: str) -> None:
    assert listening.ask("GET", path).status_code == 401
    assert listening.reached == []


@pytest.mark.row("N10", "N11")
def test_the_link_works_once_and_gives_a_cookie(listening: World) -> None:
    link = listening.links[-1]
    welcome = listening.ask("GET", f"/?token={link}")
    assert welcome.status_code == 200
    assert welcome.headers["refresh"] == "0; url=/"
    cookie = welcome.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert listening.ask("GET", f"/?token={link}").status_code == 401
    name, value = cookie.split(";")[0].split("=", 1)
    assert listening.ask("GET", "/", headers={"cookie": f"{name}={value}"}).status_code == 200
    assert len(listening.links) == 2, "a new link is shown for the next person"


@pytest.mark.parametrize("wrong", ["", "x", TOKEN, "the-token"])
def test_a_wrong_link_lets_nobody_in(listening: World, wrong: str) -> None:
    assert listening.ask("GET", f"/?token={wrong}").status_code == 401


def test_programs_come_in_by_bearer_token(listening: World) -> None:
    good = {"authorization": f"Bearer {TOKEN}"}
    assert listening.ask("POST", "/api/v1/jobs", headers=good).status_code == 200
    for wrong in (f"Bearer {TOKEN}x", "Bearer ", TOKEN, f"Basic {TOKEN}"):
        assert listening.ask("GET", "/api/v1/status", headers={"authorization": wrong}).status_code == 401


def test_programs_may_send_the_token_as_a_password(listening: World) -> None:
    assert listening.ask(path="/sdapi/v1/options", auth=("anybody", TOKEN)).status_code == 200
    assert listening.ask("POST", "/api/v1/jobs", auth=("anybody", TOKEN)).status_code == 200
    assert listening.ask(path="/sdapi/v1/options", auth=("anybody", "wrong")).status_code == 401


@pytest.mark.parametrize("listen", [False, True])
def test_accounts_open_one_api_and_close_it_to_all_others(listen: bool) -> None:
    world = make_world(listen=listen, api_accounts=(("ann", "secret"), ("bo", "other")))
    for right in (("ann", "secret"), ("bo", "other")):
        assert world.ask("POST", "/sdapi/v1/txt2img", auth=right).status_code == 200
    for wrong in (("ann", "other"), ("bo", ""), ("", "secret")):
        assert world.ask("POST", "/sdapi/v1/txt2img", auth=wrong).status_code == 401
    refused = world.ask(path="/sdapi/v1/options")
    assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
    assert world.ask("POST", "/api/v1/jobs", auth=("ann", "secret")).status_code == (401 if listen else 200)


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic //79/w==", "Basic OnNlY3JldA==", "Digest x"])
def test_a_broken_login_is_a_wrong_login(header: str) -> None:
    world = make_world(api_accounts=(("ann", "secret"),))
    assert world.ask(path="/sdapi/v1/options", headers={"authorization": header}).status_code == 401


@pytest.mark.row("N9")
def test_who_guesses_is_made_to_wait(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(api_accounts=(("ann", "secret"),))
    statuses = [world.ask(path="/sdapi/v1/options", auth=("ann", str(guess))).status_code for guess in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    assert world.ask(path="/sdapi/v1/options", auth=("ann", "secret")).status_code == 429
    assert world.ask().status_code == 200, "who shows no password guesses none"
    assert "20 wrong logins" in caplog.text


def test_wrong_logins_are_forgotten_after_a_minute() -> None:
    now = 0.0
    logins = WrongLogins(lambda: now)
    for number in range(2000):
        logins.add(f"10.0.{number // 250}.{number % 250}")
    for _ in range(WrongLogins.MOST):
        logins.add("10.0.0.1")
    assert logins.are_too_many("10.0.0.1")
    assert not logins.are_too_many("10.0.0.2")
    now = 61.0
    assert not logins.are_too_many("10.0.0.1")


@pytest.mark.row("N2")
def test_a_cookie_alone_does_not_post(listening: World) -> None:
    cookie = {"cookie": f"easel_7860={listening.gate._keys.cookie}"}
    assert listening.ask("POST", "/api/v1/jobs", headers=cookie).status_code == 403
    assert listening.ask("POST", "/api/v1/jobs", headers=cookie | {"origin": "null"}).status_code == 403
    assert listening.ask("POST", "/api/v1/jobs", headers=cookie | {"origin": HOME}).status_code == 200


@pytest.mark.parametrize("host, status", [("192.168.1.7:7860", 401), ("[fe80::1]:80", 401), ("evil.com:7860", 421)])
@pytest.mark.row("N1")
def test_addresses_are_hosts_and_foreign_names_are_not(listening: World, host: str, status: int) -> None:
    assert listening.ask(headers={"host": host}).status_code == status


@pytest.mark.row("N9")
def test_token_and_cookie_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, listening: World) -> None:
    seen: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: bool(seen.append((a, b))))
    listening.ask("GET", "/?token=a", headers={"authorization": "Bearer b", "cookie": "easel_7860=c"})
    assert {offered for offered, _ in seen} == {b"a", b"b", b"c"}


# WebSockets.


@pytest.fixture
def sockets(local: World) -> Iterator[TestClient]:
    with TestClient(local.gate, base_url=HOME) as client:
        yield client


@pytest.mark.parametrize("headers", [{"origin": HOME}, {}])
def test_the_own_page_and_local_programs_may_open_a_websocket(sockets: TestClient, headers: dict[str, str]) -> None:
    with sockets.websocket_connect(EVENTS, headers=headers) as websocket:
        assert websocket.receive_text() == "hello"


@pytest.mark.parametrize(
    "headers",
    [{"origin": "null"}, {"origin": "http://evil.com"}, {"origin": "http://localhost:7861"}, {"host": "evil.com"},
     {"sec-fetch-mode": "websocket"}, {"origin": HOME, "sec-fetch-site": "cross-site"}],
)  # fmt: skip
@pytest.mark.row("N2")
def test_no_other_page_may_open_a_websocket(sockets: TestClient, local: World, headers: dict[str, str]) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        sockets.websocket_connect(EVENTS, headers=headers) as websocket,
    ):
        websocket.receive_text()
    assert local.reached == []


def test_a_websocket_needs_the_token_when_listening(listening: World) -> None:
    client = TestClient(listening.gate, base_url=HOME)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(EVENTS, headers={"origin": HOME}):
        pass
    good = {"authorization": f"Bearer {TOKEN}"}
    with client.websocket_connect(EVENTS, headers=good) as websocket:
        assert websocket.receive_text() == "hello"
