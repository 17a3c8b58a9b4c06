"""Requests for training: what is possible, what is refused, and that the page, JSON and a file build the same."""

import json
import math
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.errors import InvalidRequest, UnknownName, UserError
from webui.params import parameters
from webui.registry import CHOICES
from webui.requests import REQUESTS, build, resolve, to_values
from webui.train_requests import TRAIN_REQUESTS

NEEDED = {"name": "mine", "dataset": "cats", "token": "<cat>"}
KINDS = list(TRAIN_REQUESTS)
FIELDS = sorted({name for request_type in TRAIN_REQUESTS.values() for name in parameters(request_type)})


def values_for(kind: str, **values: Any) -> dict[str, Any]:
    needed = {name: value for name, value in NEEDED.items() if name in parameters(TRAIN_REQUESTS[kind])}
    return {**needed, **values}


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_survives_json_and_a_toml_file(kind: str) -> None:
    request = build(kind, values_for(kind))
    assert (REQUESTS[kind], request.kind, request.is_training, request.pictures) == (type(request), kind, True, 0)
    values = json.loads(json.dumps(to_values(request)))
    assert build(kind, values) == request
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    assert build(kind, tomllib.loads("\n".join(lines))) == request


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_seed_is_open_and_results_of_different_kinds_lie_apart(kind: str) -> None:
    request = build(kind, values_for(kind))
    assert to_values(resolve(request)) | {"seed": -1} == to_values(request)
    others = [build(other, values_for(other)) for other in KINDS if other != kind]
    assert request.result not in [other.result for other in others]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 0}, "1 to 10,000,000"),
        ({"learning_rate": math.nan}, "1e-08 to 1"),
        ({"learning_rate": 0}, "1e-08 to 1"),
        ({"size": 66}, "multiple of 8"),
        ({"batch_size": True}, "whole number"),
        ({"ema_decay": 1.0}, "0.99999"),
        ({"name": ""}, "cannot be"),
        ({"name": "a/b"}, "cannot be"),
        ({"dataset": ".."}, "cannot be"),
        ({"sample_prompt": "x" * 2001}, "2,000"),
    ],
)
def test_an_impossible_value_is_refused_with_what_is_possible(kind: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        build(kind, values_for(kind, **values))


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_is_possible_and_nothing_else(kind: str) -> None:
    for name, declared in parameters(TRAIN_REQUESTS[kind]).items():
        for choice in CHOICES.get(declared.param.choices, ()):
            assert getattr(build(kind, values_for(kind, **{name: choice})), name) == choice
        if declared.param.choices:
            wrong = 3 if declared.type is int else "nothing"
            with pytest.raises(UnknownName, match="Known: "):
                build(kind, values_for(kind, **{name: wrong}))


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_default_must_be_named(kind: str) -> None:
    for name in values_for(kind):
        values = values_for(kind)
        del values[name]
        with pytest.raises(InvalidRequest, match="is missing"):
            build(kind, values)


def test_a_first_stage_refuses_a_size_that_its_downsampling_does_not_divide() -> None:
    with pytest.raises(InvalidRequest, match="Take 64"):
        build("train-autoencoder", values_for("train-autoencoder", size=72, downsampling=32))


def test_a_field_of_another_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="rank"):
        build("train-lora", values_for("train-lora", vectors=2))


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.lists(st.integers())


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=10), anything, max_size=6))
def test_any_values_give_a_request_that_survives_the_round_trip_or_a_sentence(
    kind: str, values: dict[str, Any]
) -> None:
    try:
        request = build(kind, values_for(kind, **values))
    except UserError as error:
        assert str(error)
        return
    assert build(kind, to_values(request)) == request
