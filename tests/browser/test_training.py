"""Journeys in the Train tab: pictures dropped in, a LoRA trained, paused, resumed, stopped, and pictures in between."""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, FilePayload, Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, EaselPage, settle
from tests.browser.server import Server

pytestmark = pytest.mark.browser

COLOURS = ("red", "green", "blue", "gold")
FOREVER = 1_000_000


def files() -> list[FilePayload]:
    """Four small pictures, one with a caption beside it, and something that is none."""
    payloads: list[FilePayload] = []
    for colour in COLOURS:
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
        payloads.append({"name": f"{colour}.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    payloads.append({"name": "red.txt", "mimeType": "text/plain", "buffer": b"a red square"})
    payloads.append({"name": "notes.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"})
    return payloads


class TrainTab:
    """The tab of one page, driven as a person drives it."""

    def __init__(self, easel: EaselPage) -> None:
        self.easel = easel
        self.page = easel.page

    def open(self) -> "TrainTab":
        self.page.locator("#tab_train-button").click()
        return self.is_open()

    def is_open(self) -> "TrainTab":
        expect(self.page.locator("#train_start")).to_be_visible(timeout=LONG)
        self.page.wait_for_selector("html[data-train-kind]")
        settle(self.page)
        return self

    def drop(self, payloads: list[FilePayload]) -> None:
        self.page.locator("easel-dataset input[type=file]").set_input_files(payloads)

    @property
    def tiles(self) -> Locator:
        return self.page.locator(".easel-tile")

    @property
    def line(self) -> Locator:
        return self.page.locator("easel-training .easel-line")

    def button(self, name: str) -> Locator:
        return self.page.locator(f"#train_{name}")

    def type_number(self, name: str, value: float) -> None:
        box = self.page.locator(f"#train_{name} input").first
        box.fill(str(value))
        box.blur()

    def start(self, **numbers: float) -> None:
        for name, value in numbers.items():
            self.type_number(name, value)
        settle(self.page, 400)  # as long as a hand needs from a box to the button
        self.button("start").click()

    def has_reached(self, step: int) -> None:
        """Wait for a step of the newest training. `wait_for_function` would take a promise for an answer."""
        newest = "import('./easel/easel.js').then(({ book }) => book.trainings.at(-1)?.progress?.step ?? 0)"
        for _ in range(LONG // 100):
            if self.page.evaluate(newest) >= step:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the training did not reach step {step}")


@pytest.fixture
def tab(easel: EaselPage) -> Iterator[TrainTab]:
    """The open tab; at the end no training is left running and no dataset is left over."""
    easel.expected = ("notes.pdf", "422")
    yield TrainTab(easel).open()
    api = f"{easel.page.url.split('#')[0]}api/v1"
    request = easel.page.request
    for job in request.get(f"{api}/jobs?training=true").json()["jobs"]:
        if job["state"] in ("queued", "running", "paused"):
            request.post(f"{api}/jobs/{job['id']}/cancel")
    while any(job["state"] == "running" for job in request.get(f"{api}/jobs?training=true").json()["jobs"]):
        easel.page.wait_for_timeout(100)
    for dataset in request.get(f"{api}/datasets").json()["datasets"]:
        assert request.delete(f"{api}/datasets/{dataset['name']}").ok


def test_four_pictures_become_a_lora_with_a_pause_and_a_reload_in_between(tab: TrainTab) -> None:
    page = tab.page
    expect(page.locator(".easel-train-empty")).to_contain_text("Drag a few pictures")
    tab.drop(files())
    expect(tab.tiles).to_have_count(4)
    expect(page.locator("easel-dataset .easel-error")).to_contain_text("notes.pdf")
    expect(page.locator(".easel-dataset-summary")).to_have_text("4 pictures, 1 with a caption")
    captions = page.locator(".easel-tile textarea")
    assert sorted(captions.nth(n).input_value() for n in range(4)) == ["", "", "", "a red square"]
    captions.nth(0).fill("a blue square")
    captions.nth(0).press("Enter")
    expect(page.locator(".easel-dataset-summary")).to_have_text("4 pictures, 2 with a caption")

    tab.start(steps=120)
    expect(page.locator("easel-training h2").last).to_have_text("pictures lora")
    tab.has_reached(10)
    tab.button("pause").click()
    expect(tab.line).to_contain_text("Paused", timeout=LONG)
    page.reload()
    tab.is_open()
    expect(tab.line).to_contain_text("Paused", timeout=LONG)
    expect(page.locator(".easel-plot-line")).to_have_count(1)
    expect(captions.nth(0)).to_have_value("a blue square")
    assert page.locator("#train_steps input").input_value() == "120"
    tab.button("resume").click()

    expect(page.locator(".easel-run-result")).to_have_text(
        "Saved as models/loras/pictures lora.safetensors", timeout=LONG
    )
    expect(tab.line).to_have_text("Done")
    expect(tab.button("pause")).to_be_hidden()
    expect(page.locator(".easel-sample")).to_have_attribute("alt", "After step 100")
    plot = page.locator(".easel-plot")
    expect(plot).to_have_attribute("aria-label", re.compile("at step 120 the loss is"))
    curve = page.locator(".easel-plot-line").get_attribute("d")
    page.get_by_label("logarithmic").check()
    assert page.locator(".easel-plot-line").get_attribute("d") != curve
    page.locator(".easel-plot").hover()
    expect(page.locator(".easel-plot-readout")).to_contain_text(re.compile(r"step \d+ · loss \d"))
    expect(page.locator("#train_name input, #train_name textarea").first).to_have_attribute(
        "placeholder", "pictures lora 2"
    )
    models = page.request.get(f"{page.url}api/v1/models").json()
    assert "pictures lora" in [lora["name"] for lora in models["loras"]]


def test_a_picture_comes_first_and_the_training_goes_on_by_itself_until_it_is_stopped(tab: TrainTab) -> None:
    page, easel = tab.page, tab.easel
    tab.drop(files()[:2])
    expect(tab.tiles).to_have_count(2)
    tab.start(steps=FOREVER)
    tab.has_reached(5)
    page.locator("#tab_txt2img-button").click()
    row = page.locator("#txt2img_result .easel-queue li", has_text="pictures lora")
    expect(row).to_contain_text(re.compile(r"Step [\d,]+ of"))
    easel.ask("a picture meanwhile", steps=30)
    expect(row).to_contain_text("Steps aside for pictures", timeout=LONG)
    easel.made("a picture meanwhile")
    expect(row).to_contain_text(re.compile(r"^(?!.*aside).*Step [\d,]+ of"), timeout=LONG)
    expect(row.get_by_role("button")).to_have_text(["Pause"])
    page.locator("#tab_train-button").click()
    tab.button("cancel").click()
    expect(tab.button("cancel")).to_have_text(re.compile("Really stop"))
    tab.button("cancel").click()
    expect(tab.line).to_have_text("Stopped", timeout=LONG)


def test_only_the_controls_of_the_chosen_kind_are_shown_with_defaults_that_suit_it(tab: TrainTab) -> None:
    page = tab.page

    def choose(kind: str) -> None:
        page.locator("#train_kind label", has_text=kind).click()

    steps = page.locator("#train_steps input")
    expect(page.locator("#train_trigger")).to_be_visible()
    expect(page.locator("#train_token")).to_be_hidden()
    expect(page.locator("#train_size input[type=number]").first).to_have_value("64")  # that of the tiny checkpoint
    choose("First stage")
    expect(steps).to_have_value("20000")
    for hidden in ("trigger", "checkpoint", "token"):
        expect(page.locator(f"#train_{hidden}")).to_be_hidden()
    page.locator("#train_group_method button").first.click()
    expect(page.locator("#train_kl_weight")).to_be_visible()
    expect(page.locator("#train_codebook_size")).to_be_hidden()
    page.locator("#train_regularisation input").click()
    page.locator("#train_regularisation").get_by_role("option", name="VQ").click()
    expect(page.locator("#train_codebook_size")).to_be_visible()
    expect(page.locator("#train_kl_weight")).to_be_hidden()
    tab.type_number("steps", 777)
    settle(page, 400)
    choose("Embedding")
    expect(steps).to_have_value("777")  # what was typed is never replaced
    expect(page.locator("#train_token")).to_be_visible()
    expect(page.locator("#train_learning_rate input")).to_have_value("0.005")
    tab.button("start").click()
    expect(page.locator("easel-training .easel-error")).to_contain_text("Choose a dataset first")


def test_impossible_values_are_told_in_a_card_and_nothing_is_started(tab: TrainTab) -> None:
    tab.drop(files()[:1])
    expect(tab.tiles).to_have_count(1)
    tab.page.locator("#train_name :is(input, textarea)").first.fill("../escape")
    tab.start(steps=5)
    expect(tab.page.locator("easel-training .easel-error")).to_contain_text("cannot be")
    expect(tab.page.locator("#txt2img_result .easel-error")).to_have_count(0)


def test_the_tab_speaks_korean_and_fits_a_phone(
    open_page: OpenPage, new_context: Callable[..., BrowserContext], server: Server
) -> None:
    context = new_context(locale="ko-KR", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tab = TrainTab(open_page(context)).open()
    expect(tab.page.locator("easel-dataset")).to_contain_text("그림을 여기로 끌어오거나")
    expect(tab.button("start")).to_have_text("학습 시작")
    assert tab.easel.has_no_horizontal_scroll()
    shown: Any = tab.page.locator("#train").inner_text()
    latin = [word for word in re.findall(r"[A-Za-z]{4,}", shown) if word not in KNOWN]
    assert latin == [], json.dumps(latin)


KNOWN = {"LoRA", "safetensors", "lora", "loras", "pictures", "models", "Easel", "untitled"}
"""Words that are the same in every language, and names that people gave."""
