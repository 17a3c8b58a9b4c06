"""Journeys along the steps of a picture: look back, branch, save them, and compare two results."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Download, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import EaselPage
from tests.browser.server import Server

pytestmark = pytest.mark.browser

STEPS = 6


def drag(page: Page, share: float) -> None:
    """From the end of the strip to that share of its width."""
    box = page.locator("#txt2img_strip").bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] - 4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, middle, steps=5)
    page.mouse.up()


def test_a_step_is_looked_back_at_and_branched_from(easel: EaselPage, server: Server) -> None:
    page, strip = easel.page, easel.page.locator("#txt2img_strip")
    easel.ask("a brown dog", steps=STEPS)
    easel.made("a brown dog")
    expect(strip.locator(".easel-strip-frame")).to_have_count(STEPS + 1)
    expect(strip).to_have_attribute("aria-valuetext", "Finished picture")
    drag(page, 2.5 / (STEPS + 1))
    expect(strip).to_have_attribute("aria-valuetext", f"Step 3 of {STEPS}")
    expect(page.locator(".easel-picture")).to_have_attribute("src", re.compile("^data:image/jpeg"))
    strip.press("ArrowLeft")
    expect(strip).to_have_attribute("aria-valuetext", f"Step 2 of {STEPS}")
    strip.press("b")
    expect(page.locator("easel-branch")).to_contain_text("Goes on from step 2 of:a brown dog")

    def change() -> None:
        easel.prompt.fill("a green bird")
        easel.button("generate").click()

    values = easel.submitted(change)
    assert (values["branch_step"], values["branch_from"]["prompt"]) == (2, "a brown dog")
    easel.made("a green bird")
    easel.reload()
    expect(page.locator("easel-branch")).to_contain_text("step 2")
    expect(strip.locator(".easel-strip-frame")).to_have_count(STEPS + 1)
    easel.expected = ("422",)
    easel.type_number("steps", STEPS + 2)
    easel.button("generate").click()
    expect(easel.error).to_contain_text("A branch keeps Sampling steps as it was")
    page.locator(".easel-branch-end").click()
    expect(page.locator("easel-branch")).to_be_hidden()


def test_the_steps_are_saved_as_a_moving_picture(easel: EaselPage, tmp_path: Path) -> None:
    easel.ask("a red cat", steps=STEPS)
    easel.made("a red cat")
    for name, first in {"GIF": b"GIF89a", "WebP": b"RIFF", "APNG": b"\x89PNG", "MP4": b"\x00\x00\x00"}.items():
        with easel.page.expect_download() as caught:
            easel.page.get_by_role("link", name=f"Save steps as {name}").click()
        download: Download = caught.value
        download.save_as(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(first)


def test_two_results_are_compared(easel: EaselPage) -> None:
    page, dialog = easel.page, easel.page.locator(".easel-compare")
    for prompt in ("a red cat", "a blue dog"):
        easel.ask(prompt, steps=STEPS)
        easel.made(prompt)
    page.locator(".easel-compare-open").click()
    expect(dialog).to_be_visible()
    expect(dialog.locator(".easel-compare-number")).to_contain_text("% of all pixels differ")
    expect(dialog.locator("tr", has_text="Prompt")).to_contain_text("a red cat")
    expect(dialog.locator("tr", has_text="Prompt")).to_contain_text("a blue dog")
    expect(dialog.locator("tbody tr", has_text="Steps")).to_have_count(0)
    handle = dialog.locator(".easel-compare-handle")
    page.keyboard.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuenow", "52")
    page.keyboard.press("+")
    zoom = "stage => getComputedStyle(stage).getPropertyValue('--zoom')"
    assert dialog.locator(".easel-compare-stage").evaluate(zoom) == "1.25"
    page.keyboard.press("3")
    expect(dialog.locator("canvas")).to_be_visible()
    page.keyboard.press("2")
    expect(dialog).to_have_attribute("data-turned", "")
    dialog.locator("select").first.select_option(index=0)
    expect(dialog.locator(".easel-compare-number")).to_have_text("Not one pixel differs.")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.locator("#tab_gallery-button").first.click()
    for position in (0, 1):
        page.locator(f'.easel-tile[data-position="{position}"] .easel-tick').click()
    page.locator(".easel-chosen").get_by_role("button", name="Compare").click()
    expect(dialog.locator(".easel-compare-number")).to_contain_text("% of all pixels differ")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_the_strip_follows_the_finger_and_nothing_sticks_out(open_page: OpenPage, theme: str) -> None:
    easel = open_page(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=theme, locale="ko-KR")
    page, strip = easel.page, easel.page.locator("#txt2img_strip")
    easel.ask("a red cat", steps=STEPS)
    easel.made("a red cat")  # a fresh page shows other people's results, and their strips, until then
    expect(strip).to_be_visible()
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    assert box
    page.touchscreen.tap(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    expect(strip).to_have_attribute("aria-valuetext", f"{STEPS}단계 중 3단계")
    assert easel.has_no_horizontal_scroll()


def test_a_picture_of_the_gallery_is_branched_from(easel: EaselPage) -> None:
    page, strip = easel.page, easel.page.locator("#light_strip")
    easel.ask("a yellow sun", steps=STEPS)
    easel.made("a yellow sun")
    page.locator("#tab_gallery-button").first.click()
    tile = page.locator(".easel-tile[aria-label='a yellow sun']").first
    tile.click()
    expect(page.locator(".easel-light-side")).to_contain_text("Made with Easel")
    expect(strip.locator(".easel-strip-frame")).to_have_count(STEPS + 1)
    strip.press("Home")
    expect(strip).to_have_attribute("aria-valuetext", f"Step 1 of {STEPS}")
    expect(page.locator(".easel-light-image")).to_have_attribute("src", re.compile("^data:image/jpeg"))
    page.locator(".easel-light .easel-branch-here").click()
    expect(page.locator("easel-branch")).to_contain_text("Goes on from step 1 of:a yellow sun")
    values = easel.submitted(easel.button("generate").click)
    assert (values["branch_step"], values["prompt"]) == (1, "a yellow sun")
    easel.made("a yellow sun")
