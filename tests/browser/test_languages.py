"""Journeys of Korean readers: what the server says reaches them in their language, and what it quotes stays text."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import OpenPage
from tests.browser.easel_page import LONG, EaselPage
from webui.errors import EngineDied, UnknownName, UserError

pytestmark = pytest.mark.browser

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def korean(open_page: OpenPage, new_context: Callable[..., BrowserContext]) -> Callable[..., EaselPage]:
    """Opens a Korean page; with an error, one whose server refuses the first job with it."""

    def open_one(error: UserError | None = None) -> EaselPage:
        context = new_context(locale="ko-KR")
        if error is not None:
            told: dict[str, Any] = {"error": {"kind": error.kind, **error.sentence.to_json()}}
            context.route("**/api/v1/jobs", lambda route: route.fulfill(status=500, json=told), times=1)
        easel = open_page(context)
        easel.expected = ("422", "500")
        return easel

    return open_one


def test_a_refusal_is_told_in_korean_with_its_values(korean: Callable[..., EaselPage]) -> None:
    easel = korean()
    easel.ask("", steps=1, size=68)
    expect(easel.error).to_contain_text("너비 값은 8의 배수여야 하는데 68입니다.")
    assert "multiple of" not in easel.error.inner_text()


def test_a_warning_is_told_in_korean_now_and_after_a_reload(korean: Callable[..., EaselPage]) -> None:
    easel = korean()
    warning = easel.page.locator(".easel-warning")
    easel.ask("a cat <lora:<b>bold", steps=1)
    for _ in range(2):
        expect(warning).to_contain_text("프롬프트의 “<lora:<b>”은(는) 효과가 없습니다.", timeout=LONG)
        expect(warning.locator("b")).to_have_count(0)
        easel.reload()


def test_values_that_are_sentences_are_told_in_korean_too(korean: Callable[..., EaselPage]) -> None:
    easel = korean(EngineDied(-9))
    easel.ask("x", steps=1)
    expect(easel.error).to_contain_text("작업 도중에 엔진 프로세스가 끝났습니다(신호 9).")


def test_values_are_never_taken_for_markup_or_for_placeholders(korean: Callable[..., EaselPage]) -> None:
    easel = korean(UnknownName("checkpoint", MARKUP, ["{name}", "constructor"]))
    easel.ask("x", steps=1)
    expect(easel.error).to_contain_text(
        f"알 수 없는 체크포인트입니다: '{MARKUP}'. 쓸 수 있는 것: {{name}}, constructor."
    )
    expect(easel.error.locator("img")).to_have_count(0)


def test_what_has_no_translation_is_told_in_english(korean: Callable[..., EaselPage]) -> None:
    easel = korean(UserError("constructor of {thing} was never translated.", thing=MARKUP))
    easel.ask("x", steps=1)
    expect(easel.error).to_contain_text(f"constructor of {MARKUP} was never translated.")
