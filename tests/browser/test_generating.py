"""Journeys: from the prompt to the picture, and everything that can be told to a job on its way."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, EaselPage, is_submission
from tests.browser.server import Server
from webui.params import parameters
from webui.requests import TextToImage

pytestmark = pytest.mark.browser

MANY_STEPS = 150
WATCH_PREVIEWS = """() => {
  window.seen = new Set();
  const image = document.querySelector('.easel-picture');
  const note = () => image.src.startsWith('data:') && window.seen.add(image.src);
  new MutationObserver(note).observe(image, {attributes: true, attributeFilter: ['src']});
}"""


WATCH_STEPS = """() => {
  window.steps = [];
  const line = document.querySelector('.easel-line');
  const note = () => window.steps.push(...[...line.textContent.matchAll(/Step (\\d+) of/g)].map((found) => +found[1]));
  new MutationObserver(note).observe(line, {childList: true, characterData: true, subtree: true});
}"""


def pixels(easel: EaselPage, url: str) -> bytes:
    return Image.open(io.BytesIO(easel.page.request.get(url).body())).tobytes()


def step_of(easel: EaselPage) -> int:
    found = re.search(r"Step (\d+) of", easel.line.inner_text())
    return int(found[1]) if found else 0


def wait_for_steps(easel: EaselPage) -> None:
    expect(easel.line).to_contain_text(re.compile(r"Step [1-9]\d* of"), timeout=LONG)


def test_a_prompt_becomes_a_picture_that_is_seen_growing_step_by_step(
    easel: EaselPage, server: Server, tmp_path: Path
) -> None:
    easel.page.evaluate(WATCH_PREVIEWS)
    easel.ask("a red cat", steps=40, size=256)
    easel.shows("preview")
    easel.page.screenshot(path=tmp_path / "preview.png")
    easel.made("a red cat")
    assert easel.page.evaluate("window.seen.size") >= 5, "previews must change from step to step"
    picture = easel.page.locator(".easel-picture")
    assert easel.page.evaluate("image => [image.naturalWidth, image.naturalHeight]", picture.element_handle()) == [
        256,
        256,
    ]
    facts = easel.page.locator(".easel-facts")
    expect(facts).to_contain_text("a red cat")
    expect(facts).to_contain_text("256 × 256")
    assert easel.page.locator(".easel-parameters pre").text_content().startswith("a red cat\nSteps: 40, ")  # type: ignore[union-attr]
    with easel.page.expect_download() as download:
        easel.page.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes() in [path.read_bytes() for path in server.home.rglob("*.png")]
    expect(easel.page).to_have_title("Easel")
    easel.page.screenshot(path=tmp_path / "done.png")


def test_every_field_is_sent_even_when_its_group_was_never_opened(easel: EaselPage) -> None:
    easel.prompt.fill("untouched")
    values = easel.submitted(easel.button("generate").click)
    others = ("extensions", "branch_from", "branch_step")  # sent where they say something
    defaults = {name: field.default for name, field in parameters(TextToImage).items() if name not in others}
    assert set(values) == set(defaults), "and nothing of extensions, whose options are all at their defaults"
    assert values == {**defaults, "prompt": "untouched", "checkpoint": "tiny", "width": 64, "height": 64}
    easel.made("untouched")


def test_a_reload_in_the_middle_comes_back_to_the_same_running_job(easel: EaselPage) -> None:
    easel.ask("still running", steps=MANY_STEPS, batch_count=30)
    wait_for_steps(easel)
    easel.reload()
    wait_for_steps(easel)
    posts = [request for request in easel.requests if is_submission(request)]
    assert len(posts) == 1, "a reload must not submit again"
    easel.button("interrupt").click()
    expect(easel.page.locator(".easel-live")).to_be_hidden(timeout=LONG)


def test_stop_ends_the_job_and_keeps_finished_pictures(easel: EaselPage) -> None:
    easel.ask("stopped", steps=MANY_STEPS, batch_count=50)
    wait_for_steps(easel)
    expect(easel.thumbnails.first).to_be_visible(timeout=LONG)
    easel.button("interrupt").click()
    expect(easel.page.locator(".easel-live")).to_be_hidden(timeout=LONG)
    kept = easel.thumbnails.count()
    assert 1 <= kept < 50
    easel.made("stopped")
    assert easel.thumbnails.count() == kept


def test_skip_goes_on_with_the_next_picture(easel: EaselPage) -> None:
    easel.ask("skipped", steps=MANY_STEPS, batch_count=20, size=128)
    wait_for_steps(easel)
    before = re.search(r"picture (\d+) of 20", easel.line.inner_text())
    assert before
    easel.button("skip").click()
    expect(easel.line).not_to_contain_text(f"picture {before[1]} of 20", timeout=LONG)
    expect(easel.line).to_contain_text("of 20")
    assert easel.thumbnails.count() < int(before[1]), "the skipped picture is not among the finished ones"
    easel.button("interrupt").click()
    expect(easel.page.locator(".easel-live")).to_be_hidden(timeout=LONG)


def test_a_paused_job_waits_and_then_goes_on_where_it_was(easel: EaselPage) -> None:
    easel.ask("paused", steps=MANY_STEPS, size=640)  # seconds, also where two journeys share the machine
    expect(easel.line).to_contain_text(re.compile(r"Step \d\d+ of"), timeout=LONG)
    easel.button("pause").click()
    expect(easel.line).to_contain_text("Paused", timeout=LONG)
    paused_at = step_of(easel)
    easel.page.wait_for_timeout(1000)
    assert step_of(easel) == paused_at
    easel.page.evaluate(WATCH_STEPS)
    easel.button("resume").click()
    easel.made("paused")
    assert min(easel.page.evaluate("window.steps")) >= paused_at, "resuming must not begin anew"


def test_an_engine_killed_in_mid_job_is_started_again_and_the_job_ends_well(easel: EaselPage, server: Server) -> None:
    easel.ask("unkillable", steps=MANY_STEPS, size=128)
    wait_for_steps(easel)
    server.kill_engine()
    easel.made("unkillable")
    assert easel.thumbnails.count() == 1
    easel.ask("afterwards", steps=2)
    easel.made("afterwards")


def test_two_windows_work_side_by_side(open_page: OpenPage) -> None:
    one, two = open_page(), open_page()
    one.ask("the first window", steps=MANY_STEPS, batch_count=4)
    wait_for_steps(one)
    two.ask("the second window", steps=5)
    expect(two.line).to_contain_text("queue", timeout=LONG)
    for window, prompt in ((one, "the first window"), (two, "the second window")):
        window.made(prompt)
    assert (one.thumbnails.count(), two.thumbnails.count()) == (4, 1)


def test_generate_can_be_pressed_again_while_a_job_runs(easel: EaselPage) -> None:
    easel.ask("the long one", steps=MANY_STEPS, batch_count=20)
    wait_for_steps(easel)
    easel.type_number("batch_count", 1)
    easel.ask("waits behind it", steps=3)
    row = easel.page.locator(".easel-queue li")
    expect(row).to_contain_text("waits behind it")
    expect(row).to_contain_text("Next in the queue")
    easel.button("interrupt").click()
    expect(easel.page.locator(".easel-facts")).to_contain_text("waits behind it", timeout=LONG)


@pytest.mark.parametrize("kind", ["seed", "size"])
def test_an_impossible_value_is_explained_and_the_page_goes_on(easel: EaselPage, kind: str) -> None:
    easel.expected = ("422",)
    if kind == "seed":
        easel.control("seed").fill("-7")
        easel.prompt.fill("impossible")
        easel.page.keyboard.press("Control+Enter")
        expect(easel.error).to_contain_text("Seed (seed)")
        expect(easel.error).to_contain_text("-1 to 4,294,967,295")
        easel.control("seed").fill("5")
    else:
        easel.ask("<img src=x onerror=alert(1)>${alert(1)}{{alert(1)}}", steps=2, size=100)
        expect(easel.error).to_contain_text("multiple of 8")
    easel.ask("possible <b>again</b>" + "${1+1}{{1+1}}", steps=2)
    easel.made("possible <b>again</b>${1+1}{{1+1}}")
    expect(easel.error).to_have_count(0)


def test_keys_generate_skip_and_stop(easel: EaselPage) -> None:
    easel.open_group("batch")
    easel.type_number("batch_count", 30)
    easel.type_number("steps", MANY_STEPS)
    easel.prompt.fill("by keyboard")
    values = easel.submitted(lambda: easel.prompt.press("Control+Enter"))
    assert (values["prompt"], values["batch_count"], values["num_inference_steps"]) == ("by keyboard", 30, MANY_STEPS)
    wait_for_steps(easel)
    with easel.page.expect_response(re.compile(r"/api/v1/jobs/.*/skip$")):  # before the job is told to end
        easel.prompt.press("Alt+Enter")
    with easel.page.expect_request(re.compile(r"/api/v1/jobs/.*/cancel$")):
        easel.prompt.press("Escape")
    expect(easel.page.locator(".easel-live")).to_be_hidden(timeout=LONG)
    assert easel.prompt.input_value() == "by keyboard"


def test_the_seed_of_a_picture_makes_it_again(easel: EaselPage) -> None:
    easel.ask("again", steps=4)
    easel.made("again")
    first = easel.page.locator(".easel-picture").get_attribute("src")
    easel.button("reuse_seed").click()
    expect(easel.control("seed")).not_to_have_value("-1")
    values = easel.submitted(easel.button("generate").click)
    assert values["seed"] == int(easel.control("seed").input_value())
    expect(easel.thumbnails).to_have_count(2, timeout=LONG)
    easel.made("again")
    second = easel.page.locator(".easel-picture").get_attribute("src")
    assert first != second
    assert first and second
    assert pixels(easel, first) == pixels(easel, second)
    easel.button("random_seed").click()
    expect(easel.control("seed")).to_have_value("-1")
