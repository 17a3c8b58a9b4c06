"""Journeys in the queue drawer: order, editing, what it takes, what was finished meanwhile."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, EaselPage, is_submission
from tests.browser.line import Frame, Line
from tests.browser.source_page import SourcePage, file_of, scene

pytestmark = pytest.mark.browser


TRAINING = {
    "id": "0" * 32,
    "kind": "train-lora",
    "state": "queued",
    "position": 99,
    "summary": "a training",
    "request": {},
    "pictures": [],
    "warnings": [],
    "created": 0,
    "started": None,
    "finished": None,
}


def waiting(easel: EaselPage) -> Locator:
    return easel.page.locator(".easel-drawer li[draggable=true] .easel-queue-prompt")


def told_of_a_training(frame: Frame) -> Frame:
    return {**frame, "jobs": [*frame["jobs"], TRAINING]} if frame["kind"] == "snapshot" else frame


def refuse(route: Route) -> None:
    if is_submission(route.request):
        route.fulfill(status=422, json={"error": {"kind": "InvalidRequest", "text": "Not today."}})
    else:
        route.fallback()


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


def test_below_the_last_job_is_a_place_though_a_training_waits_behind_it(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    Line(context, told_of_a_training)
    easel = open_page(context)
    for prompt in ("long", "one", "two"):
        easel.ask(prompt, steps=150 if prompt == "long" else 1, batch_count=60 if prompt == "long" else 1)
    easel.page.locator("#easel_queue_button").click()
    expect(waiting(easel)).to_have_text(["one", "two"], timeout=LONG)
    expect(easel.page.locator(".easel-drawer li").nth(3)).to_contain_text("a training")
    rows = easel.page.locator(".easel-drawer li[draggable=true]")
    below = rows.nth(1).evaluate("row => row.offsetHeight") - 3
    rows.nth(0).drag_to(rows.nth(1), target_position={"x": 60, "y": below})
    expect(waiting(easel)).to_have_text(["two", "one"])
    easel.page.locator(".easel-drawer li").first.get_by_role("button", name="Stop").click()


def test_every_kind_of_job_goes_back_into_its_own_tab_with_its_pictures(busy: EaselPage, open_page: OpenPage) -> None:
    busy.page.keyboard.press("Escape")
    source = SourcePage(busy)
    source.start(scene())
    source.press("box")
    source.drag([(24, 16), (40, 32)])
    source.page.locator("#img2img_prompt textarea").fill("a painted corner")
    source.size(64, 64)
    mask = source.painted()
    source.generate()
    busy.page.locator("#tab_extras-button").click()
    busy.page.locator("#extras_image input[type=file]").set_input_files(file_of(scene(40, 40), "small.png"))
    busy.page.locator("#extras_upscaling_resize input[type=number]").fill("3")
    busy.page.locator("#extras_upscaling_resize input[type=number]").blur()
    busy.page.locator("#extras_generate").click()

    other = open_page()  # which has opened none of these tabs and has no drafts
    other.page.locator("#easel_queue_button").click()
    expect(waiting(other)).to_have_text(["one", "two", "three", "a painted corner", "Lanczos × 3"])
    rows = other.page.locator(".easel-drawer li[draggable=true]")
    rows.nth(3).get_by_role("button", name="Edit").click()
    expect(other.page.locator("#img2img_prompt textarea")).to_have_value("a painted corner")
    expect(other.page.locator("#img2img_inpaint_tab")).to_have_attribute("aria-selected", "true")
    assert (SourcePage(other).painted() == mask).all()
    other.page.locator("#easel_queue_button").click()
    expect(waiting(other)).to_have_text(["one", "two", "three", "Lanczos × 3"])

    rows.nth(3).get_by_role("button", name="Once more").click()
    expect(waiting(other)).to_have_text(["one", "two", "three", "Lanczos × 3", "Lanczos × 3"])
    rows.nth(3).get_by_role("button", name="Edit").click()
    expect(other.page.locator("#extras_image .easel-tile")).to_have_count(1)
    expect(other.page.locator("#extras_upscaling_resize input[type=number]")).to_have_value("3")
    other.page.locator("#easel_queue_button").click()
    expect(waiting(other)).to_have_text(["one", "two", "three", "Lanczos × 3"])

    other.expected = ("404",)
    other.page.route(
        "**/api/v1/inputs/*",
        lambda route: route.fulfill(status=404, json={"error": {"kind": "NotFound", "text": "Gone."}}),
    )
    rows.nth(3).get_by_role("button", name="Edit").click()
    expect(other.page.locator(".easel-drawer .easel-error")).to_contain_text("Gone.")
    expect(waiting(other)).to_have_text(["one", "two", "three", "Lanczos × 3"])  # what cannot be put back is kept
    other.page.locator(".easel-drawer li").first.get_by_role("button", name="Stop").click()
    expect(other.page.locator("#easel_queue_button")).to_have_text("Queue", timeout=LONG)


def test_a_refused_request_is_tried_again_with_its_styles_and_these_are_not_applied_twice(easel: EaselPage) -> None:
    page = easel.page
    page.request.put(f"{page.url}api/v1/styles", data={"name": "ink", "prompt": "ink drawing of {prompt}"})
    page.evaluate("sessionStorage.setItem('easel.styles.txt2img', JSON.stringify(['ink']))")
    easel.reload()
    easel.expected = ("422",)
    page.route("**/api/v1/jobs", refuse)
    easel.ask("a crow", steps=1)
    expect(easel.error).to_contain_text("Not today.")
    page.locator("#easel_queue_button").click()
    again = page.locator(".easel-drawer .easel-error").get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    page.unroute("**/api/v1/jobs", refuse)
    again.click()
    page.keyboard.press("Escape")
    easel.made("ink drawing of a crow")
    expect(page.locator(".easel-chip")).to_have_count(1)
    page.locator(".easel-use").click()
    expect(easel.prompt).to_have_value("ink drawing of a crow")
    expect(page.locator(".easel-chip")).to_have_count(0)


def test_the_time_is_told_before_anybody_asks(easel: EaselPage) -> None:
    easel.ask("short", steps=2)
    easel.made("short")
    line = easel.page.locator("#txt2img_estimate")
    expect(line).to_contain_text("Takes about")
    easel.open_group("batch")
    easel.type_number("batch_count", 100)
    easel.type_number("steps", 150)
    expect(line).not_to_have_text("Takes about 0.1 s here")
