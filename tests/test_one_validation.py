"""The same values give the same request and the same refusal, whoever asks: page, our API, AUTOMATIC1111's, CLI.

Every way ends in the same request type; here that is shown for any values, possible and impossible.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import app as app  # a fixture
from webui.api import mount_api
from webui.api.sdapi.bodies import TextBody
from webui.api.sdapi.translation import text_to_image
from webui.app import App
from webui.errors import UserError
from webui.generate import add_request_flags, values_of
from webui.params import Parameter, parameters
from webui.registry import CHOICES
from webui.requests import TextToImage, to_values
from webui.snippets import python

FIELDS = parameters(TextToImage)
THEIRS = {
    "prompt": "prompt", "negative_prompt": "negative_prompt", "width": "width", "height": "height", "seed": "seed",
    "num_inference_steps": "steps", "guidance_scale": "cfg_scale", "batch_count": "n_iter", "batch_size": "batch_size",
    "sampler": "sampler_name", "schedule": "scheduler", "tiling": "tiling", "s_churn": "s_churn", "s_noise": "s_noise",
    "variation_seed": "subseed", "variation_strength": "subseed_strength",
}  # fmt: skip
"""Our field -> AUTOMATIC1111's, of those that a request of theirs can say as it is."""


def values_for(field: Parameter) -> st.SearchStrategy[Any]:
    """Possible values and ones just beyond."""
    param = field.param
    choices = list(param.values or CHOICES.get(param.choices, ()))
    if choices:
        return st.sampled_from([*choices, "No such name"])
    if field.type is bool:
        return st.booleans()
    if field.type is str:
        return st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8).filter(
            lambda text: text.strip() == text and not text.startswith("-")
        )
    low, high = (param.minimum or 0, param.maximum or 1)
    if field.type is int:
        return st.integers(int(low) - 2, int(high) + 2)
    return st.floats(low - 1, high + 1, allow_nan=False).map(lambda value: round(value, 3))


SETS = st.fixed_dictionaries({}, optional={name: values_for(FIELDS[name]) for name in THEIRS})


@pytest.fixture(scope="module")
def client(app: App) -> TestClient:
    fastapi = FastAPI()
    mount_api(fastapi, app)
    return TestClient(fastapi)


def asked(app: App, values: Mapping[str, Any]) -> dict[str, Any] | str:
    """The request that the values make, or the sentence that refuses them."""
    try:
        return without_drawn(to_values(app.intake.request("txt2img", values)))
    except UserError as error:
        return str(error)


def without_drawn(values: Mapping[str, Any]) -> dict[str, Any]:
    """Seeds that were left open are drawn anew each time."""
    return {name: value for name, value in values.items() if name not in ("seed", "variation_seed")}


def by_command(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `launch.py generate` reads when these are its flags."""
    flags = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if name != "prompt":
            flags += ([flag] if value else []) if isinstance(value, bool) else [f"{flag}={value}"]
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_request_flags(parser)
    return values_of(parser.parse_args([*flags, "--", values.get("prompt", "")]))


def by_automatic1111(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a request in AUTOMATIC1111's names means. Its own defaults are ours only where they are named."""
    body = TextBody(**{THEIRS[name]: value for name, value in values.items()})
    translated = dict(text_to_image(body, lambda name: name).values)
    return {name: translated[name] for name in values}


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
@given(SETS)
def test_the_same_values_mean_the_same_everywhere(app: App, values: dict[str, Any]) -> None:
    meant = asked(app, values)
    as_floats = {  # the page's numbers are JavaScript's
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in values.items()
    }
    command = by_command(values)
    assert command.pop("preview") == "Off"
    command = {name: value for name, value in command.items() if name in values}
    assert asked(app, as_floats) == meant, "the page"
    assert asked(app, command) == meant, "the command line"
    assert asked(app, by_automatic1111(values)) == meant, "AUTOMATIC1111's API"
    assert repr(values.get("prompt", "")) in python("http://h", "txt2img", {"prompt": values.get("prompt", "")})


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck), derandomize=True)
@given(SETS)
def test_our_api_answers_what_the_request_type_says(app: App, client: TestClient, values: dict[str, Any]) -> None:
    meant = asked(app, values)
    answer = client.post("/api/v1/jobs", json={"values": values})
    if isinstance(meant, str):
        assert (answer.status_code, answer.json()["error"]["text"]) == (422, meant)
        return
    assert answer.status_code == 201
    drawn = {"wordings": {}}  # what the server draws for itself is no part of a job's JSON
    assert without_drawn(answer.json()["request"]) | drawn == meant
    client.post(f"/api/v1/jobs/{answer.json()['id']}/cancel")


def test_every_field_that_automatic1111_names_alike_is_compared() -> None:
    from webui.api.sdapi.translation import SAME

    alike = {ours for theirs, ours in SAME.items() if ours in FIELDS}
    assert alike <= THEIRS.keys() | {"s_tmin", "s_tmax"}
