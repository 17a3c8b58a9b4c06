"""A journey in the Extras tab: nothing there, two pictures dropped in, enlarged by a network, one of them once more."""

import io
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, settle
from tests.tiny_upscalers import build_tiny_rrdb

pytestmark = pytest.mark.browser


def picture(colour: str, size: tuple[int, int]) -> FilePayload:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return {"name": f"{colour}.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def test_pictures_are_enlarged_by_a_network_from_the_models_folder(open_page: OpenPage, models_dir: Path) -> None:
    build_tiny_rrdb(models_dir / "upscalers" / "2x-Tiny.safetensors", doublings=1)
    easel = open_page()
    page, result = easel.page, easel.page.locator("#extras_result")
    page.locator("#tab_extras-button").click()
    expect(result).to_contain_text("Drop a picture")
    page.locator("#extras_generate").click()
    expect(page.locator("#extras_image .easel-error")).to_contain_text("There is nothing to enlarge yet")

    files = [picture("red", (48, 32)), picture("blue", (40, 40))]
    page.locator("#extras_image input[type=file]").set_input_files(files)
    expect(page.locator("#extras_image .easel-tile")).to_have_count(2)
    expect(page.locator("#extras_image .easel-error")).to_have_count(0)
    page.locator("#extras_upscaler_1 input").click()
    page.get_by_role("option", name="2x-Tiny").click()
    page.locator("#extras_generate").click()
    expect(page.locator("#extras_gallery button")).to_have_count(2, timeout=LONG)
    expect(result.locator(".easel-live")).to_be_hidden(timeout=LONG)
    expect(result.locator(".easel-facts")).to_contain_text("160 × 160")
    page.set_viewport_size({"width": 390, "height": 844})
    assert easel.has_no_horizontal_scroll()

    result.locator("#extras_send_to_extras").click()
    expect(page.locator("#extras_image .easel-tile")).to_have_count(1)
    page.locator("#extras_resize_mode label").last.click()
    expect(page.locator("#extras_upscaling_resize")).to_be_hidden()
    page.locator("#extras_upscaling_resize_w input[type=number]").fill("96")
    page.locator("#extras_upscaling_resize_h input[type=number]").fill("64")
    page.locator("#extras_upscaling_resize_h input[type=number]").blur()
    page.locator("#extras_generate").click()
    expect(result.locator(".easel-facts")).to_contain_text("96 × 64", timeout=LONG)

    settle(page, 500)  # what was chosen is written down a moment later
    page.reload()  # opens the same tab again
    expect(page.locator("#extras_upscaler_1 input")).to_have_value("2x-Tiny", timeout=LONG)
