"""A journey in the Extensions tab: a .zip uploaded, reviewed, enabled, drawn with, and removed."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, EaselPage
from tests.browser.server import Server
from tests.extensions.builder import UI_EXAMPLE, write
from tests.extensions.test_desk import zipped

pytestmark = pytest.mark.browser

TRYING = 240_000
"""Milliseconds for an import of torch and diffusers in a process of its own, beside everything else."""


def token_of(server: Server) -> str:
    return re.findall(r"Operator token[^:]*: (\S+)", server.console)[-1]


def finished(easel: EaselPage, server: Server) -> dict[str, Any]:
    """The newest job, once it has its picture."""
    for _ in range(600):
        jobs: list[dict[str, Any]] = easel.page.request.get(f"{server.url}/api/v1/jobs?limit=1").json()["jobs"]
        if jobs and jobs[0]["state"] == "done" and jobs[0]["request"]["extensions"]:
            return jobs[0]
        easel.page.wait_for_timeout(100)
    raise AssertionError(jobs)


def test_an_extension_is_installed_approved_used_and_removed(
    open_page: OpenPage, server: Server, tmp_path: Path
) -> None:
    easel = open_page()
    page = easel.page
    page.locator("#tab_extensions-button").click()
    tab = page.locator("easel-extensions")
    card = tab.locator("#extension_film_grain")

    def action(name: str) -> Locator:
        return card.locator(f'[data-action="{name}"]')

    archive = zipped(write(tmp_path / "film_grain", ui=UI_EXAMPLE), tmp_path / "film_grain.zip")
    tab.locator("#extensions_file").set_input_files(archive)
    expect(tab.locator(".easel-error")).to_contain_text("operator's token", timeout=LONG)
    easel.complaints.clear()  # the refusal above, which the browser's console names too
    tab.locator("#extensions_token").fill(token_of(server))
    tab.locator("#extensions_file").set_input_files(archive)
    expect(card).to_contain_text("Disabled", timeout=LONG)
    expect(card).to_contain_text("engine.py, extension.toml, options.py, ui.py")
    action("enable").click()
    expect(card).to_contain_text("Enabled", timeout=TRYING)

    page.locator("#tab_txt2img-button").click()
    easel.reload()
    easel.open_group("film_grain")
    page.locator("#txt2img_film_grain_much").click()
    expect(easel.control("film_grain_amount", "input[type=number]")).to_have_value("1")
    easel.ask("the red cat", steps=2)
    job = finished(easel, server)
    assert job["request"]["extensions"] == {"film_grain": {"amount": 1}}
    assert "Extensions: " in job["pictures"][0]["parameters"]
    assert page.request.get(f"{server.url}/extensions/film_grain/hello").json() == {"name": "film_grain"}

    easel.type_number("film_grain_amount", 0)  # a page that still wants what is gone is told so
    page.wait_for_function('JSON.parse(sessionStorage["easel.form.txt2img"])["film_grain.amount"] === 0')
    page.locator("#tab_extensions-button").click()
    expect(card).to_contain_text(re.compile(r"after_decode \([\d.]+ ms per picture\)"), timeout=LONG)
    action("remove").click()
    action("remove").click()
    expect(card).to_have_count(0)
    page.locator("#tab_txt2img-button").click()
    easel.reload()
    expect(page.locator("#txt2img_group_film_grain")).to_have_count(0)
