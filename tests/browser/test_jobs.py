"""Journeys of several jobs: failures that must not vanish, jobs of other pages, ends that nobody told."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, EaselPage, is_submission
from tests.browser.line import Frame, Line
from webui.sentences import Sentence

pytestmark = pytest.mark.browser

MANY_STEPS = 150


def failing(count: int) -> Callable[[Frame], Frame]:
    """The first `count` jobs to be done are told as failed: with the tiny model none fails by itself."""
    failed: list[Frame] = []

    def rewrite(frame: Frame) -> Frame:
        if frame["kind"] != "done" or len(failed) == count:
            return frame
        failed.append(frame)
        told = Sentence("Failure number {number}.", number=len(failed))
        return {
            "n": frame["n"],
            "job": frame["job"],
            "kind": "failed",
            "state": "failed",
            "error": "OutOfMemory",
            **told.to_json(),
        }

    return rewrite


def over(easel: EaselPage, jobs: int) -> None:
    """Wait until this page knows of `jobs` jobs of its own, all of them over."""
    is_over = """jobs => import('./easel/easel.js').then(({ book }) => {
        const states = book.followed.map(({ state }) => state);
        const final = ['done', 'failed', 'cancelled'];
        return book.sending === 0 && states.length === jobs && states.every((state) => final.includes(state));
    })"""
    for _ in range(LONG // 50):  # `wait_for_function` would take the promise for an answer
        if easel.page.evaluate(is_over, jobs):
            return
        easel.page.wait_for_timeout(50)
    raise AssertionError(f"the page's {jobs} jobs are not over")


def test_a_failed_job_stays_explained_while_newer_ones_come_and_go(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    Line(context, failing(2))
    easel = open_page(context)
    for number, prompt in enumerate(("the first fails", "the second fails", "the third is fine"), start=1):
        easel.ask(prompt, steps=2)
        over(easel, number)
    expect(easel.error).to_have_count(2)
    expect(easel.error.nth(0)).to_contain_text("Failure number 2.")
    expect(easel.error.nth(1)).to_contain_text("Failure number 1.")
    easel.error.nth(0).get_by_role("button", name="Dismiss").click()
    expect(easel.error).to_have_count(1)
    values = easel.submitted(easel.error.get_by_role("button", name="Try again").click)
    assert values["prompt"] == "the first fails"
    expect(easel.error).to_have_count(0)
    over(easel, 4)


def test_at_most_three_failures_are_shown(open_page: OpenPage, new_context: Callable[..., BrowserContext]) -> None:
    context = new_context()
    Line(context, failing(4))
    easel = open_page(context)
    for number in range(1, 5):
        easel.ask(f"failure {number}", steps=1)
        over(easel, number)
    expect(easel.error).to_have_count(3)
    expect(easel.error.nth(2)).to_contain_text("Failure number 2.")


def test_a_job_that_ended_unseen_does_not_stay_running(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    ends: list[Frame] = []

    def keep_back(frame: Frame) -> Frame | None:
        if frame["kind"] == "done":
            ends.append(frame)
        return frame if not ends or frame["job"] is None else None

    line = Line(context, keep_back)
    easel = open_page(context)
    easel.ask("ends unseen", steps=60)  # longer than its submission takes to be answered
    while not ends:
        easel.page.wait_for_timeout(50)
    expect(easel.page.locator(".easel-live")).to_be_visible()
    status = easel.page.request.get(f"{easel.page.url}api/v1/status").json()
    line.tell({"kind": "snapshot", "job": None, "jobs": [], "status": status})
    easel.made("ends unseen")


def test_a_job_whose_page_is_closed_can_still_be_stopped(open_page: OpenPage) -> None:
    one, two = open_page(), open_page()
    one.ask("left alone", steps=MANY_STEPS, batch_count=50)
    one.button("interrupt").wait_for()
    one.page.close()
    expect(two.button("interrupt")).to_be_visible(timeout=LONG)
    two.ask("my own", steps=3)
    row = two.page.locator(".easel-queue li").filter(has_text="left alone")
    expect(row).to_contain_text(re.compile(r"Step [1-9]\d* of"), timeout=LONG)
    expect(two.line).to_contain_text("queue")
    row.get_by_role("button", name="Stop").click()
    two.made("my own")
    expect(row).to_have_count(0)
    assert two.thumbnails.count() == 1, "the gallery is this page's own"


def test_a_key_held_down_queues_one_job(easel: EaselPage) -> None:
    easel.prompt.fill("held down")
    easel.prompt.focus()
    easel.page.keyboard.down("Control")
    for _ in range(5):
        easel.page.keyboard.down("Enter")  # from the second on with event.repeat
    easel.page.keyboard.up("Enter")
    easel.page.keyboard.up("Control")
    easel.made("held down")
    assert len([request for request in easel.requests if is_submission(request)]) == 1
    assert easel.prompt.input_value() == "held down"


def test_what_is_asked_for_leaves_only_what_still_makes_sense(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    told: list[str] = []

    def sink(action: str) -> None:
        context.route(f"**/api/v1/jobs/*/{action}", lambda route: (told.append(action), route.fulfill(json={})))

    sink("pause")
    sink("cancel")
    easel = open_page(context)
    easel.ask("asked", steps=MANY_STEPS, batch_count=50)
    easel.button("pause").click()
    expect(easel.button("skip")).to_be_disabled()
    expect(easel.button("interrupt")).to_be_enabled()
    easel.button("interrupt").click()
    for name in ("skip", "pause", "interrupt"):
        expect(easel.button(name)).to_be_disabled()
    assert told == ["pause", "cancel"]
    context.unroute_all()
    easel.reload()
    easel.button("interrupt").click()
    expect(easel.page.locator(".easel-live")).to_be_hidden(timeout=LONG)
