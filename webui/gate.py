"""The gate: what is checked before any request reaches the page, the API or Gradio.

The outermost ASGI layer, for HTTP and WebSockets alike: Host, Origin, token, body size, closed paths, and the
security headers of every answer. Knows nothing about jobs or pages.

A page that runs in somebody's browser is not trusted because it reached 127.0.0.1: any web site can send
requests there (CVE-2024-11045, CVE-2024-10481), under a name of its own too (DNS rebinding).
"""

import hashlib
import hmac
import html
import ipaddress
import json
import logging
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.logins import WrongLogins, user_and_password
from webui.sentences import Sentence
from webui.settings import Settings

log = logging.getLogger(__name__)

UPLOAD_BYTES = 64 * 2**20
BODY_BYTES = 2 * 2**20
MOST_HEADERS, HEADER_BYTES = 200, 64 * 2**10
UPLOAD_PATHS = ("/gradio_api/upload", "/api/v1/inputs", "/api/v1/picture-info")
SDAPI = ("/sdapi/v1/", "/controlnet/")
"""AUTOMATIC1111's API and that of its ControlNet, whose pictures come as base64 inside JSON."""
DATASET_BYTES = 4 * 2**30
DATASET_PATH = re.compile(r"/api/v1/datasets/[^/]+/files")
"""A whole dataset may come as one .zip."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

CLOSED_PATHS = re.compile(
    r"""
      /file=\s*(?:[a-z][a-z0-9+.-]+:|[/\\]{2})     # Gradio would fetch these from the network itself
    | ^/(?:gradio_api/)?file/                      # the same in an older spelling
    | /proxy=
    | ^/(?:gradio_api/)?(?:monitoring|openapi\.json|docs|redoc|dev/|profiling)
    | ^/gradio_api/(?:runs|run-history|vibe-|undo-vibe-|process_recording|deep_link|mcp)
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Parts of Gradio that Easel does not use and that do more than show a page."""

HEADERS = {
    "server": "Easel",
    "x-content-type-options": "nosniff",
    # Not no-referrer: that would turn the Origin of the page's own beacons and forms into "null".
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; "
    # Gradio builds its page from inline scripts and compiles HTML templates with eval.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' ws://{host} wss://{host}; "
    "frame-ancestors 'none'; object-src 'none'; base-uri 'self'; form-action 'self'"
)


@dataclass(frozen=True)
class Refusal:
    """Why a request goes no further."""

    status: int
    why: Sentence


WRONG_HOST = Refusal(
    421, Sentence("This address is not one Easel answers to. Open it by the address that its console shows.")
)
OTHER_SITE = Refusal(403, Sentence("This request comes from another web site, or does not say where it comes from."))
NO_TOKEN = Refusal(
    401, Sentence("This Easel is open to the network and asks for its link: open the one its console shows.")
)
NO_ACCOUNT = Refusal(
    401, Sentence("This API asks for a user name and a password: those that --api-auth named at the start of Easel.")
)
TOO_MANY = Refusal(429, Sentence("Too many wrong logins from this address. Wait a minute."))
CLOSED = Refusal(404, Sentence("There is nothing here."))
TOO_MANY_HEADERS = Refusal(431, Sentence("The headers of the request are too many or too long."))
TOO_LARGE = Refusal(413, Sentence("The request is too large."))


class Caller:
    """What the headers of one request say; names of headers are lower case."""

    def __init__(self, scope: Scope) -> None:
        self.is_websocket = scope["type"] == "websocket"
        self.method: str = "GET" if self.is_websocket else scope["method"]
        self.path: str = scope["path"]
        self.query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        client = scope.get("client")
        self.address: str = client[0] if client else ""
        self._headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]

    def header(self, name: str) -> str:
        """Value of a header, "" when it is absent; several are joined, which no check then accepts."""
        return ", ".join(value for key, value in self._headers if key == name)

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self._headers)

    @property
    def says_too_much(self) -> bool:
        """More headers than any program sends. uvicorn counts only what comes in pieces."""
        sizes = [len(name) + len(value) for name, value in self._headers]
        return len(sizes) > MOST_HEADERS or sum(sizes) > HEADER_BYTES

    @property
    def is_from_browser(self) -> bool:
        return any(key.startswith("sec-fetch-") for key, _ in self._headers)

    @property
    def can_change_something(self) -> bool:
        return self.is_websocket or self.method not in SAFE_METHODS


class Keys:
    """The secrets of one server: the token of API clients, the cookie of browsers, the link that gives the cookie.

    The link works once; `announce` is called with each new one, for the console and nothing else.
    """

    def __init__(self, settings: Settings, announce: Callable[[str], None]) -> None:
        self._token = settings.token
        self._accounts = settings.api_accounts
        self.cookie_name = f"easel_{settings.port}"
        self.cookie = hmac.new(settings.token.encode(), b"cookie", hashlib.sha256).hexdigest()
        self._announce = announce
        self._renew()

    def _renew(self) -> None:
        self._link = secrets.token_urlsafe(24)
        self._announce(self._link)

    def use_link(self, caller: Caller) -> bool:
        """Whether the request carries the one-time link; it is used up by that."""
        offered = caller.query.get("token", [""])[0]
        if caller.path != "/" or caller.method != "GET" or not _same(offered, self._link):
            return False
        self._renew()
        return True

    def has_token(self, caller: Caller) -> bool:
        scheme, _, offered = caller.header("authorization").partition(" ")
        if scheme.lower() == "basic":  # what AUTOMATIC1111's clients send: any user, the token as the password
            return _same(user_and_password(offered)[1], self._token)
        return scheme.lower() == "bearer" and _same(offered.strip(), self._token)

    def has_account(self, caller: Caller) -> bool:
        """Whether it names one of the accounts of AUTOMATIC1111's API, and asks for nothing but that."""
        scheme, _, offered = caller.header("authorization").partition(" ")
        if scheme.lower() != "basic" or not caller.path.startswith(SDAPI):
            return False
        user, password = user_and_password(offered)
        return any(_same(user, known) & _same(password, secret) for known, secret in self._accounts)

    def has_cookie(self, caller: Caller) -> bool:
        # http.cookies gives up at the first odd cookie, and other programs on this host may have set one.
        return _same(cookie_parser(caller.header("cookie")).get(self.cookie_name, ""), self.cookie)


