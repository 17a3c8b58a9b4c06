"""Settings, presets and drafts as a person uses them."""

import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import EaselPage
from tests.browser.server import Server
from webui.options import Options

pytestmark = pytest.mark.browser

TORCH_AGAIN = 240_000
"""Milliseconds for an engine to start on a busy machine."""


@pytest.fixture(autouse=True)
def as_at_first(server: Server) -> Iterator[None]:
    yield
    v1 = f"{server.url}/api/v1"
    httpx.patch(f"{v1}/settings", json={"values": Options().for_page()}).raise_for_status()
    for preset in httpx.get(f"{v1}/presets").json()["presets"]:
        httpx.delete(f"{v1}/presets", params={"tab": preset["tab"], "name": preset["name"]})
    for draft in httpx.get(f"{v1}/drafts").json()["drafts"]:
        httpx.delete(f"{v1}/drafts/{draft['client']}")


def open_settings(easel: EaselPage, words: str) -> None:
    easel.page.click("#tab_settings-button")
    easel.page.fill("#settings_search", words)
    expect(easel.page.locator(".easel-settings-list .easel-setting").first).to_be_attached()


def test_what_is_set_holds_at_once_on_every_page(easel: EaselPage, open_page: OpenPage, server: Server) -> None:
    page = easel.page
    open_settings(easel, "format")
    expect(page.locator("#setting_picture_format_row")).to_be_visible()
    expect(page.locator("#setting_hidden_tabs_row")).to_be_hidden()
    page.select_option("#setting_picture_format", "JPEG")
    expect(page.locator(".easel-settings-saved")).to_have_text("Saved.")
    page.fill("#settings_search", "names")
    page.fill("#setting_file_pattern", "[sed]")
    page.press("#setting_file_pattern", "Enter")
    expect(page.locator("#setting_file_pattern_row [role=alert]")).to_contain_text("Unknown token 'sed'")
    easel.complaints = [each for each in easel.complaints if "422" not in each]  # that refusal
    page.fill("#setting_file_pattern", "[prompt_words]")
    page.press("#setting_file_pattern", "Enter")
    expect(page.locator("#setting_file_pattern_reset")).to_be_visible()

    page.click("#tab_txt2img-button")
    easel.ask("a blue boat", steps=2)
    easel.made("a blue boat")
    (path,) = server.home.rglob("*a blue boat*")
    assert re.fullmatch(r"\d{5}-a blue boat\.jpg", path.name)

    other = open_page()
    expect(other.page.locator("#tab_train-button")).to_be_visible()
    open_settings(easel, "hidden tabs")
    page.get_by_label("Train").check()
    for each in (easel, other):
        expect(each.page.locator("#tab_train-button")).to_be_hidden()
    page.click("#setting_hidden_tabs_reset")
    expect(other.page.locator("#tab_train-button")).to_be_visible()
    expect(page.locator("#setting_hidden_tabs_reset")).to_be_hidden()


def test_the_system_tab_tells_of_the_engine_and_restarts_it(easel: EaselPage) -> None:
    page = easel.page
    page.click("#tab_system-button")
    cards = page.locator(".easel-system-card")
    expect(cards.first).to_contain_text("engine")
    expect(cards.first).to_contain_text("cpu", timeout=60_000)
    page.click("#system_log")
    expect(page.locator("#system_log_text")).to_contain_text("checkpoint")
    page.click("#system_restart")
    page.click("#system_restart")
    expect(page.locator(".easel-toast")).to_contain_text("starts again")
    expect(easel.status).not_to_have_attribute("data-state", "ready")
    expect(easel.status).to_have_attribute("data-state", "ready", timeout=TORCH_AGAIN)


def test_presets_and_drafts_bring_values_back(
    easel: EaselPage, new_context: Callable[..., BrowserContext], open_page: OpenPage
) -> None:
    page = easel.page
    steps = easel.control("steps", "input[type=number]")
    easel.prompt.fill("a green hat")
    easel.type_number("steps", 7)
    page.wait_for_timeout(800)
    page.click("#txt2img_presets")
    page.fill("#preset_name", "quick")
    page.click("#preset_save")
    expect(page.locator("[data-preset=quick]")).to_be_visible()
    page.click("#easel_presets .easel-palette-head button")

    easel.type_number("steps", 30)
    page.wait_for_timeout(2000)
    page.click("#txt2img_presets")
    page.locator("[data-preset=quick]").get_by_text("Apply").click()
    expect(steps).to_have_value("7")
    expect(easel.prompt).to_have_value("a green hat")
    page.wait_for_timeout(800)
    page.locator("#txt2img_presets").focus()
    page.keyboard.press("Control+z")
    expect(steps).to_have_value("30")
    page.keyboard.press("Control+y")
    expect(steps).to_have_value("7")

    page.click("#txt2img_keep_for_checkpoint")
    expect(page.locator(".easel-toast")).to_contain_text("come with it")
    easel.type_number("steps", 40)
    page.wait_for_timeout(800)
    choose(easel, "Wide")
    expect(easel.control("width", "input[type=number]")).to_have_value("128")
    choose(easel, "tiny")
    expect(steps).to_have_value("7")
    page.locator(".easel-toast").get_by_role("button", name="Undo").click()
    expect(steps).to_have_value("40")

    page.wait_for_timeout(5000)
    fresh = open_page(new_context())
    fresh.page.locator(".easel-toast").get_by_role("button", name="Continue").click()
    expect(fresh.prompt).to_have_value("a green hat")
    expect(fresh.control("steps", "input[type=number]")).to_have_value("40")


def choose(easel: EaselPage, checkpoint: str) -> None:
    box = easel.page.locator("#setting_sd_model_checkpoint input")
    box.click()
    easel.page.locator("#setting_sd_model_checkpoint [role=option]", has_text=checkpoint).click()
    easel.page.wait_for_timeout(800)
