"""Journeys over the sheet of boxes: drawn, moved, undone and sent, by mouse, finger and keys, on a phone too."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import EaselPage

pytestmark = pytest.mark.browser


def opened(easel: EaselPage) -> tuple[Locator, Locator]:
    """The sheet and the text of the option."""
    easel.open_group("regional")
    sheet = easel.page.locator("#txt2img_regional_canvas .easel-boxes-sheet")
    expect(sheet).to_be_visible()
    sheet.scroll_into_view_if_needed()
    return sheet, easel.control("regional_boxes", "textarea")


def drag(sheet: Locator, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse, from one place to another; places are shares of the sheet's sides."""
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box is not None
    (x, y), (to_x, to_y) = ((box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"]) for at in (begin, end))
    mouse = sheet.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move((x + to_x) / 2, (y + to_y) / 2)
    mouse.move(to_x, to_y)
    mouse.up()


def numbers(text: Locator, line: int = 0) -> list[float]:
    said = text.input_value().splitlines()[line]
    return [float(number) for number in said.partition(":")[0].split()]


def test_boxes_are_drawn_moved_resized_undone_and_sent(open_page: OpenPage) -> None:
    easel = open_page()
    page = easel.page
    for name, side in (("width", 128), ("height", 64)):
        easel.type_number(name, side)
    sheet, text = opened(easel)
    shape = sheet.bounding_box()
    assert shape is not None
    assert shape["width"] / shape["height"] == pytest.approx(2, abs=0.05)

    drag(sheet, (0.1, 0.2), (0.5, 0.8))
    assert numbers(text) == pytest.approx([0.1, 0.2, 0.4, 0.6], abs=0.021)
    page.keyboard.type("a red apple")  # the new box's words have the focus
    expect(text).to_have_value(re.compile(r": a red apple$"))
    drag(sheet, (0.3, 0.5), (0.4, 0.5))
    assert numbers(text)[0] == pytest.approx(0.2, abs=0.031)
    drag(sheet, (0.595, 0.79), (0.9, 0.95))
    assert numbers(text)[2] == pytest.approx(0.7, abs=0.041)

    box = sheet.locator(".easel-box").first
    before = numbers(text)
    box.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    moved = [before[0] - 0.01, before[1], before[2], before[3] - 0.01]
    assert numbers(text) == pytest.approx(moved)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert numbers(text) == pytest.approx(before)
    box.focus()
    page.keyboard.press("Delete")
    expect(text).to_have_value("")
    page.locator('#txt2img_regional_canvas [data-action="undo"]').click()
    expect(box).to_have_attribute("aria-label", re.compile("Box 1, a red apple: "))

    row = page.locator("#txt2img_regional_canvas .easel-box-row").first
    row.locator(".easel-box-weight").fill("1.5")
    row.locator(".easel-box-negative").fill("leaves")
    expect(text).to_have_value(re.compile(r" 1\.5: a red apple\nnot: leaves$"))
    easel.prompt.fill("fruit")
    easel.type_number("steps", 2)
    sent = easel.submitted(lambda: easel.button("generate").click())
    assert sent["extensions"]["regional"] == {"boxes": text.input_value()}
    easel.made("fruit")


def test_what_is_typed_is_drawn_and_what_cannot_be_read_is_named(open_page: OpenPage) -> None:
    easel = open_page()
    sheet, text = opened(easel)
    boxes = sheet.locator(".easel-box")
    text.fill("0 0 0.5 1: a dog\n0.5 0 0.5 1: a cat")
    expect(boxes).to_have_count(2)
    expect(boxes.nth(1)).to_contain_text("2 a cat")
    text.fill("0 0 0.5 1: a dog\n0.5 0 0.5: a cat")
    expect(easel.page.locator("#txt2img_regional_canvas [role=status]")).to_contain_text("Line 2")
    drag(sheet, (0.1, 0.1), (0.9, 0.9))
    expect(text).to_have_value("0 0 0.5 1: a dog\n0.5 0 0.5: a cat")
    text.fill("0 0 0.5 1: a dog")
    expect(boxes).to_have_count(1)
    text.blur()
    easel.page.wait_for_function(
        '(JSON.parse(sessionStorage["easel.form.txt2img"])["regional.boxes"] ?? "").includes("dog")'
    )
    easel.reload()
    sheet, text = opened(easel)
    expect(sheet.locator(".easel-box")).to_have_count(1)


def test_a_finger_draws_on_a_phone_and_the_words_are_korean(open_page: OpenPage) -> None:
    easel = open_page(viewport={"width": 390, "height": 844}, has_touch=True, locale="ko-KR", color_scheme="dark")
    sheet, text = opened(easel)
    page = easel.page
    expect(page.locator('#txt2img_regional_canvas [data-action="add"]')).to_have_text("상자 추가")
    box = sheet.bounding_box()
    assert box is not None
    client = page.context.new_cdp_session(page)
    places = [(0.1, 0.1), (0.3, 0.3), (0.6, 0.5)]
    points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in places]
    for kind, touches in (
        ("touchStart", points[:1]), ("touchMove", points[1:2]), ("touchMove", points[2:]), ("touchEnd", []),
    ):  # fmt: skip
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    expect(sheet.locator(".easel-box")).to_have_count(1)
    assert numbers(text) == pytest.approx([0.1, 0.1, 0.5, 0.4], abs=0.021)
    assert easel.has_no_horizontal_scroll()
