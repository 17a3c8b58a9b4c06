"""What the palette is told: every control of the page, with words that exist, under the headings that are around it."""

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from webui.app import App
from webui.params import parameters
from webui.requests import REQUESTS
from webui.ui.assets_router import ASSETS

if TYPE_CHECKING:
    from webui.ui.palette import Contents, Control


@pytest.fixture(scope="module")
def told(app: App) -> "Contents":
    from webui.ui import page, palette

    return palette.contents(page.build_page(app))


@pytest.fixture(scope="module")
def controls(told: "Contents") -> "Mapping[str, Control]":
    return {control["element"]: control for control in told["controls"]}


@pytest.mark.parametrize(("tab", "kind"), [("txt2img", "txt2img"), ("img2img", "img2img"), ("img2img", "inpaint")])
def test_every_field_of_a_picture_can_be_found(controls: "Mapping[str, Control]", tab: str, kind: str) -> None:
    from webui.ui.controls import element_id
    from webui.ui.form import NO_CONTROL

    elsewhere = {"checkpoint", "image", "mask", *NO_CONTROL}
    expected = {element_id(tab, name) for name in parameters(REQUESTS[kind]) if name not in elsewhere}
    assert expected - controls.keys() == set()
    assert controls[element_id(tab, "width")]["inside"] == [f"tab_{tab}"]
    assert controls[element_id(tab, "sampler")]["inside"] == [f"tab_{tab}", f"{tab}_group_sampling"]


def test_every_field_of_a_training_and_of_enlarging_can_be_found(controls: "Mapping[str, Control]") -> None:
    from webui.ui.extras import ELEMENT_IDS
    from webui.ui.train import ELSEWHERE, fields

    assert {f"train_{name}" for name in fields() if name not in ELSEWHERE} - controls.keys() == set()
    assert set(ELEMENT_IDS.values()) - controls.keys() == set()


def test_the_bar_above_the_tabs_and_the_buttons_can_be_found(controls: "Mapping[str, Control]") -> None:
    assert controls["setting_sd_model_checkpoint"]["inside"] == []
    roles = {element: control["role"] for element, control in controls.items()}
    assert roles["refresh_sd_model_checkpoint"] == "tool"
    assert roles["txt2img_generate"] == roles["img2img_reset"] == roles["train_start"] == "button"


def test_what_the_script_presses_by_itself_is_not_offered(controls: "Mapping[str, Control]") -> None:
    assert controls.keys().isdisjoint({"txt2img_save", "txt2img_fill", "easel_reload_checkpoints"})


def test_everything_has_words_and_known_headings(told: "Contents") -> None:
    from webui.ui.groups import GROUPS
    from webui.ui.languages import has_word

    brought = {heading for heading, label in told["headings"].items() if not has_word(label)}  # by extensions
    own = [control for control in told["controls"] if brought.isdisjoint(control["inside"])]
    assert [control["element"] for control in own if not has_word(control["label"])] == []
    assert brought.isdisjoint(f"{tab}_group_{group}" for tab in ("txt2img", "img2img") for group in GROUPS)
    assert set(chain(*(control["inside"] for control in told["controls"]))) <= told["headings"].keys()


def test_no_listener_keeps_keys_of_its_own() -> None:
    """Keys that a reader could look for are in keys.js, which the sheet of keys shows."""
    for name in ("shortcuts.js", "prompt-keys.js", "canvas-panel.js", "gallery-lightbox.js", "strip.js", "compare.js"):
        source = (ASSETS / name).read_text("utf-8")
        assert "event.key" not in source, name
        assert "meaning(" in source, name
