"""A journey with the embedded model: an X/Y plot planned, made, reloaded in the middle; a run paused and stopped."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Locator, expect

from tests.browser.easel_page import LONG, EaselPage
from tests.browser.server import Server
from webui.settings import ROOT

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("embedded"), ROOT / "models", ROOT / "extensions")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def easel(embedded: Server, new_context: Callable[..., BrowserContext]) -> Iterator[EaselPage]:
    """A page of the embedded model's server, which has nothing to complain about in the end."""
    page = EaselPage(new_context(), embedded.url)
    yield page
    assert not page.complaints, "\n".join(page.complaints)


def option(easel: EaselPage, name: str) -> Locator:
    return easel.page.locator(f"#txt2img_script_xyz_plot_{name}")


def plan(easel: EaselPage, x: str, y: str) -> None:
    option(easel, "x_axis").select_option("num_inference_steps")
    option(easel, "x_values").fill(x)
    option(easel, "y_axis").select_option("guidance_scale")
    option(easel, "y_values").fill(y)


def test_a_plot_is_planned_made_and_still_there_after_a_reload(easel: EaselPage) -> None:
    easel.expected = ("422",)  # plans of what is impossible
    page, line = easel.page, easel.page.locator("#txt2img_estimate")
    easel.prompt.fill("a red apple")
    for name in ("width", "height"):
        easel.type_number(name, 64)
    page.locator("#txt2img_group_script button").first.click()
    page.locator("#txt2img_script_list").select_option("xyz_plot")
    option(easel, "x_axis").select_option("sampler")
    page.locator(".easel-script-row").filter(has=option(easel, "x_values")).get_by_role("button").click()
    expect(option(easel, "x_values")).to_have_value(re.compile("^Euler, Euler a, Heun, .*DDPM, LCM$"), timeout=LONG)
    plan(easel, "2, 999", "1-3 (+2)")
    expect(line).to_contain_text("from 1 to 150", timeout=LONG)
    plan(easel, "2, 4", "1-3 (+2)")
    expect(line).to_contain_text("X/Y/Z plot: 4 pictures", timeout=LONG)

    easel.button("generate").click()
    run = page.locator("#txt2img_runs .easel-run").first
    expect(run).to_contain_text("of 4", timeout=LONG)
    easel.reload()
    expect(run).to_contain_text("4 of 4 · Done", timeout=LONG)
    grid = run.locator(".easel-run-made img")
    expect(grid).to_have_count(1)
    page.wait_for_function("image => image.naturalWidth > 128", arg=grid.element_handle())
    assert easel.has_no_horizontal_scroll()

    page.locator("#txt2img_group_script button").first.click()
    expect(page.locator("#txt2img_script_list")).to_have_value("xyz_plot")
    expect(option(easel, "x_values")).to_have_value("2, 4")
    plan(easel, "100-150", "1")
    expect(line).to_contain_text("51 pictures · Takes about", timeout=LONG)
    easel.button("generate").click()
    expect(page.locator("#txt2img_runs .easel-run")).to_have_count(2, timeout=LONG)
    newest = page.locator("#txt2img_runs .easel-run").first
    newest.get_by_role("button", name="Pause").click()
    expect(newest).to_contain_text("Paused", timeout=LONG)
    newest.get_by_role("button", name="Resume").click()
    expect(newest.get_by_role("button", name="Pause")).to_be_visible(timeout=LONG)
    newest.get_by_role("button", name="Stop").click()
    expect(newest).to_contain_text("Stopped", timeout=LONG)
    page.set_viewport_size({"width": 390, "height": 844})
    assert easel.has_no_horizontal_scroll()

    page.set_viewport_size({"width": 1280, "height": 900})
    page.locator("#txt2img_script_list").select_option("")
    expect(line).not_to_contain_text("plot", timeout=LONG)
    easel.ask("a green pear", steps=2)
    easel.made("a green pear")
