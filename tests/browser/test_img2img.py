"""Journeys: pictures made from pictures, and what stands in the way of them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, EaselPage, settle
from tests.browser.source_page import SourcePage, file_of, png, scene

pytestmark = pytest.mark.browser

SLOW_DRAFT = """
  const decode = window.createImageBitmap.bind(window);
  let isFirst = true;
  window.createImageBitmap = async (...given) => {
    const waits = isFirst && new Promise((done) => setTimeout(done, 2500));
    isFirst = false;
    await waits;
    return decode(...given);
  };
"""
DRAFT_MS = 700
"""After which what was painted is written down."""
NO_STORAGE = """
  Object.defineProperty(window, 'indexedDB', {get() { throw new DOMException('no', 'SecurityError'); }});
  Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }});
"""


@pytest.fixture
def source(easel: EaselPage) -> SourcePage:
    return SourcePage(easel)


def picture_of(source: SourcePage) -> Image.Image:
    url = source.finished().get_attribute("src") or ""
    return Image.open(io.BytesIO(source.page.request.get(url).body()))


def test_only_what_is_masked_is_made_anew_and_a_reload_keeps_picture_and_mask(source: SourcePage) -> None:
    picture = scene(128, 96)
    source.start(picture)
    source.size(128, 96)
    source.press("box")
    source.drag([(48, 32), (80, 64)])
    mask = source.painted()
    sent = source.generate()
    assert (sent["kind"], sent["values"]["width"]) == ("inpaint", 128)
    made = np.asarray(picture_of(source)).astype(int)
    before = np.asarray(picture).astype(int)
    assert (made[:16] == before[:16]).all(), "far from the mask nothing changes"
    assert np.abs(made - before)[36:60, 52:76].mean() > 3
    expect(source.page.locator("#img2img_gallery button")).to_have_count(1)
    settle(source.page, DRAFT_MS)
    source.page.reload()
    source.page.wait_for_function("document.querySelector('easel-canvas')?.isMasked")
    assert (source.painted() == mask).all()
    expect(source.page.locator("#img2img_inpaint_tab")).to_have_attribute("aria-selected", "true")


def test_a_picture_chosen_while_the_draft_is_read_stays(source: SourcePage) -> None:
    source.start(scene())
    source.press("box")
    source.drag([(24, 16), (40, 32)])
    settle(source.page, DRAFT_MS)
    source.page.add_init_script(SLOW_DRAFT)
    source.page.reload()
    source.choose(scene(80, 56))
    foot = source.canvas.locator(".easel-canvas-foot")
    expect(foot).to_contain_text("80 × 56")
    settle(source.page, 3000)
    expect(foot).to_contain_text("80 × 56")
    assert not source.painted().any()


def test_what_is_missing_is_said_before_anything_is_sent(source: SourcePage) -> None:
    source.refused("There is no picture yet")
    source.start(scene())
    source.refused("Nothing is masked")
    source.mode("inpaint_upload")
    source.refused("The mask is missing")
    upload = source.page.locator("#img_inpaint_mask input")
    small = {"name": "mask.png", "mimeType": "image/png", "buffer": png(Image.new("L", (10, 20), 255))}
    source.refused("10 × 20", lambda: upload.set_input_files(small))
    expect(source.error).to_contain_text("96 × 64")
    upload.set_input_files({**small, "buffer": png(Image.new("L", (96, 64), 255))})
    source.page.wait_for_function("document.querySelector('easel-canvas').isMasked")
    expect(source.error).to_have_count(0)
    assert (source.kept(source.generate()["values"]["mask"]) == 255).all()


def test_pictures_that_cannot_be_used_are_refused_in_words_and_the_page_goes_on(
    source: SourcePage, tmp_path: Path
) -> None:
    source.easel.expected = ("422", "413")
    source.choose(png(scene())[:-300], "cut off.png")
    expect(source.error).to_contain_text("damaged")
    large = tmp_path / "large.png"
    large.write_bytes(bytes(100 * 2**20))
    source.choose(large)
    expect(source.error).to_contain_text("too large")
    frames = [Image.new("RGB", (96, 64), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    source.choose(buffer.getvalue(), "<img src=x onerror=alert(1)>.gif")
    expect(source.error).to_have_count(0)
    source.mode("img2img")
    assert (source.kept(source.generate()["values"]["image"]) == (255, 0, 0)).all(), "the first picture of an animation"


def test_a_sketch_is_what_img2img_begins_with_and_a_reload_keeps_it(source: SourcePage) -> None:
    picture = scene()
    source.start(picture, "sketch")
    source.canvas.locator("input[type=color]").first.fill("#00ff00")
    source.press("box")
    source.drag([(10, 10), (30, 20)])
    expected = np.asarray(picture).copy()
    expected[10:20, 10:30] = (0, 255, 0)
    sent = source.generate()
    assert sent["kind"] == "img2img"
    assert "mask" not in sent["values"]
    assert (source.kept(sent["values"]["image"]) == expected).all()
    source.mode("inpaint_sketch")
    sent = source.generate()
    assert sent["kind"] == "inpaint"
    mask = np.zeros((64, 96, 3), np.uint8)
    mask[10:20, 10:30] = 255
    assert (source.kept(sent["values"]["mask"]) == mask).all()
    painted = source.painted("paint")
    settle(source.page, DRAFT_MS)
    source.page.reload()
    source.page.wait_for_function("document.querySelector('easel-canvas')?.isSketched")
    assert (source.painted("paint") == painted).all()


def test_a_finished_picture_is_sent_to_inpaint_with_its_settings_and_no_others(easel: EaselPage) -> None:
    page = easel.page
    page.request.put(f"{page.url}api/v1/styles", data={"name": "ink", "prompt": "ink drawing of {prompt}"})
    page.evaluate("sessionStorage.setItem('easel.styles.img2img', JSON.stringify(['ink']))")
    easel.reload()
    easel.ask("a red cat", steps=4, size=64)
    easel.made("a red cat")
    SourcePage(easel)
    expect(page.locator("#img2img .easel-chip")).to_have_count(1)
    page.locator("#img2img_group_model button").first.click()
    corrected = page.locator("#img2img_color_correction input")
    expect(corrected).to_be_visible()
    settle(page)
    corrected.check()
    page.locator("#tab_txt2img-button").click()
    page.locator("#txt2img_send_to_inpaint").click()
    source = SourcePage(easel)
    expect(source.canvas.locator(".easel-canvas-foot")).to_contain_text("64 × 64", timeout=LONG)
    expect(easel.page.locator("#img2maskimg")).to_be_visible()
    expect(easel.page.locator("#img2img_prompt textarea")).to_have_value("a red cat")
    expect(easel.page.locator("#img2img_width input[type=number]")).to_have_value("64")
    expect(corrected).not_to_be_checked()
    expect(page.locator("#img2img .easel-chip")).to_have_count(0)


def test_a_picture_of_a_batch_that_fails_stays_explained_while_the_others_are_made(source: SourcePage) -> None:
    source.easel.expected = ("422",)
    source.mode("batch")
    broken = file_of(png(scene())[:-300], "broken.png")
    source.page.locator("#img2img_batch input").set_input_files([broken, file_of(scene(), "whole.png")])
    source.size(64, 64)
    source.generate()
    source.finished()
    expect(source.result.locator(".easel-error")).to_contain_text("damaged")


def test_each_picture_of_a_batch_becomes_a_job(source: SourcePage) -> None:
    source.mode("batch")
    source.refused("There is no picture yet")
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": png(scene(64, 64 + 8 * n))} for n in range(3)]
    source.page.locator("#img2img_batch input").set_input_files(files)
    source.size(64, 64)
    source.generate()
    expect(source.page.locator("#img2img_gallery button")).to_have_count(3, timeout=LONG)


def test_the_size_of_the_result_is_taken_from_the_picture(source: SourcePage) -> None:
    source.start(scene(210, 99))
    source.page.locator("#img2img_detect_image_size_btn").click()
    expect(source.page.locator("#img2img_width input[type=number]")).to_have_value("208")
    expect(source.page.locator("#img2img_height input[type=number]")).to_have_value("96")


def test_without_any_storage_everything_but_remembering_works(
    open_page: OpenPage, new_context: type[BrowserContext]
) -> None:
    context = new_context()  # type: ignore[call-arg]
    context.add_init_script(NO_STORAGE)
    source = SourcePage(open_page(context))
    source.start(scene())
    source.press("box")
    source.drag([(10, 10), (50, 40)])
    source.size(64, 64)
    source.generate()
    source.finished()


def test_headings_of_inpainting_show_there_and_new_margins_stand_in_for_a_mask(source: SourcePage) -> None:
    heading = source.page.locator("#img2img_group_outpainting")
    expect(heading).to_be_hidden()
    source.start(scene())
    expect(heading).to_be_visible()
    heading.locator("button").first.click()
    margin = source.page.locator("#img2img_outpaint_left input[type=number]")
    expect(margin).to_be_visible()
    settle(source.page)
    margin.fill("64")
    margin.blur()
    sent = source.generate()
    assert sent["kind"] == "inpaint"
    assert sent["values"]["outpaint_left"] == 64
    assert "mask" not in sent["values"]
