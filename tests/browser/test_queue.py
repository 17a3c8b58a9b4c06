"""Journeys in the queue drawer: order, editing, what it takes, what was finished meanwhile."""

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.easel_page import LONG, EaselPage

pytestmark = pytest.mark.browser


def waiting(easel: EaselPage) -> Locator:
    return easel.page.locator(".easel-drawer li[draggable=true] .easel-queue-prompt")


@pytest.fixture
def busy(easel: EaselPage) -> EaselPage:
    """A long job under way, three that wait, the drawer open."""
    easel.ask("long", steps=150, batch_count=60)
    expect(easel.stage).to_have_attribute("data-shows", "preview", timeout=LONG)
    for prompt in ("one", "two", "three"):
        easel.ask(prompt, steps=1, batch_count=1)
    easel.page.locator("#easel_queue_button").click()
    expect(waiting(easel)).to_have_text(["one", "two", "three"])
    return easel


def test_waiting_jobs_are_dragged_and_pushed_into_another_order(busy: EaselPage) -> None:
    rows = busy.page.locator(".easel-drawer li[draggable=true]")
    rows.nth(2).drag_to(rows.nth(0), target_position={"x": 60, "y": 3})
    expect(waiting(busy)).to_have_text(["three", "one", "two"])
    rows.nth(0).get_by_role("button", name="Later").click()
    expect(waiting(busy)).to_have_text(["one", "three", "two"])
    busy.reload()
    busy.page.locator("#easel_queue_button").click()
    expect(waiting(busy)).to_have_text(["one", "three", "two"])
    busy.page.locator(".easel-drawer li").first.get_by_role("button", name="Stop").click()
    expect(busy.page.locator("#easel_queue_button")).to_have_text("Queue", timeout=LONG)
    expect(busy.page.locator(".easel-drawer .easel-queue-total")).to_be_hidden()


def test_a_waiting_job_goes_back_into_the_form(busy: EaselPage) -> None:
    busy.page.locator(".easel-drawer li[draggable=true]").nth(1).get_by_role("button", name="Edit").click()
    expect(busy.prompt).to_have_value("two")
    expect(busy.page.locator(".easel-drawer")).to_be_hidden()
    busy.page.locator("#easel_queue_button").click()
    expect(waiting(busy)).to_have_text(["one", "three"])
    busy.page.keyboard.press("Escape")
    expect(busy.page.locator(".easel-drawer")).to_be_hidden()
    expect(busy.button("interrupt")).to_be_enabled(), "Escape closed the drawer and stopped no work"
    busy.button("interrupt").click()
    expect(busy.page.locator("#easel_queue_button")).to_have_text("Queue", timeout=LONG)


def test_the_time_is_told_before_anybody_asks(easel: EaselPage) -> None:
    easel.ask("short", steps=2)
    easel.made("short")
    line = easel.page.locator("#txt2img_estimate")
    expect(line).to_contain_text("Takes about")
    easel.open_group("batch")
    easel.type_number("batch_count", 100)
    easel.type_number("steps", 150)
    expect(line).not_to_have_text("Takes about 0.1 s here")
