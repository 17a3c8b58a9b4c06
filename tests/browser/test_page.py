"""Journeys around the form and the page itself: memory, language, colours, narrow screens, lost connections."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, EaselPage
from tests.browser.server import Server
from webui.errors import OutOfMemory

pytestmark = pytest.mark.browser

NO_WEBSOCKETS = "window.WebSocket = class { static OPEN = 1; constructor() { setTimeout(() => this.onclose?.({})) } }"
PHONE = {"width": 390, "height": 844}


def test_everything_typed_survives_a_reload(easel: EaselPage) -> None:
    easel.prompt.fill("remember me")
    easel.control("neg_prompt", "textarea").fill("nothing else")
    easel.type_number("steps", 33)
    easel.control("seed").fill("1234")
    easel.open_group("sampling")
    easel.control("sampling").click()
    easel.page.locator("#txt2img_sampling").get_by_role("option", name="Heun", exact=True).click()
    easel.page.wait_for_function("localStorage.getItem('easel.form.txt2img')?.includes('Heun')")
    easel.reload()
    assert easel.prompt.input_value() == "remember me"
    assert easel.control("neg_prompt", "textarea").input_value() == "nothing else"
    assert easel.control("steps", "input[type=number]").input_value() == "33"
    assert easel.control("seed").input_value() == "1234"
    values = easel.submitted(easel.button("generate").click)
    assert (values["sampler"], values["num_inference_steps"], values["seed"]) == ("Heun", 33, 1234)
    easel.made("remember me")


def test_what_is_typed_at_once_is_not_replaced_by_what_was_remembered(
    server: Server, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    earlier = {"prompt": "from the last visit", "negative_prompt": "no rain", "num_inference_steps": 12}
    context.add_init_script(f"localStorage.setItem('easel.form.txt2img', JSON.stringify({json.dumps(earlier)}))")
    slow = context.new_page()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    slow.route("**/api/v1/checkpoints", hold)  # what is remembered waits for this answer
    slow.goto(server.url)
    prompt, negative = (slow.locator(f"#txt2img_{name} textarea") for name in ("prompt", "neg_prompt"))
    prompt.fill("typed at once")
    steps = slow.locator("#txt2img_steps input[type=number]")
    steps.fill("33")
    expect(negative).to_have_value("")
    for route in held:
        route.continue_()
    expect(negative).to_have_value("no rain")
    expect(prompt).to_have_value("typed at once")
    expect(steps).to_have_value("33")
    slow.wait_for_function("localStorage.getItem('easel.form.txt2img')?.includes('typed at once')")


def test_a_broken_memory_leaves_the_defaults(open_page: OpenPage, new_context: Callable[..., BrowserContext]) -> None:
    context = new_context()
    context.add_init_script(
        "localStorage.setItem('easel.form.txt2img', '{broken'); localStorage.setItem('easel.theme', '{');"
        "sessionStorage.setItem('easel.form.txt2img', '[7]'); sessionStorage.setItem('easel.jobs', '7')"
    )
    easel = open_page(context)
    assert easel.control("steps", "input[type=number]").input_value() == "20"
    easel.ask("broken memory", steps=2)
    easel.made("broken memory")


def test_a_full_memory_is_no_error(open_page: OpenPage, new_context: Callable[..., BrowserContext]) -> None:
    context = new_context()
    context.add_init_script(
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }"
    )
    easel = open_page(context)
    easel.ask("no memory at all", steps=2)
    easel.made("no memory at all")


def test_a_checkpoint_brings_its_defaults_but_not_over_what_was_typed(easel: EaselPage) -> None:
    def choose(title: str) -> None:
        easel.page.locator("#setting_sd_model_checkpoint input").click()
        easel.page.locator("#setting_sd_model_checkpoint").get_by_role("option", name=title).click()

    easel.type_number("height", 96)
    easel.page.wait_for_function("localStorage.getItem('easel.form.txt2img')?.includes('96')")
    choose("Wide")
    expect(easel.control("width", "input[type=number]")).to_have_value("128")
    expect(easel.control("cfg_scale", "input[type=number]")).to_have_value("3")
    expect(easel.control("height", "input[type=number]")).to_have_value("96")
    easel.button("res_switch_btn").click()
    expect(easel.control("width", "input[type=number]")).to_have_value("96")
    easel.prompt.fill("written with care")
    easel.control("neg_prompt", "textarea").fill("and what not")
    easel.button("reset").click()
    expect(easel.control("width", "input[type=number]")).to_have_value("128")
    expect(easel.control("height", "input[type=number]")).to_have_value("64")
    expect(easel.prompt).to_have_value("written with care")
    expect(easel.control("neg_prompt", "textarea")).to_have_value("and what not")
    easel.page.locator("#refresh_sd_model_checkpoint").click()
    choose("tiny")
    expect(easel.control("width", "input[type=number]")).to_have_value("64")
    assert easel.submitted(easel.button("generate").click)["checkpoint"] == "tiny"


def test_settings_of_a_picture_come_back_into_the_form(easel: EaselPage) -> None:
    easel.ask("to be used again", steps=7)
    easel.made("to be used again")
    easel.prompt.fill("something else")
    easel.type_number("steps", 12)
    easel.page.get_by_role("button", name="Use these settings").click()
    expect(easel.prompt).to_have_value("to be used again")
    expect(easel.control("steps", "input[type=number]")).to_have_value("7")
    expect(easel.control("seed")).not_to_have_value("-1")


def test_korean_readers_get_korean_and_can_choose(open_page: OpenPage, tmp_path: Path) -> None:
    easel = open_page(locale="ko-KR")
    expect(easel.button("generate")).to_have_text("생성")
    expect(easel.page.locator("#txt2img_steps")).to_contain_text("샘플링 단계")
    expect(easel.status).to_contain_text(re.compile("준비됨|작업 중"))
    easel.page.screenshot(path=tmp_path / "korean.png", full_page=True)
    easel.prompt.fill("빨간 사과")
    easel.page.wait_for_function("localStorage.getItem('easel.form.txt2img')?.includes('빨간 사과')")
    with easel.page.expect_navigation():
        easel.page.get_by_label("언어").select_option("en")
    expect(easel.button("generate")).to_have_text("Generate", timeout=LONG)
    expect(easel.prompt).to_have_value("빨간 사과")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_one_column_without_horizontal_scroll(open_page: OpenPage, scheme: str, tmp_path: Path) -> None:
    easel = open_page(viewport=PHONE, color_scheme=scheme)
    easel.ask("on a phone", steps=3)
    easel.made("on a phone")
    for name in ("sampling", "batch", "preview"):
        easel.open_group(name)
    assert easel.has_no_horizontal_scroll()
    easel.page.mouse.wheel(0, 500)
    expect(easel.button("generate")).to_be_in_viewport()
    easel.page.screenshot(path=tmp_path / f"phone-{scheme}.png", full_page=True)


def test_colours_follow_the_system_until_the_reader_chooses(open_page: OpenPage, tmp_path: Path) -> None:
    easel = open_page(color_scheme="dark")
    body = easel.page.locator("body")
    expect(body).to_have_class(re.compile(r"\bdark\b"))
    assert easel.has_no_horizontal_scroll()
    easel.page.screenshot(path=tmp_path / "dark.png")
    easel.page.get_by_role("button", name="Colours: as the system").click()
    expect(body).not_to_have_class(re.compile(r"\bdark\b"))
    easel.reload()
    expect(body).not_to_have_class(re.compile(r"\bdark\b"))
    easel.page.get_by_role("button", name="Colours: light").click()
    easel.page.get_by_role("button", name="Colours: dark").click()
    easel.page.emulate_media(color_scheme="light")
    expect(body).not_to_have_class(re.compile(r"\bdark\b"))


def test_ten_tabs_of_one_browser_are_all_alive(open_page: OpenPage, new_context: Callable[..., BrowserContext]) -> None:
    context = new_context()
    tabs = [open_page(context) for _ in range(10)]
    for tab in (tabs[0], tabs[9]):
        tab.ask("one of ten", steps=2)
        tab.made("one of ten")
    for tab in tabs:
        assert tab.page.evaluate("import('./easel/easel.js').then((easel) => easel.book.connection)") == "live"


def test_a_page_without_websockets_polls(open_page: OpenPage, new_context: Callable[..., BrowserContext]) -> None:
    context = new_context()
    context.add_init_script(NO_WEBSOCKETS)
    easel = open_page(context)
    easel.ask("polled", steps=5)
    easel.made("polled")
    assert easel.page.evaluate("import('./easel/easel.js').then((easel) => easel.book.connection)") == "polling"


@pytest.fixture(scope="module")
def mortal(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that journeys may stop and kill, as long as it runs again when they are over."""
    server = Server(tmp_path_factory.mktemp("mortal"), models_dir)
    server.start()
    yield server
    server.stop()


