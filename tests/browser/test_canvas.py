"""Journeys: painting. What the tools do to the pixels, and that exactly these pixels reach the server."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import EaselPage
from tests.browser.source_page import Pixels, Point, SourcePage, scene

pytestmark = pytest.mark.browser

SMOOTH_MS = 16
"""Of the work for one movement of the pointer: what fits into a frame at 60 a second."""

MOVES = """async moves => {
  const canvas = document.querySelector('easel-canvas');
  const bitmap = await createImageBitmap(new ImageData(4096, 4096));
  await canvas.setPicture(bitmap);
  const box = canvas.stage.getBoundingClientRect();
  canvas.stage.setPointerCapture = () => {};
  const on = (start, length, share) => start + length * (0.5 + share / 4);
  const at = i => ({
    clientX: on(box.left, box.width, Math.cos(i / 9)), clientY: on(box.top, box.height, Math.sin(i / 9)),
  });
  const fire = (type, i) =>
    canvas.stage.dispatchEvent(new PointerEvent(type, {pointerId: 1, button: 0, bubbles: true, ...at(i)}));
  canvas.view.draw();
  fire('pointerdown', 0);
  const times = [];
  for (let i = 1; i <= moves; i += 1) {
    const start = performance.now();
    fire('pointermove', i);
    canvas.view.draw();
    times.push(performance.now() - start);
  }
  fire('pointerup', moves);
  return times.sort((a, b) => a - b);
}"""


def near_line(shape: tuple[int, int], a: Point, b: Point, radius: float) -> Pixels:
    """The pixels whose middle is at most `radius` away from the line from a to b."""
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    dx, dy = b[0] - a[0], b[1] - a[1]
    t = np.clip(((xs - a[0]) * dx + (ys - a[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.asarray((xs - a[0] - t * dx) ** 2 + (ys - a[1] - t * dy) ** 2 <= radius * radius)


@pytest.fixture
def source(easel: EaselPage) -> SourcePage:
    return SourcePage(easel)


def test_what_the_server_receives_is_what_was_painted_pixel_for_pixel(source: SourcePage) -> None:
    picture = scene(1000, 334)
    source.start(picture)
    size = source.brush(40)
    source.drag([(100, 100), (700, 100)])
    mask = source.painted()
    ideal = near_line(mask.shape[:2], source.hit((100, 100)), source.hit((700, 100)), size / 2)
    assert ((mask > 127) & ideal).sum() / ((mask > 127) | ideal).sum() > 0.99
    source.page.mouse.wheel(0, -300)  # zoomed in, and with the right button: takes away
    source.drag([(690, 90), (640, 110)], button="right")
    source.press("eraser")
    source.drag([(300, 60), (300, 140)])
    source.press("box")
    source.drag([(820, 200), (900, 300)])
    mask = source.painted()
    assert mask[100, 300] == 0
    assert mask[100, 660] == 0
    assert (mask[210:290, 830:890] == 255).all()
    sent = source.generate()
    assert sent["kind"] == "inpaint"
    received = source.kept(sent["values"]["mask"])
    assert (received == mask[:, :, None]).all()
    assert (source.kept(sent["values"]["image"]) == np.asarray(picture)).all()
    assert (source.painted() == mask).all(), "the mask stays"


def test_undo_goes_back_two_hundred_strokes_and_forward_again(source: SourcePage) -> None:
    source.start(scene(600, 400))
    source.brush(8)
    states = [source.painted()]
    for i in range(205):
        source.page.mouse.click(*source.at((20 + 27 * (i % 21), 20 + 36 * (i // 21))))
        if i in (2, 3):
            states.append(source.painted())
    last = source.painted()
    for _ in range(202):
        source.page.keyboard.press("Control+z")
    assert (source.painted() == states[1]).all()
    source.page.keyboard.press("Control+Shift+z")
    assert (source.painted() == states[2]).all()
    for _ in range(201):
        source.page.keyboard.press("Control+y")
    assert (source.painted() == last).all()
    source.press("clear")
    assert not source.painted().any()
    source.page.keyboard.press("Control+z")
    expect(source.canvas.locator('[data-does="redo"]')).to_be_enabled()


def test_tools_that_fill_and_change_the_mask(source: SourcePage) -> None:
    picture = scene(192, 128)
    source.start(picture)
    disc = (np.asarray(picture) == 240).all(-1)
    source.press("flood")
    source.page.mouse.click(*source.at((96, 64)))
    assert ((source.painted() == 255) == disc).all()
    source.press("grow")
    reach = [(dx, dy) for dx in range(-8, 9) for dy in range(-8, 9) if dx * dx + dy * dy < 8.5**2]
    grown = np.any([np.roll(disc, step, (1, 0)) for step in reach], axis=0)
    assert ((source.painted() == 255) == grown).all()
    source.press("shrink")
    shrunk = source.painted() == 255
    assert (shrunk & ~grown).sum() == 0
    assert abs(int(shrunk.sum()) - int(disc.sum())) < 0.1 * disc.sum()
    source.press("invert")
    assert ((source.painted() == 255) == ~shrunk).all()
    source.press("feather")
    soft = source.painted()
    assert ((soft > 0) & (soft < 255)).sum() > 50
    source.press("clear")
    source.press("lasso")
    source.drag([(20, 20), (80, 20), (20, 80)])
    mask = source.painted()
    assert (mask[25:30, 25:60] == 255).all()
    assert not mask[60:, 60:].any()


def test_one_finger_paints_and_two_zoom(open_page: OpenPage) -> None:
    easel = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    source = SourcePage(easel)
    source.start(scene(300, 300))
    source.stage.scroll_into_view_if_needed()
    fingers = easel.page.context.new_cdp_session(easel.page)

    def touch(kind: str, *points: Point) -> None:
        touches = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(map(source.at, points))]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", (60, 60))
    touch("touchMove", (200, 60))
    touch("touchEnd")
    painted = source.painted()
    assert painted[60, 70] == painted[60, 190] == 255
    zoom = "document.querySelector('easel-canvas').view.zoomed"
    before = easel.page.evaluate(zoom)
    touch("touchStart", (100, 200))
    touch("touchStart", (100, 200), (140, 200))
    touch("touchMove", (80, 200), (160, 200))
    touch("touchMove", (60, 200), (180, 200))
    touch("touchEnd")
    assert (source.painted() == painted).all(), "a pinch leaves no dot"
    assert easel.page.evaluate(zoom) > 1.3 * before
    assert easel.has_no_horizontal_scroll()


def test_a_picture_of_four_thousand_pixels_is_painted_within_a_frame(source: SourcePage) -> None:
    source.start(scene())
    source.brush(200)
    times = source.page.evaluate(MOVES, 120)
    assert times[len(times) // 2] < SMOOTH_MS, times


def test_every_button_says_what_it_does(open_page: OpenPage) -> None:
    source = SourcePage(open_page(locale="ko-KR"))
    source.start(scene())
    for button in source.canvas.locator("button").all():
        words = button.get_attribute("aria-label")
        assert words
        assert any("가" <= letter <= "힣" for letter in words), words
        assert (button.get_attribute("title") or "").startswith(words)


def test_a_mask_goes_to_a_file_and_comes_back(source: SourcePage) -> None:
    source.start(scene())
    source.press("box")
    source.drag([(10, 10), (50, 40)])
    mask = source.painted()
    with source.page.expect_download() as download:
        source.press("download")
    file = download.value.path()
    assert (np.asarray(Image.open(file).convert("L")) == mask).all()
    source.press("clear")
    source.canvas.locator(".easel-canvas-bar input[type=file]").last.set_input_files(file)
    expect(source.canvas.locator('[data-does="undo"]')).to_be_enabled()
    source.page.wait_for_function("document.querySelector('easel-canvas').isMasked")
    assert (source.painted() == mask).all()
