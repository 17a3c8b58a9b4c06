"""Journeys with the palette and the keys: whatever the page has is found, reached and done without a pointer."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, EaselPage, settle

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
FORMS = ("txt2img", "img2img", "extras", "train")

CONTROLS = """(tab) => [...document.querySelectorAll(`[id^="${tab}_"]`)]
  .filter((each) => each.matches(".block:has(input, textarea):not(:has(.label-wrap)), button.lg, button.sm"))
  .filter((each) => !each.matches(".easel-hidden") && !each.closest(".easel-element")).map(({ id }) => id)"""

OFFERED = "import('./easel/palette-entries.js').then(({ entries }) => entries({}).map(({ id }) => id))"

FOUND = """([names, query]) => import('./easel/palette-search.js').then(({ plain, search }) => {
  const entries = names.map((name) => ({ id: name, names: [plain(name)], around: "", isNear: false }));
  return search(entries, query, ["last", "Sampler"]).map(({ id }) => id);
})"""

WATCHED_ENDS = """
globalThis.told = []; globalThis.asked = 0; globalThis.notes = 0; globalThis.isAway = false;
globalThis.Notification = class {
  static permission = "default";
  static requestPermission() { asked += 1; this.permission = "granted"; return Promise.resolve("granted"); }
  constructor(title, { body }) { told.push(`${title}: ${body}`); }
};
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...at) { notes += 1; return start.apply(this, at); };
Object.defineProperty(document, "hidden", { get: () => globalThis.isAway });
"""


def search_box(easel: EaselPage) -> Locator:
    return easel.page.locator("#easel_palette_search")


def options(easel: EaselPage) -> Locator:
    return easel.page.locator("#easel_palette [role=option]")


def choose(easel: EaselPage, query: str) -> None:
    """Find it and take the first that is found."""
    easel.page.keyboard.press("Control+k")
    search_box(easel).fill(query)
    easel.page.keyboard.press("Enter")


def test_no_control_of_any_form_is_missing(easel: EaselPage) -> None:
    offered = set(easel.page.evaluate(OFFERED))
    for tab in FORMS:
        easel.page.evaluate(f"document.getElementById('tab_{tab}-button').click()")
        expect(easel.page.locator(f"#{tab}_reset, #{tab}_start")).to_be_visible()
        easel.page.evaluate(
            f"document.querySelectorAll('[id^={tab}_group_] > .label-wrap:not(.open)').forEach((each) => each.click())"
        )
        settle(easel.page, 500)
        there = easel.page.evaluate(CONTROLS, tab)
        assert len(there) > 8, there
        assert set(there) - offered == set(), tab


def test_the_order_of_what_is_found_can_be_foretold(easel: EaselPage) -> None:
    def found(query: str, *names: str) -> list[str]:
        return list(easel.page.evaluate(FOUND, [names, query]))

    assert found("samp", "Resample", "Slow amp", "The sampler", "Sampler") == [
        "Sampler",
        "The sampler",
        "Resample",
        "Slow amp",
    ]
    assert found("steps hi", "Sampling steps", "Hires steps") == ["Hires steps"]
    assert found("", "Width", "Sampler", "Height") == ["Sampler", "Width", "Height"]
    assert found("시ㄷ", "단계", "새 시드", "시드") == ["시드", "새 시드"]
    assert found("ㅅㄷ", "단계", "시드") == ["시드"]


def test_a_folded_control_is_reached_and_typed_into(easel: EaselPage) -> None:
    choose(easel, "hires steps")
    box = easel.page.locator("#txt2img_hires_steps input[type=number]")
    expect(box).to_be_focused()
    easel.page.keyboard.press("Control+a")
    easel.page.keyboard.type("12")
    box.blur()
    easel.page.wait_for_function("localStorage.getItem('easel.form.txt2img')?.includes('\"hires_steps\":12')")
    easel.page.keyboard.press("Control+k")
    expect(options(easel).first).to_contain_text("Hires steps")  # chosen last


def test_a_phone_finds_controls_of_other_tabs_in_korean_by_their_english_name(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    easel = open_page(new_context(locale="ko-KR", viewport=PHONE))
    easel.page.locator(".easel-palette-button").click()
    expect(options(easel).first).to_be_visible()
    assert easel.has_no_horizontal_scroll()
    search_box(easel).fill("save_every")
    options(easel).first.click()
    expect(easel.page.locator("#train_save_every input").first).to_be_focused()


def test_the_box_is_a_combobox_for_those_who_listen(easel: EaselPage) -> None:
    easel.page.keyboard.press("Control+k")
    box = easel.page.get_by_role("combobox", name="Find anything")
    expect(box).to_be_focused()
    box.fill("colours")
    easel.page.keyboard.press("ArrowDown")
    chosen = easel.page.locator("#easel_palette [role=option][aria-selected=true]")
    expect(chosen).to_contain_text("Colours: light")
    expect(box).to_have_attribute("aria-activedescendant", str(chosen.get_attribute("id")))
    box.fill("nothing is called like this")
    expect(easel.page.locator("#easel_palette [role=status]")).to_have_text("Nothing is called like that.")
    expect(box).not_to_have_attribute("aria-activedescendant", "easel_palette_0")


def test_escape_closes_the_palette_and_only_stop_stops(easel: EaselPage) -> None:
    easel.ask("keeps running", steps=150, batch_count=4, size=128)
    expect(easel.line).to_contain_text("Step", timeout=LONG)
    easel.page.keyboard.press("Control+k")
    easel.page.keyboard.press("Escape")
    expect(easel.page.locator("#easel_palette")).to_be_hidden()
    settle(easel.page)
    expect(easel.line).to_contain_text("Step")
    choose(easel, "stop")
    expect(easel.page.locator(".easel-live")).to_be_hidden(timeout=LONG)
    newest = easel.page.evaluate("import('./easel/easel.js').then(({ book }) => book.followed.at(-1).state)")
    assert newest == "cancelled"


def test_a_checkpoint_is_chosen_with_its_recommendations(easel: EaselPage) -> None:
    choose(easel, "wide")
    expect(easel.page.locator("#setting_sd_model_checkpoint input")).to_have_value("Wide")
    expect(easel.control("width", "input[type=number]")).to_have_value("128")


def test_a_question_mark_shows_the_keys_unless_it_is_typed(easel: EaselPage) -> None:
    easel.prompt.fill("why")
    easel.prompt.press("End")
    easel.page.keyboard.press("?")
    assert easel.prompt.input_value() == "why?"
    easel.prompt.blur()
    easel.page.keyboard.press("?")
    sheet = easel.page.get_by_role("dialog", name="Keys")
    for row in ("Generate\nCtrl+Enter", "More weight\nCtrl+↑", "Brush\nB"):
        assert row in sheet.inner_text()
    easel.page.keyboard.press("F1")
    expect(sheet).to_be_hidden()


def test_an_end_is_announced_when_that_was_switched_on_and_nobody_looks(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    context.add_init_script(WATCHED_ENDS)
    easel = open_page(context)

    def made(prompt: str, away: bool) -> list[str]:
        easel.page.evaluate(f"isAway = {str(away).lower()}")
        easel.ask(prompt, steps=2)
        easel.made(prompt)
        return list(easel.page.evaluate("told"))

    assert made("nobody asked", away=True) == []
    assert easel.page.evaluate("[asked, notes]") == [0, 0]
    choose(easel, "notification")
    choose(easel, "sound")
    expect(easel.page.locator(".easel-toast")).to_contain_text("short sound")
    assert easel.page.evaluate("[asked, notes]") == [1, 2]
    assert made("somebody looks", away=False) == []
    assert made("nobody looks", away=True) == ["Finished: nobody looks"]
    assert easel.page.evaluate("notes") == 4
