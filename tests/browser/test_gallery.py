"""Journeys through the gallery and PNG info tabs: look, find, mark, delete, bring back, send on."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Download, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import EaselPage
from tests.browser.server import Server
from tests.gallery.pictures import draw, of_a1111, of_easel, png, save

pytestmark = pytest.mark.browser

SHOWN = ".easel-tile img[data-shown]"
THEIRS = 400


@pytest.fixture(scope="module")
def folder(server: Server) -> Iterator[Path]:
    """Pictures of other days, some of another tool; the newest is theirs/000.png."""
    folder = server.home / "outputs" / "theirs"
    for number in range(THEIRS):
        make = of_a1111 if number % 4 == 0 else of_easel
        save(folder / f"{number:03d}.png", make(prompt=f"journey {number}", seed=number), age=number * 60.0)
    yield folder
    for path in folder.iterdir():
        path.unlink()


def open_gallery(easel: EaselPage) -> Page:
    easel.page.locator("#tab_gallery-button").first.click()
    expect(easel.page.locator(SHOWN).first).to_be_visible()
    return easel.page


def search(page: Page, text: str, count: int) -> None:
    with page.expect_response(lambda answer: "/api/v1/gallery?q=" in answer.url):
        page.fill("#gallery_search", text)
    expect(page.locator(".easel-count")).to_have_text(f"Pictures: {count}")


def test_hundreds_of_pictures_are_scrolled_with_few_of_them_in_the_page(easel: EaselPage, folder: Path) -> None:
    page = open_gallery(easel)
    search(page, "journey", THEIRS)
    assert page.locator(".easel-tile").count() < 60
    page.locator(".easel-grid").evaluate("grid => (grid.scrollTop = grid.scrollHeight)")
    last = page.locator(f'.easel-tile[data-position="{THEIRS - 1}"]')
    expect(last).to_have_attribute("aria-label", f"journey {THEIRS - 1}")
    expect(last.locator("img")).to_have_attribute("data-shown", "")
    assert page.locator(".easel-tile").count() < 60
    last.focus()
    page.keyboard.press("Home")
    expect(page.locator('.easel-tile[data-position="0"]')).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".easel-tile:focus")).to_have_attribute("aria-label", "journey 7")
    search(page, "prompt:journey prompt:39", 11)
    page.fill("#gallery_search", "nothing at all")
    expect(page.locator("#gallery .easel-notice")).to_contain_text("Nothing found")
    page.get_by_role("button", name="Show all pictures").click()
    expect(page.locator(SHOWN).first).to_be_visible()


def test_a_picture_is_looked_at_starred_deleted_brought_back_and_sent_on(easel: EaselPage, folder: Path) -> None:
    page = open_gallery(easel)
    search(page, "prompt:journey prompt:1", 111)
    page.locator('.easel-tile[data-position="0"]').click()
    side = page.locator(".easel-light-side")
    expect(side).to_contain_text("Made with Easel")
    page.keyboard.press("ArrowRight")
    expect(side.locator(".easel-info-text").first).to_contain_text("journey 10")
    page.keyboard.press("s")
    expect(page.locator(".easel-star")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Delete")
    expect(page.locator(".easel-light-place")).to_have_text("2 of 110")
    assert not (folder / "010.png").exists()
    page.keyboard.press("Escape")
    page.locator(".easel-toast").get_by_role("button", name="Undo").click()
    expect(page.locator(".easel-count")).to_have_text("Pictures: 111")
    assert (folder / "010.png").exists()
    page.fill("#gallery_search", "")
    page.locator("#gallery_starred").click()
    expect(page.locator(".easel-count")).to_have_text("Pictures: 1")
    page.locator(".easel-tile").click()
    page.locator('.easel-light .easel-send[data-kind="txt2img"]').click()
    expect(easel.prompt).to_have_value("journey 10")
    expect(easel.control("seed")).to_have_value("10")


def test_several_are_selected_collected_and_downloaded(easel: EaselPage, folder: Path) -> None:
    page = open_gallery(easel)
    search(page, "prompt:journey prompt:2", 111)
    page.locator('.easel-tile[data-position="1"] .easel-tick').click()
    page.locator('.easel-tile[data-position="4"]').click(modifiers=["Shift"])
    page.locator('.easel-tile[data-position="2"]').click(modifiers=["Control"])
    chosen = page.locator(".easel-chosen")
    expect(chosen).to_contain_text("Selected: 3")
    with page.expect_download() as caught:
        chosen.get_by_role("button", name="Download .zip").click()
    assert size_of(caught.value) > 500
    chosen.locator("select").select_option("new")
    page.locator(".easel-naming input").fill("Favourites")
    page.keyboard.press("Enter")
    page.locator("#gallery_collection").select_option(label="Favourites (3)")
    page.fill("#gallery_search", "")
    expect(page.locator(".easel-count")).to_have_text("Pictures: 3")
    page.locator(".easel-tile").first.focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    expect(page.locator(".easel-count")).to_have_text("Pictures: 0")
    page.locator("#gallery_collection").select_option("trash")
    expect(page.locator(".easel-tile")).to_have_count(3)
    page.locator(".easel-tile").first.focus()
    page.keyboard.press("Control+a")
    chosen.get_by_role("button", name="Bring back").click()
    expect(page.locator("#gallery .easel-notice")).to_contain_text("The trash is empty")


def size_of(download: Download) -> int:
    return download.path().stat().st_size


def test_a_new_picture_appears_by_itself_and_a_picture_is_made_again(easel: EaselPage, folder: Path) -> None:
    page = open_gallery(easel)
    before = page.locator(".easel-tile").first.get_attribute("aria-label")
    assert before is not None
    page.evaluate("import('./easel/easel.js').then(({ book }) => book.submit('txt2img', "
                  "{ prompt: 'a fresh one', width: 64, height: 64, num_inference_steps: 2 }))")  # fmt: skip
    expect(page.locator('.easel-tile[data-position="0"]')).to_have_attribute("aria-label", "a fresh one")
    page.locator('.easel-tile[data-position="0"]').click()
    page.get_by_role("button", name="Make it again").click()
    easel.made("a fresh one")
    page.locator("#tab_gallery-button").first.click()
    expect(page.locator('.easel-tile[data-position="1"]')).to_have_attribute("aria-label", "a fresh one")


def test_png_info_shows_what_a_picture_says_and_sends_it_on(easel: EaselPage) -> None:
    page = easel.page
    page.locator("#tab_png_info-button").first.click()
    give(page, of_a1111("a windmill", 77))
    expect(page.locator("#pnginfo_html_info")).to_contain_text("Made with AUTOMATIC1111")
    expect(page.locator(".easel-info-table")).to_contain_text("Euler a")
    expect(page.locator(".easel-unmapped")).to_contain_text("deliberate_v2")
    page.locator("#pnginfo_send_buttons button").first.click()
    expect(easel.prompt).to_have_value("a windmill")
    expect(easel.control("seed")).to_have_value("77")
    page.locator("#tab_png_info-button").first.click()
    give(page, png(draw()))
    expect(page.locator("#pnginfo_html_info")).to_contain_text("No parameters were recognised")
    expect(page.locator("#pnginfo_send_buttons button")).to_have_text(["Send to img2img", "Send to inpaint"])
    page.locator("#pnginfo_send_buttons button").first.click()
    expect(page.locator("#tab_img2img-button").first).to_have_attribute("aria-selected", "true")
    page.locator("#tab_png_info-button").first.click()
    easel.expected = ("422",)
    give(page, b"no picture")
    expect(page.locator("#pnginfo_html_info .easel-error")).to_contain_text("not a PNG, JPEG or WebP")


def give(page: Page, content: bytes) -> None:
    page.locator("easel-png-info input").set_input_files(
        {"name": "<b>x.png", "mimeType": "image/png", "buffer": content}
    )


DROP = """async ([selector, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
  const target = document.querySelector(selector);
  for (const type of ["dragover", "drop"]) {
    target.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
  }
}"""


def test_a_picture_dropped_onto_a_prompt_fills_the_form_and_one_beside_it_is_read(easel: EaselPage) -> None:
    page = easel.page
    data = base64.b64encode(of_a1111("a drawbridge", 55)).decode()
    page.evaluate(DROP, ["#txt2img_prompt textarea", data])
    expect(easel.prompt).to_have_value("a drawbridge")
    expect(page.locator(".easel-toast")).to_contain_text("AUTOMATIC1111")
    page.evaluate(DROP, ["easel-brand", data])
    expect(page.locator("#pnginfo_html_info")).to_contain_text("a drawbridge")


def test_a_pasted_infotext_is_offered_to_the_form(easel: EaselPage) -> None:
    page = easel.page
    text = "a water mill\nSteps: 12, Sampler: Euler a, CFG scale: 4, Seed: 99, Size: 64x64"
    easel.prompt.focus()
    page.evaluate(
        """(text) => {
          const clipboardData = new DataTransfer();
          clipboardData.setData("text/plain", text);
          document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }""",
        text,
    )
    page.locator(".easel-toast").get_by_role("button", name="Put them into the form").click()
    expect(easel.prompt).to_have_value("a water mill")
    expect(easel.control("steps", "input[type=number]")).to_have_value("12")


def test_on_a_phone_everything_fits_and_can_be_touched(open_page: OpenPage, folder: Path) -> None:
    easel = open_page(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme="dark", locale="ko-KR"
    )
    page = open_gallery(easel)
    assert easel.has_no_horizontal_scroll()
    page.locator(".easel-tick").nth(2).tap()
    expect(page.locator(".easel-chosen")).to_contain_text("1장 선택함")
    page.locator(".easel-chosen button").last.tap()
    page.locator(".easel-tile").nth(2).tap()
    expect(page.locator(".easel-light-image")).to_be_visible()
    box = page.locator(".easel-light").bounding_box()
    assert box is not None
    assert box["width"] == 390
    assert easel.has_no_horizontal_scroll()
    page.locator(".easel-light-close").tap()
    expect(page.locator(".easel-light")).to_be_hidden()
