"""Controls say what the declarations say."""

from typing import Any

import pytest

from webui.params import Parameter, parameters
from webui.requests import TextToImage
from webui.ui.form import NO_CONTROL

FIELDS = parameters(TextToImage)
IDS = {
    "prompt": "txt2img_prompt",
    "negative_prompt": "txt2img_neg_prompt",
    "width": "txt2img_width",
    "height": "txt2img_height",
    "num_inference_steps": "txt2img_steps",
    "sampler": "txt2img_sampling",
    "schedule": "txt2img_scheduler",
    "guidance_scale": "txt2img_cfg_scale",
    "seed": "txt2img_seed",
    "batch_count": "txt2img_batch_count",
    "batch_size": "txt2img_batch_size",
}


def make(name: str) -> Any:
    from webui.ui.controls import control

    return control("txt2img", FIELDS[name], FIELDS[name].default)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("checkpoint", *NO_CONTROL)])
def test_a_control_has_the_range_step_and_default_of_its_field(name: str) -> None:
    made, param = make(name), FIELDS[name].param
    assert made.value == FIELDS[name].default
    assert (made.label.key, made.info.key) == (f"param.{name}.label", f"param.{name}.help")
    if type(made).__name__ == "Slider":  # a box leaves its limits to the request
        assert (made.minimum, made.maximum, made.step) == (param.minimum, param.maximum, param.step)


@pytest.mark.parametrize(("name", "element_id"), IDS.items())
def test_element_ids_are_those_that_user_scripts_know(name: str, element_id: str) -> None:
    assert make(name).elem_id == element_id


@pytest.mark.parametrize("name", ["sampler", "schedule", "preview"])
def test_a_dropdown_offers_exactly_the_names_of_its_registry(name: str) -> None:
    from webui.registry import CHOICES

    assert [value for _, value in make(name).choices] == list(CHOICES[name])


def test_a_field_of_a_new_type_needs_a_control_of_its_own() -> None:
    from webui.ui.controls import control

    with pytest.raises(TypeError, match="no control for 'prompt' of type bytes"):
        control("txt2img", Parameter("prompt", bytes, b"", FIELDS["prompt"].param), b"")


def test_a_form_that_lacks_a_field_is_refused() -> None:
    from webui.ui.form import Form

    with pytest.raises(ValueError, match="seed"):
        Form("txt2img", "txt2img", {name: None for name in FIELDS if name != "seed"}, {})
