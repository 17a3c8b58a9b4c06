"""The sheet of boxes as a person uses it, by mouse, finger and keys: a bare page with the controls it holds on to."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from webui.settings import ROOT

pytestmark = pytest.mark.browser

ASSETS = ROOT / "extensions" / "regional" / "assets"
FORM = """
<meta name="viewport" content="width=device-width">
<main class="gradio-container">
  <div id="txt2img_width"><input type="number" value="128"></div>
  <div id="txt2img_height"><input type="number" value="64"></div>
  <div id="txt2img_group_regional">
    <div id="txt2img_regional_boxes"><textarea></textarea></div>
    <div id="txt2img_regional_canvas"><easel-boxes tab="txt2img" extension="regional"></easel-boxes></div>
  </div>
</main>
"""
"""What the script holds on to: see docs/extensions.md."""


@pytest.fixture
def open_sheet(new_context: Callable[..., BrowserContext]) -> Callable[..., Page]:
    def opened(**options: object) -> Page:
        page = new_context(**options).new_page()
        page.set_content(FORM)
        page.add_style_tag(content=(ASSETS / "boxes.css").read_text("utf-8"))
        page.add_script_tag(content=(ASSETS / "boxes.js").read_text("utf-8"), type="module")
        page.wait_for_selector(".easel-boxes-sheet")
        return page

    return opened


def sheet_of(page: Page) -> Locator:
    return page.locator(".easel-boxes-sheet")


def text_of(page: Page) -> Locator:
    return page.locator("#txt2img_regional_boxes textarea")


def numbers(page: Page) -> list[float]:
    """Of the first box."""
    return [float(number) for number in text_of(page).input_value().partition(":")[0].split()]


def drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse; places are shares of the sheet's sides."""
    box = sheet_of(page).bounding_box()
    assert box is not None
    (x, y), (to_x, to_y) = ((box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"]) for at in (begin, end))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + to_x) / 2, (y + to_y) / 2)
    page.mouse.move(to_x, to_y)
    page.mouse.up()


def test_boxes_are_drawn_moved_resized_removed_and_brought_back(open_sheet: Callable[..., Page]) -> None:
    page = open_sheet()
    sheet, text = sheet_of(page), text_of(page)
    shape = sheet.bounding_box()
    assert shape is not None
    assert shape["width"] / shape["height"] == pytest.approx(2, abs=0.05)

    drag(page, (0.1, 0.2), (0.5, 0.8))
    assert numbers(page) == pytest.approx([0.1, 0.2, 0.4, 0.6], abs=0.021)
    page.keyboard.type("a red apple")  # the new box's words have the focus
    expect(text).to_have_value(re.compile(r": a red apple$"))
    drag(page, (0.3, 0.5), (0.4, 0.5))
    assert numbers(page)[0] == pytest.approx(0.2, abs=0.031)
    drag(page, (0.595, 0.79), (0.9, 0.95))
    assert numbers(page)[2] == pytest.approx(0.7, abs=0.041)

    box, before = sheet.locator(".easel-box").first, numbers(page)
    box.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    assert numbers(page) == pytest.approx([before[0] - 0.01, before[1], before[2], before[3] - 0.01])
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert numbers(page) == pytest.approx(before)
    box.focus()
    page.keyboard.press("Delete")
    expect(text).to_have_value("")
    page.locator('[data-action="undo"]').click()
    expect(box).to_have_attribute("aria-label", re.compile("Box 1, a red apple: "))
    page.locator('[data-action="redo"]').click()
    expect(text).to_have_value("")


def test_rows_write_weight_and_negative_prompt_and_typed_text_is_drawn(open_sheet: Callable[..., Page]) -> None:
    page = open_sheet()
    text, boxes = text_of(page), sheet_of(page).locator(".easel-box")
    text.fill("0 0 0.5 1: a dog\n0.5 0 0.5 1: a cat: old")
    expect(boxes).to_have_count(2)
    expect(boxes.nth(1)).to_contain_text("2 a cat: old")
    row = page.locator(".easel-box-row").first
    row.locator(".easel-box-weight").fill("1.5")
    row.locator(".easel-box-negative").fill("leaves")
    expect(text).to_have_value("0 0 0.5 1 1.5: a dog\nnot: leaves\n0.5 0 0.5 1: a cat: old")
    row.locator(".easel-box-remove").click()
    expect(text).to_have_value("0.5 0 0.5 1: a cat: old")


def test_text_that_cannot_be_read_is_named_and_left_alone(open_sheet: Callable[..., Page]) -> None:
    page = open_sheet()
    text = text_of(page)
    text.fill("0 0 0.5 1: a dog\n0.5 0 0.5: a cat")
    expect(page.locator("[role=status]")).to_contain_text("Line 2")
    drag(page, (0.1, 0.1), (0.9, 0.9))
    expect(text).to_have_value("0 0 0.5 1: a dog\n0.5 0 0.5: a cat")
    text.fill("0 0 0.5 1: a dog")
    expect(sheet_of(page).locator(".easel-box")).to_have_count(1)


def test_a_finger_draws_on_a_phone_and_the_words_are_korean(open_sheet: Callable[..., Page]) -> None:
    page = open_sheet(viewport={"width": 390, "height": 844}, has_touch=True, locale="ko-KR")
    expect(page.locator('[data-action="add"]')).to_have_text("상자 추가")
    box = sheet_of(page).bounding_box()
    assert box is not None
    client = page.context.new_cdp_session(page)
    places = [(0.1, 0.1), (0.3, 0.3), (0.6, 0.5)]
    points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in places]
    for kind, touches in (
        ("touchStart", points[:1]), ("touchMove", points[1:2]), ("touchMove", points[2:]), ("touchEnd", []),
    ):  # fmt: skip
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    expect(sheet_of(page).locator(".easel-box")).to_have_count(1)
    assert numbers(page) == pytest.approx([0.1, 0.1, 0.5, 0.4], abs=0.021)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("begun", ["0.333 0.333 0.667 0.667", "0.625 0.625 0.375 0.375", "0.3335 0 0.6665 1"])
def test_boxes_of_thirds_and_eighths_stay_inside_when_they_are_moved_and_resized(
    open_sheet: Callable[..., Page], begun: str
) -> None:
    page = open_sheet()
    text_of(page).fill(f"{begun}: x")
    box = page.locator(".easel-box")
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight", "Shift+ArrowDown", "ArrowLeft", "ArrowRight", "ArrowUp"):
        box.press(key)
        left, top, width, height = numbers(page)
        assert max(left + width, top + height) <= 1.0006