class Gate:
    """Lets through what may pass, answers the rest itself."""

    def __init__(self, app: ASGIApp, settings: Settings, announce: Callable[[str], None] = lambda link: None) -> None:
        self._app = app
        self._settings = settings
        self._keys = Keys(settings, announce)
        self._wrong_logins = WrongLogins()
        self._own_names = LOOPBACK_NAMES | ({_machine_name(), f"{_machine_name()}.local"} if settings.listen else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        caller = Caller(scope)
        refusal = self._refusal(caller)
        if refusal is not None and refusal is not CLOSED:
            log.debug("refused %s %s: %d", caller.method, caller.path, refusal.status)
        if caller.is_websocket:
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": str(refusal.why)[:120]})
            return
        answer = Answer(send, caller.header("host"))
        if refusal is NO_TOKEN and self._keys.use_link(caller):
            await self._let_in(answer)
        elif refusal is not None:
            await answer.refuse(refusal, as_json=caller.path.startswith(("/api/", *SDAPI)))
        else:
            await self._pass_on(scope, receive, answer, caller)

    def _refusal(self, caller: Caller) -> Refusal | None:
        if caller.says_too_much:
            return TOO_MANY_HEADERS
        if not self._is_own_host(caller.header("host")):
            return WRONG_HOST
        if CLOSED_PATHS.search(caller.path):
            return CLOSED
        if (refusal := self._unknown(caller)) is not None:
            return refusal
        if not self._is_own_origin(caller):
            return OTHER_SITE
        if _declared_length(caller) > _limit(caller):
            return TOO_LARGE
        return None

    def _unknown(self, caller: Caller) -> Refusal | None:
        """Why somebody who does not say who they are goes no further."""
        keys = self._keys
        if self._wrong_logins.are_too_many(caller.address) and caller.has("authorization"):
            return TOO_MANY
        if keys.has_token(caller) or keys.has_account(caller):
            return None
        if caller.has("authorization"):
            self._wrong_logins.add(caller.address)
        if self._settings.api_accounts and caller.path.startswith(SDAPI):
            return NO_ACCOUNT
        return NO_TOKEN if self._settings.listen and not keys.has_cookie(caller) else None

    def _is_own_host(self, host: str) -> bool:
        """Names a rebinding site cannot have: loopback and this machine's own; when listening, any IP address."""
        name, port = _name_and_port(host)
        is_own = name in self._own_names or name == self._settings.host.lower()
        if self._settings.listen:
            return is_own or _is_address(name)
        return is_own and port == self._settings.port

    def _is_own_origin(self, caller: Caller) -> bool:
        """A browser says where a request comes from; other programs need not, on loopback or with a token."""
        if caller.has("origin"):
            if not _is_origin_of(caller.header("origin"), caller.header("host")):
                return False
        elif caller.can_change_something and not (self._keys.has_token(caller) or self._keys.has_account(caller)):
            return not (self._settings.listen or caller.is_from_browser)
        site = caller.header("sec-fetch-site")
        if site in ("", "same-origin", "none"):
            return True
        # Following a link from another site to the page is fine; loading its pictures or data is not.
        return not caller.can_change_something and caller.header("sec-fetch-mode") == "navigate"

    async def _let_in(self, answer: "Answer") -> None:
        """Give the browser its cookie and send it on to the page.

        By Refresh and not by a 303: a browser does not send a Strict cookie along a redirect that began
        with a link on another site.
        """
        cookie = f"{self._keys.cookie_name}={self._keys.cookie}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"
        await answer.text(200, "Welcome to Easel.", {"set-cookie": cookie, "refresh": "0; url=/"})

    async def _pass_on(self, scope: Scope, receive: Receive, answer: "Answer", caller: Caller) -> None:
        counted = Counted(receive, _limit(caller))
        answer.is_withheld = lambda: counted.is_too_large
        try:
            await self._app(scope, counted, answer)
        except Exception:
            # The application was told that the client went away; what it makes of that is of no interest.
            if not counted.is_too_large:
                raise
        if counted.is_too_large and not answer.has_started:
            await answer.refuse(TOO_LARGE, as_json=caller.path.startswith(("/api/", *SDAPI)))


class Counted:
    """A request's body, cut off as soon as it is larger than allowed, whatever its Content-Length said."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.is_too_large = False

    async def __call__(self) -> Message:
        if self.is_too_large:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.is_too_large = True
            return {"type": "http.disconnect"}
        return message


class Answer:
    """The way back: adds the security headers, and can answer by itself."""

    def __init__(self, send: Send, host: str) -> None:
        self._send = send
        self._host = host
        self.has_started = False
        self.is_withheld: Callable[[], bool] = lambda: False
        """Whether what the application answers is dropped, because the gate is going to refuse."""

    async def __call__(self, message: Message) -> None:
        if not self.has_started and self.is_withheld():
            return
        if message["type"] == "http.response.start":
            self.has_started = True
            message = {**message, "headers": [*message.get("headers", []), *self._missing(message)]}
        await self._send(message)

    def _missing(self, message: Message) -> list[tuple[bytes, bytes]]:
        present = {bytes(name).lower() for name, _ in message.get("headers", [])}
        # A host name that was let in cannot end the directive; one that was refused is not repeated.
        host = self._host if re.fullmatch(r"[\w.:\[\]-]+", self._host) else "localhost"
        headers = HEADERS | {"content-security-policy": CONTENT_SECURITY_POLICY.format(host=host)}
        return [(name.encode(), value.encode()) for name, value in headers.items() if name.encode() not in present]

    async def refuse(self, refusal: Refusal, *, as_json: bool) -> None:
        self.is_withheld = lambda: False
        headers = {"connection": "close"} if refusal is TOO_LARGE else {}
        if refusal is NO_ACCOUNT:
            headers = {"www-authenticate": 'Basic realm="Easel", charset="UTF-8"'}
        if not as_json:
            await self.text(refusal.status, str(refusal.why), headers)
            return
        body = {"error": {"kind": "Refused", **refusal.why.to_json()}}
        await self._whole(refusal.status, json.dumps(body), "application/json", headers)

    async def text(self, status: int, text: str, headers: dict[str, str]) -> None:
        page = f"<!doctype html><title>Easel</title><p>{html.escape(text)}</p>"
        await self._whole(status, page, "text/html; charset=utf-8", headers)

    async def _whole(self, status: int, body: str, content_type: str, headers: dict[str, str]) -> None:
        content = body.encode()
        fields = {"content-type": content_type, "content-length": str(len(content)), "cache-control": "no-store"}
        pairs = [(name.encode(), value.encode()) for name, value in (fields | headers).items()]
        start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": pairs}
        await self(start)
        await self({"type": "http.response.body", "body": content})


def _limit(caller: Caller) -> int:
    path = caller.path.rstrip("/")
    if DATASET_PATH.fullmatch(path) and caller.method == "POST":
        return DATASET_BYTES
    return UPLOAD_BYTES if path in UPLOAD_PATHS or path.startswith(SDAPI) else BODY_BYTES


def _declared_length(caller: Caller) -> int:
    length = caller.header("content-length")
    return int(length) if length.isascii() and length.isdigit() else 0


def _same(offered: str, secret: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(offered.encode(), secret.encode())


def _name_and_port(host: str) -> tuple[str, int]:
    """("localhost", 7860) from "localhost:7860"; ("", 0) from what is not a host."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?", host)
    if match is None:
        return "", 0
    return match[1].strip("[]").lower(), int(match[2] or 80)


def _is_origin_of(origin: str, host: str) -> bool:
    """Whether `origin` (scheme://name:port) is the page that `host` names; "null" never is."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or parts.path or parts.query or parts.fragment:
        return False
    default = ":443" if parts.scheme == "https" else ":80"
    return parts.netloc.lower().removesuffix(default) == host.lower().removesuffix(default)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _machine_name() -> str:
    return socket.gethostname().lower().removesuffix(".local")
