"""Journeys in the prompt itself: counting, weighing by keys, styles."""

import pytest
from playwright.sync_api import expect

from tests.browser.easel_page import EaselPage

pytestmark = pytest.mark.browser


def test_the_prompt_is_counted_and_a_lone_bracket_is_marked(easel: EaselPage) -> None:
    count = easel.page.locator("#txt2img_prompt .easel-tokens")
    easel.prompt.fill("red cat BREAK cat")
    expect(count).to_have_text("76/150")
    easel.prompt.fill("(cat")
    expect(count).to_have_class("easel-tokens easel-tokens-wrong")
    easel.prompt.fill(r"\(cat")
    expect(count).to_have_class("easel-tokens")


def test_keys_weigh_the_word_at_the_cursor_and_move_its_phrase(easel: EaselPage) -> None:
    easel.prompt.fill("red cat, <lora:x:0.8>")
    easel.prompt.press("Home")
    for _ in range(2):
        easel.prompt.press("Control+ArrowUp")
    assert easel.prompt.input_value() == "(red:1.2) cat, <lora:x:0.8>"
    easel.prompt.press("Control+z")
    easel.prompt.press("Control+ArrowDown")
    assert easel.prompt.input_value() == "red cat, <lora:x:0.8>", "back at 1 the brackets go"
    easel.prompt.press("Alt+ArrowRight")
    assert easel.prompt.input_value() == "<lora:x:0.8>, red cat"
    easel.prompt.press("Home")
    easel.prompt.press("ArrowRight")
    easel.prompt.press("Control+ArrowUp")
    assert easel.prompt.input_value() == "<lora:x:0.85>, red cat"


def test_a_style_is_saved_chosen_and_sent(easel: EaselPage) -> None:
    styles = easel.page.locator("easel-styles")
    styles.get_by_role("button", name="Styles").click()
    easel.prompt.fill("oil painting of {prompt}")
    styles.get_by_label("Name of a new style").fill("oil")
    styles.get_by_role("button", name="Save the prompts as a style").click()
    styles.get_by_role("button", name="oil", exact=False).first.click()
    expect(styles.get_by_role("button", name="Styles (1)")).to_be_visible()
    easel.ask("cat", steps=1)
    easel.made("oil painting of cat")
    easel.reload()
    expect(styles.get_by_role("button", name="Styles (1)")).to_be_visible()
    styles.get_by_role("button", name="Styles (1)").click()
    styles.get_by_role("button", name="Write the chosen styles into the prompts").click()
    expect(easel.prompt).to_have_value("oil painting of cat")
    expect(styles.get_by_role("button", name="Styles", exact=True)).to_be_visible()


def test_a_wildcard_is_made_offered_rolled_and_drawn(easel: EaselPage) -> None:
    wildcards = easel.page.locator('easel-wildcards[kind="txt2img"]')
    wildcards.get_by_role("button", name="Wildcards").click()
    wildcards.get_by_role("button", name="New wildcard").click()
    wildcards.get_by_label("Name, folders before it with /").fill("animals/cats")
    wildcards.get_by_label("One word or phrase per line").fill("tabby\ntabby")
    wildcards.get_by_role("button", name="Save the wildcard").click()
    easel.prompt.fill("a ")
    wildcards.get_by_role("button", name="animals/cats").click()
    expect(easel.prompt).to_have_value("a __animals/cats__")
    easel.prompt.press_sequentially(" and __ca")
    expect(easel.page.get_by_role("option", name="animals/cats")).to_be_visible()
    easel.prompt.press("Tab")
    expect(easel.prompt).to_have_value("a __animals/cats__ and __animals/cats__")
    wildcards.get_by_role("button", name="Roll").click()
    expect(wildcards.get_by_role("button", name="a tabby and tabby")).to_have_count(5)
    easel.ask("a __animals/cats__ {cat|cat}", steps=1)
    easel.made("a tabby cat")
    remove = wildcards.get_by_role("button", name="Delete")
    remove.click()
    wildcards.get_by_role("button", name="Really delete?").click()
    expect(wildcards.get_by_text("No wildcards yet.")).to_be_visible()
