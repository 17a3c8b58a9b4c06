"""Requests: what is possible, what is refused and in which words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.errors import InvalidRequest, UnknownName, UserError
from webui.params import parameters
from webui.registry import SAMPLERS, SCHEDULES, canonical_sampler, canonical_schedule, split_sampler_name
from webui.requests import MAX_SEED, TextToImage, build, resolve, to_values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 100}, "multiple of 8"),
        ({"width": 100_000}, "2,048"),
        ({"height": 0}, "64"),
        ({"num_inference_steps": 0}, "1 to 150"),
        ({"guidance_scale": math.nan}, "number from 1.0 to 30.0, not 'nan'"),
        ({"guidance_scale": math.inf}, "1.0 to 30.0"),
        ({"width": math.nan}, "whole number from 64"),
        ({"seed": 2**32}, "4,294,967,295"),
        ({"seed": True}, "whole number"),
        ({"prompt": 3}, "must be text"),
        ({"prompt": "x" * 20_001}, "20,000 characters"),
        ({"width": 2048, "height": 2048, "batch_size": 16}, "smaller size"),
    ],
)
def test_an_impossible_value_is_refused_naming_its_limits(values, words):
    with pytest.raises(InvalidRequest, match=words):
        build("txt2img", values)


@pytest.mark.parametrize("name", ["sampler", "schedule", "preview"])
def test_an_unknown_name_is_refused_with_the_list_of_known_ones(name):
    with pytest.raises(UnknownName, match=r"Known: \w+"):
        build("txt2img", {name: "Eular"})


def test_an_unknown_field_and_an_unknown_kind_are_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match="guidance_scale"):
        build("txt2img", {"cfg": 7})
    with pytest.raises(UnknownName, match="txt2img"):
        build("txt2video", {})


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_old_joined_sampler_name_is_split(sampler, schedule):
    assert canonical_sampler(f"{sampler} {schedule}") == (sampler, schedule)
    request = build("txt2img", {"sampler": f"{sampler} {schedule}"})
    assert (request.sampler, request.schedule) == (sampler, schedule)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("k_euler_ancestral", ("Euler a", None)),
        ("euler a", ("Euler a", None)),
        ("plms", ("PLMS", None)),
        ("k_dpmpp_2m_ka", ("DPM++ 2M", "Karras")),
        ("k_dpmpp_2m_sde_exp", ("DPM++ 2M SDE", "Exponential")),
        ("dpm++ 3m sde karras", ("DPM++ 3M SDE", "Karras")),
        ("DPM++ 2M SDE Heun Karras", ("DPM++ 2M SDE Heun", "Karras")),
        ("LMS Karras", ("LMS", "Karras")),
        ("Euler Karras Karras", ("Euler Karras Karras", None)),
        ("Karras", ("Karras", None)),
    ],
)
def test_a_samplers_old_and_short_names_are_known(name, expected):
    assert canonical_sampler(name) == expected
    assert split_sampler_name(name) == (expected if expected[1] else None)


@pytest.mark.parametrize("name", ["sgm_uniform", "SGMUniform", "SGM Uniform"])
def test_a_schedules_key_and_label_are_the_same(name):
    assert build("txt2img", {"schedule": name}).schedule == "SGM Uniform"
    assert canonical_schedule("align_your_steps") == "Align Your Steps"
    assert canonical_schedule("Gone") == "Gone"


def test_an_old_name_of_a_sampler_leaves_the_schedule_that_was_asked_for():
    request = build("txt2img", {"sampler": "k_dpmpp_2m", "schedule": "Simple"})
    assert (request.sampler, request.schedule) == ("DPM++ 2M", "Simple")


def test_a_whole_float_counts_as_an_integer_because_browsers_send_those():
    assert build("txt2img", {"width": 128.0, "guidance_scale": 7}).width == 128


def test_resolving_replaces_seed_minus_one_and_nothing_else():
    request = build("txt2img", {"prompt": "a cat"})
    resolved = resolve(request)
    assert 0 <= resolved.seed <= MAX_SEED
    assert to_values(resolved) | {"seed": -1} == to_values(request)
    assert resolve(resolved) is resolved


def test_the_seed_of_a_later_picture_counts_up_and_wraps():
    request = build("txt2img", {"seed": MAX_SEED, "batch_size": 2})
    assert [request.seed_of(picture) for picture in range(2)] == [MAX_SEED, 0]


def test_every_parameter_has_a_label_and_help():
    for parameter in parameters(TextToImage).values():
        assert parameter.param.label, parameter.name
        assert parameter.param.help.endswith("."), parameter.name


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from(list(parameters(TextToImage))) | st.text(max_size=10), anything, max_size=6))
def test_any_values_give_a_request_that_survives_the_round_trip_or_a_sentence(values):
    try:
        request = build("txt2img", values)
    except UserError as error:
        assert str(error)
        return
    assert build("txt2img", to_values(request)) == request
