"""Journeys in the Models tab: looking, keeping notes and defaults, merging; empty shelves; a narrow page."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG
from tests.header_only import LORA, write_tensors

pytestmark = pytest.mark.browser


def test_models_are_looked_through_annotated_and_merged(open_page: OpenPage, models_dir: Path) -> None:
    write_tensors(models_dir / "loras" / "cat.safetensors", LORA, {"modelspec.trigger_phrase": "fluffy"})
    easel = open_page()
    page, tab = easel.page, easel.page.locator("easel-models")
    page.locator("#tab_models-button").click()
    page.locator("#models_rescan").click()
    cards = tab.locator(".easel-model")
    expect(cards).to_have_count(3, timeout=LONG)
    page.locator("#models_search").fill("fluff")
    expect(cards).to_have_count(1)
    cards.first.click()
    passport = tab.locator(".easel-passport")
    expect(passport).to_contain_text("fluffy")
    page.locator("#models_notes").fill("For cats.")
    page.locator("#models_tags").fill("animal, soft")
    page.locator("#models_keep").click()
    expect(page.locator(".easel-toast")).to_contain_text("Saved beside the model")
    assert "For cats." in (models_dir / "loras" / "cat.easel.json").read_text("utf-8")
    page.locator("#models_hash").click()
    expect(passport.locator(".easel-passport-hash code")).to_have_text(re.compile("^[0-9a-f]{10}$"))
    passport.get_by_role("button", name="Use", exact=True).click()
    expect(easel.prompt).to_have_value("<lora:cat:1> fluffy")
    easel.prompt.fill("")

    page.locator("#tab_models-button").click()
    page.locator("#models_search").fill("")
    page.locator("#models_shelf").select_option("checkpoints")
    expect(cards).to_have_count(2)
    page.locator("#models_merge").click()
    page.locator("#modelmerger_primary_model_name").fill("tiny")
    page.locator("#modelmerger_secondary_model_name").fill("wide")
    page.locator("#modelmerger_custom_name").fill("mixture")
    page.locator("#modelmerger_merge").click()
    expect(cards).to_have_count(3, timeout=LONG)
    cards.filter(has_text="mixture").click()
    expect(passport).to_contain_text("folder of diffusers")
    passport.get_by_role("button", name="Use", exact=True).click()
    expect(page.locator("#setting_sd_model_checkpoint input")).to_have_value(re.compile("mixture|Wide|tiny"))
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#tab_models-button").click()
    assert easel.has_no_horizontal_scroll()
    page.locator("#models_close").click()
    assert easel.has_no_horizontal_scroll()


def test_an_empty_shelf_says_where_files_go_and_a_wrong_merge_what_is_missing(
    open_page: OpenPage, models_dir: Path
) -> None:
    easel = open_page()
    page, tab = easel.page, easel.page.locator("easel-models")
    page.locator("#tab_models-button").click()
    page.locator("#models_shelf").select_option("controlnets")
    expect(tab.locator(".easel-notice")).to_contain_text(str(models_dir / "controlnets"), timeout=LONG)
    page.locator("#models_shelf").select_option("")
    page.locator("#models_search").fill("nothing like it")
    expect(tab.locator(".easel-notice")).to_contain_text("Nothing found")
    tab.get_by_role("button", name="Show all models").click()
    page.locator("#models_merge").click()
    page.locator("#modelmerger_interp_method").select_option("Add difference")
    page.locator("#modelmerger_primary_model_name").fill("tiny")
    page.locator("#modelmerger_secondary_model_name").fill("wide")
    page.locator("#modelmerger_merge").click()
    expect(tab.locator(".easel-error")).to_contain_text("needs model C", timeout=LONG)
    easel.complaints.clear()  # the refusal above, which the browser's console names too
