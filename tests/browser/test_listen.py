"""Easel opened to the network: the link of the console, in a real browser and by way of another web site."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from playwright.sync_api import BrowserContext, expect

from webui.settings import ROOT

pytestmark = pytest.mark.browser

WAIT = 60_000


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Waits for the next link on the console of a server that believes itself open to the network, on loopback."""
    home = tmp_path_factory.mktemp("listening")
    flags = ["--listen", "--host", "127.0.0.2", "--port", "0", "--data-dir", str(home / "data"),
             "--models-dir", str(home / "models"), "--outputs-dir", str(home / "outputs")]  # fmt: skip
    command = [sys.executable, str(ROOT / "launch.py"), "--no-browser", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        lines = server.stdout

        def next_link() -> str:
            for line in lines:
                if found := re.search(r"http://\S+\?token=\S+", line):
                    return found[0]
            raise AssertionError("the server ended without showing a link")

        yield next_link
        server.terminate()


@contextmanager
def other_site(page: str) -> Iterator[str]:
    """A web site with one page."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("localhost", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


@pytest.mark.row("N10", "N11")
def test_the_link_opens_the_page_once_even_from_another_site(
    console: Callable[[], str], new_context: Callable[..., BrowserContext]
) -> None:
    link = console()
    home = link.split("?", maxsplit=1)[0]
    friend = new_context()
    page = friend.new_page()
    with other_site(f"<a href='{link}'>look</a>") as chat:
        page.goto(chat)
        page.get_by_text("look").click()
        expect(page.locator("#txt2img_generate")).to_be_visible(timeout=WAIT)
    assert page.url == home
    (cookie,) = friend.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.reload()
    expect(page.locator("#txt2img_generate")).to_be_visible(timeout=WAIT)
    thief = new_context().new_page()
    answer = thief.goto(link)
    assert answer is not None
    assert answer.status == 401
    expect(thief.get_by_text("asks for its link")).to_be_visible()


@pytest.mark.row("N7")
def test_another_site_can_neither_show_the_page_nor_send_to_it(
    console: Callable[[], str], new_context: Callable[..., BrowserContext]
) -> None:
    link = console()
    home = link.split("?", maxsplit=1)[0]
    page = new_context().new_page()
    page.goto(link)
    expect(page.locator("#txt2img_generate")).to_be_visible(timeout=WAIT)
    script = f"""<iframe src='{home}'></iframe><script>
      const done = [];
      const options = {{method: 'POST', mode: 'no-cors', credentials: 'include', body: '{{}}'}};
      const post = fetch('{home}api/v1/jobs', options);
      post.then(() => done.push('post'), () => done.push('post refused'));
      const socket = new WebSocket('{home.replace("http", "ws")}api/v1/events');
      socket.onopen = () => done.push('socket open'); socket.onerror = () => done.push('socket refused');
      window.done = done;
    </script>"""
    refused: list[int] = []
    page.on("response", lambda response: refused.append(response.status) if "/api/v1/jobs" in response.url else None)
    with other_site(script) as evil:
        page.goto(evil)
        page.wait_for_function("window.done.length === 2", timeout=WAIT)
        assert "socket refused" in page.evaluate("window.done")
        assert refused in ([], [401], [403])
        assert page.frames[1].locator("#txt2img_generate").count() == 0
