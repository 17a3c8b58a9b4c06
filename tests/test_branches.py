"""What a branch may change and what not, and that its request says no more than it must."""

from typing import Any

import pytest

from webui.branches import CHANGEABLE, MOST, OF_THE_JOB
from webui.errors import InvalidRequest, UnknownName
from webui.params import parameters
from webui.requests import Inpaint, TextToImage, build, resolve, to_values


def branch(**values: Any) -> TextToImage:
    request = resolve(build("txt2img", {"seed": 5, "branch_step": 3, **values}))
    assert isinstance(request, TextToImage)
    return request


def test_a_whole_request_may_be_given_and_only_what_differs_is_kept() -> None:
    before = to_values(resolve(build("txt2img", {"prompt": "a cat", "seed": 5, "preview": "Off", "batch_size": 2})))
    assert branch(prompt="a dog", branch_from=before).branch_from == {"prompt": "a cat"}


def test_the_origin_is_the_request_with_those_values() -> None:
    origin = branch(prompt="a dog", branch_from={"prompt": "a cat", "guidance_scale": 3.0}).origin
    assert origin is not None
    assert (origin.prompt, origin.guidance_scale, origin.seed, origin.branch_step) == ("a cat", 3.0, 5, 0)


def test_step_0_is_no_branch() -> None:
    request = branch(branch_step=0, branch_from={"prompt": "a cat"})
    assert (request.origin, request.branch_from) == (None, {})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"branch_from": {"width": 768}}, "Width as it was: the first 3 steps were made with 768"),
        ({"branch_from": {"num_inference_steps": 30}}, "Sampling steps"),
        ({"branch_from": {"checkpoint": "other"}}, "Checkpoint"),
        ({"branch_from": {"sampler": "Euler"}}, "Sampling method"),
        ({"branch_from": {"seed": -1}}, "needs that picture's seed"),
        ({"branch_from": {"guidance_scale": 100.0}}, "Guidance scale"),
        ({"branch_from": {"prompt": 3}}, "must be text"),
        ({"branch_step": 20}, "after step 19 at the latest, not 20"),
        ({"branch_step": 151}, "0 to 150"),
        ({"branch_from": "a cat"}, "values by name"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        branch(**values)


def test_an_unknown_field_of_the_origin_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="guidance_scale"):
        branch(branch_from={"cfg": 7})


def test_branches_of_branches_end_somewhere() -> None:
    inner: dict[str, Any] = {}
    for _ in range(MOST + 1):
        inner = {"branch_step": 1, "branch_from": inner}
    with pytest.raises(InvalidRequest, match="more than"):
        branch(branch_from=inner)


def test_the_rules_name_fields_that_there_are() -> None:
    assert {*CHANGEABLE, *OF_THE_JOB} - {"wordings"} <= {*parameters(TextToImage), *parameters(Inpaint)}
