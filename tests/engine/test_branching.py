"""A branch has the first steps of another picture and its own from then on, to the last bit."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from tests.engine.helpers import ALL_SAMPLERS, Signals, pictures, request, run
from webui.contract import Engine, Signal
from webui.events import Checkpoint, Done, Failed, Image, Progress
from webui.metadata import parse_infotext
from webui.requests import TextToImage, build, resolve

pytestmark = pytest.mark.torch

STEPS = 4


def pixels(engine: Engine, wanted: TextToImage, picture: int = 0) -> np.ndarray:
    events = run(engine, wanted)
    assert not isinstance(events[-1], Failed), events[-1]
    return np.asarray(Picture.open(io.BytesIO(pictures(events)[picture]))).astype(int)


def branch(step: int, changes: dict[str, Any] | None = None, **values: Any) -> TextToImage:
    """Of the picture of `values`, with `changes` from `step` on."""
    origin = request(**values)
    changed = changes or {}
    before = {name: getattr(origin, name) for name in changed}
    return request(**{**values, **changed, "branch_step": step, "branch_from": before})


@pytest.mark.parametrize("sampler", ALL_SAMPLERS)
def test_a_branch_without_a_change_is_its_origin_byte_for_byte(engine: Engine, sampler: str) -> None:
    values = {"sampler": sampler, "num_inference_steps": STEPS}
    assert np.array_equal(pixels(engine, branch(2, **values)), pixels(engine, request(**values)))


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "DPM++ SDE", "UniPC"])
def test_a_branch_begins_with_its_origins_steps_and_ends_elsewhere(engine: Engine, sampler: str) -> None:
    def previews(wanted: TextToImage) -> list[bytes | None]:
        return [event.preview for event in run(engine, wanted) if isinstance(event, Progress) and event.step]

    values = {"sampler": sampler, "preview": "Linear"}
    origin, made = previews(request(**values)), previews(branch(2, {"prompt": "a blue dog"}, **values))
    assert made[:2] == origin[:2]
    assert made[2:4] != origin[2:4]


def test_at_step_0_it_is_a_new_picture(engine: Engine) -> None:
    whole = pixels(engine, request(prompt="a blue dog"))
    assert np.array_equal(pixels(engine, branch(0, {"prompt": "a blue dog"})), whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "a blue dog"}, {"negative_prompt": "a dog"}, {"guidance_scale": 1.0}, {"guidance_scale": 9.0},
        {"seed": 12}, {"variation_strength": 0.5, "variation_seed": 3}, {"eta": 0.2}, {"clip_skip": 2},
    ],
)  # fmt: skip
def test_every_change_shows_and_a_later_branch_differs_less(engine: Engine, changes: dict[str, Any]) -> None:
    values = {"sampler": "Euler a", "num_inference_steps": 6}
    whole = pixels(engine, request(**values))
    early, late = (np.abs(pixels(engine, branch(step, changes, **values)) - whole).mean() for step in (1, 5))
    assert early > 0
    if "guidance_scale" not in changes:
        assert late < early


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "DPM++ SDE", "UniPC", "PLMS", "DPM adaptive"])
def test_another_seed_goes_on_with_other_noise(engine: Engine, sampler: str) -> None:
    values = {"sampler": sampler, "num_inference_steps": STEPS}
    whole = pixels(engine, request(**values))
    assert not np.array_equal(pixels(engine, branch(2, {"seed": 12}, **values)), whole)


def test_dpm_fast_refuses_another_seed_within_a_group_of_steps(engine: Engine) -> None:
    events = run(engine, branch(1, {"seed": 12}, sampler="DPM fast"))
    assert isinstance(events[-1], Failed)
    assert "DPM fast" in str(events[-1].text)


def test_the_pictures_of_a_branch_have_one_beginning_and_seeds_of_their_own(engine: Engine) -> None:
    several = run(engine, branch(2, batch_count=3))
    made = [event for event in several if isinstance(event, Image)]
    assert pixels(engine, branch(2)).tolist() == pixels(engine, branch(2, batch_count=3)).tolist()
    assert len({event.png for event in made}) == 3
    again = parse_infotext(made[2].parameters)
    assert again["seed"] == 13
    assert again["branch_from"] == {"seed": 11}
    alone = build("txt2img", {**again, "checkpoint": "epsilon", "preview": "Off"})
    assert isinstance(alone, TextToImage)
    assert pictures(run(engine, resolve(alone)))[0] == made[2].png


def test_a_branch_of_a_branch_comes_back_from_its_text(engine: Engine) -> None:
    first = branch(1, {"prompt": "a blue dog"}, num_inference_steps=6)
    second = resolve(
        request(
            prompt="a, green: \"bird\"", num_inference_steps=6, guidance_scale=5.0, branch_step=3,
            branch_from={
                "prompt": first.prompt, "guidance_scale": 3.0, "branch_step": 1, "branch_from": first.branch_from,
            },
        )
    )  # fmt: skip
    made = [event for event in run(engine, second) if isinstance(event, Image)]
    again = build("txt2img", {**parse_infotext(made[0].parameters), "preview": "Off"})
    assert again == second


def test_the_second_pass_and_the_refiner_are_those_of_the_branch(engine: Engine) -> None:
    hires: dict[str, Any] = {"hires": True, "hires_scale": 1.5, "hires_steps": 2}
    assert np.array_equal(pixels(engine, branch(2, **hires)), pixels(engine, request(**hires)))
    refined = {"refiner": "v_prediction", "refiner_switch_at": 0.5}
    for step in (1, 3):
        assert np.array_equal(pixels(engine, branch(step, **refined)), pixels(engine, request(**refined)))


def test_a_branch_put_aside_after_any_step_goes_on_to_the_same_bytes(engine: Engine) -> None:
    wanted = branch(2, {"seed": 12, "prompt": "a blue dog"}, sampler="DPM++ 2M SDE")
    whole = pictures(run(engine, wanted))
    for step in (1, 2, 3):
        events = run(engine, wanted, signals=Signals({(0, step): Signal.PAUSE}))
        state = [event.state for event in events if isinstance(event, Checkpoint)][-1]
        assert pictures(run(engine, wanted, state=state)) == whole


def test_the_receipt_tells_where_it_went_on(engine: Engine) -> None:
    done = run(engine, branch(2))[-1]
    assert isinstance(done, Done)
    assert "Went on from step 2 of another picture." in [str(told) for told in done.receipt]


def test_a_step_that_an_adaptive_sampler_does_not_make_is_refused(engine: Engine) -> None:
    events = run(engine, branch(40, sampler="DPM adaptive"))
    assert isinstance(events[-1], Failed)
    assert "at the latest" in str(events[-1].text)