def test_a_page_outlives_a_restart_of_the_server(open_page: OpenPage, mortal: Server, tmp_path: Path) -> None:
    easel = open_page(url=mortal.url)
    expect(easel.page.get_by_text("Nothing here yet")).to_be_visible()
    easel.expected = ("WebSocket", "ERR_CONNECTION_REFUSED")
    easel.ask("goes on after the restart", steps=150, batch_count=6, size=128)
    expect(easel.thumbnails.first).to_be_visible(timeout=LONG)
    mortal.stop()
    expect(easel.status).to_contain_text("reconnecting", timeout=LONG)
    easel.page.screenshot(path=tmp_path / "lost.png")
    mortal.start()
    expect(easel.thumbnails).to_have_count(6, timeout=2 * LONG)
    expect(easel.status).to_have_text("Ready", timeout=LONG)


def test_stopping_does_not_last_for_ever_when_the_server_dies_of_it(open_page: OpenPage, mortal: Server) -> None:
    easel = open_page(url=mortal.url)
    easel.expected = ("WebSocket", "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET")
    easel.ask("never answers", steps=150, batch_count=6, size=128)
    expect(easel.line).to_contain_text(re.compile(r"Step [1-9]"), timeout=LONG)
    mortal.engine().suspend()  # Stop is accepted and nothing comes of it
    with easel.page.expect_response("**/cancel"):
        easel.button("interrupt").click()
    expect(easel.line).to_have_text("Stopping…")
    mortal.kill()
    expect(easel.line).to_contain_text("Step", timeout=LONG)
    expect(easel.button("interrupt")).to_be_enabled()
    mortal.start()
    expect(easel.page.locator(".easel-live")).to_be_hidden(timeout=LONG)
    expect(easel.status).to_have_text("Ready", timeout=LONG)
    newest = easel.page.request.get(f"{mortal.url}/api/v1/jobs").json()["jobs"][0]
    assert newest["request"]["prompt"] == "never answers"
    assert newest["state"] == "cancelled", "what was accepted counts"


def test_a_reader_without_a_model_is_told_what_to_do(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    context.route("**/api/v1/checkpoints", lambda route: route.fulfill(json={"checkpoints": [], "default": None}))
    context.route("**/api/v1/jobs?*", lambda route: route.fulfill(json={"jobs": []}))
    context.add_init_script(NO_WEBSOCKETS)
    easel = open_page(context)
    expect(easel.page.get_by_role("heading", name="There is no checkpoint")).to_be_visible()
    expect(easel.page.get_by_text("models/checkpoints")).to_be_visible()


def test_a_failed_job_is_explained_and_can_be_tried_again(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    error = OutOfMemory((64, 64))
    refusal = {"error": {"kind": error.kind, **error.sentence.to_json()}}
    context.route("**/api/v1/jobs", lambda route: route.fulfill(status=507, json=refusal), times=1)
    easel = open_page(context)
    easel.expected = ("507",)
    easel.ask("too large at first", steps=2)
    expect(easel.error).to_contain_text("Not enough memory")
    expect(easel.error).to_contain_text("Make the picture smaller")
    easel.page.get_by_role("button", name="Try again").click()
    easel.made("too large at first")
    expect(easel.error).to_have_count(0)
