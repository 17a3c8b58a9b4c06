"""One open page of Easel, driven as a person drives it, and watched for errors and requests to other hosts."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, Response, expect

LONG = 60_000
"""Milliseconds for anything that waits for the engine: this may run beside something heavy."""
PATIENCE = 20_000
"""Milliseconds for what the page does by itself, for the same reason."""
REDRAWN_MS = 300
"""Gradio draws controls that are shown for the first time with their first values once more; nobody types that soon."""
TICK_MS = 50
TICKS = """async ([ticks, milliseconds]) => {
  for (; ticks > 0; ticks -= 1) {
    await new Promise((done) => setTimeout(() => requestIdleCallback(done), milliseconds));
  }
}"""


def settle(page: Page, milliseconds: int = REDRAWN_MS) -> None:
    """Wait this long in the page's own time, which passes more slowly where it has other things to do."""
    page.evaluate(TICKS, [milliseconds // TICK_MS, TICK_MS])


class EaselPage:
    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(LONG)
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        self._host = urlsplit(url).netloc
        self._url = url
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("request", self._watch)
        self.page.on("response", self._judge)
        self.open()

    def open(self) -> None:
        self.page.goto(self._url)
        self._is_ready()

    def reload(self) -> None:
        self.page.reload()
        self._is_ready()

    def _is_ready(self) -> None:
        expect(self.prompt).to_be_visible(timeout=LONG)
        expect(self.status).to_have_attribute("data-state", re.compile("ready|busy"), timeout=LONG)
        self.page.wait_for_selector("html[data-easel-started~=txt2img]")

    # What there is.

    def control(self, name: str, inside: str = "input") -> Locator:
        return self.page.locator(f"#txt2img_{name} {inside}").first

    @property
    def prompt(self) -> Locator:
        return self.control("prompt", "textarea")

    @property
    def status(self) -> Locator:
        return self.page.locator("easel-status")

    @property
    def stage(self) -> Locator:
        return self.page.locator(".easel-stage")

    @property
    def line(self) -> Locator:
        return self.page.locator("easel-result .easel-line")

    @property
    def error(self) -> Locator:
        return self.page.locator("easel-result .easel-error")

    @property
    def thumbnails(self) -> Locator:
        return self.page.locator("#txt2img_gallery button")

    def button(self, name: str) -> Locator:
        return self.page.locator(f"#txt2img_{name}")

    # What a person does.

    def ask(self, prompt: str, *, steps: int | None = None, batch_count: int | None = None, size: int = 64) -> None:
        """Fill the form in and press Generate."""
        self.prompt.fill(prompt)
        for name in ("width", "height"):
            self.type_number(name, size)
        if steps is not None:
            self.type_number("steps", steps)
        if batch_count is not None:
            self.open_group("batch")
            self.type_number("batch_count", batch_count)
        self.button("generate").click()

    def type_number(self, name: str, value: int) -> None:
        box = self.control(name, "input[type=number]")
        box.fill(str(value))
        box.blur()

    def open_group(self, name: str) -> None:
        button = self.page.locator(f"#txt2img_group_{name} button").first
        inside = self.page.locator(f"#txt2img_group_{name} input").first
        if not inside.is_visible():
            button.click()
            expect(inside).to_be_visible()
            settle(self.page)

    def made(self, prompt: str) -> None:
        """Wait until this page works on nothing more and shows a finished picture of `prompt`."""
        expect(self.page.locator(".easel-facts")).to_contain_text(prompt, timeout=LONG)
        expect(self.page.locator(".easel-live")).to_be_hidden(timeout=LONG)
        self.shows("picture")

    def shows(self, what: str) -> None:
        """Wait until the stage shows "picture", "preview" or "notice"."""
        expect(self.stage).to_have_attribute("data-shows", what, timeout=LONG)

    def submitted(self, action: Callable[[], object]) -> dict[str, Any]:
        """Values of the one job that `action` submits."""
        with self.page.expect_request(lambda request: is_submission(request)) as caught:
            action()
        values: dict[str, Any] = caught.value.post_data_json["values"]
        return values

    def has_no_horizontal_scroll(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    # What must never happen.

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(known in message.text for known in self.expected):
            self.complaints.append(f"{message.type}: {message.text}")

    expected: tuple[str, ...] = ()
    """Parts of console messages that a journey provokes on purpose."""

    def _watch(self, request: Request) -> None:
        self.requests.append(request)
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self._host:
            self.complaints.append(f"request to another host: {request.url}")

    def _judge(self, response: Response) -> None:
        if response.status >= 400 and not any(known in f"{response.status} {response.url}" for known in self.expected):
            self.complaints.append(f"HTTP {response.status}: {response.url}")


def is_submission(request: Request) -> bool:
    return request.method == "POST" and request.url.endswith("/api/v1/jobs")
