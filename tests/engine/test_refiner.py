"""A second checkpoint takes over on the way, and what is put aside on either side of the switch goes on."""

from typing import Any

import pytest
import torch

from tests.engine.helpers import kinds, pictures, request, run
from webui.contract import Engine, Job
from webui.engine.passes import switch_step
from webui.events import Checkpoint, Failed
from webui.requests import TextToImage

pytestmark = pytest.mark.torch


def refined(**values: object) -> TextToImage:
    return request(**({"refiner": "v_prediction", "refiner_switch_at": 0.5, "sampler": "DPM++ 2M"} | values))


def test_it_draws_the_last_steps_alone(engine: Engine) -> None:
    plain = pictures(run(engine, request(sampler="DPM++ 2M")))[0]
    early, late, never = (pictures(run(engine, refined(refiner_switch_at=at)))[0] for at in (0.1, 0.8, 1.0))
    assert len({plain, early, late}) == 3
    assert len({plain, never}) == 2, "the metadata tell"


def test_the_same_checkpoint_as_refiner_changes_no_pixel(engine: Engine) -> None:
    from tests.engine.test_hires import pixels

    for sampler in ("DPM++ 2M", "Euler a", "DPM++ SDE"):
        same = run(engine, refined(refiner="epsilon", sampler=sampler))
        assert pixels(same) == pixels(run(engine, request(sampler=sampler)))


def test_the_switch_is_at_a_share_of_the_training_timesteps(engine: Engine) -> None:
    from webui.engine.beginning import Beginning
    from webui.engine.passes import passes_of

    parts = engine._models.get(engine._find("epsilon"))  # type: ignore[attr-defined]
    wanted = request(num_inference_steps=10, sampler="Euler", schedule="Uniform")
    (whole,) = passes_of(wanted, parts, Beginning(), lambda _: parts, lambda *_: None)
    assert [switch_step(whole, at) for at in (0.01, 0.5, 0.8, 1.0)] == [1, 5, 8, 10]


def test_going_on_on_both_sides_of_the_switch_gives_the_same_bytes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.engine.generation.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    wanted = refined(sampler="DPM++ 2M SDE", hires=True, hires_scale=1.0)
    whole = run(engine, wanted)
    states = [event.state for event in whole if isinstance(event, Checkpoint)]
    assert len(states) == 9
    for state in states:
        assert pictures(run(engine, wanted, state=state)) == pictures(whole)


def test_with_a_second_pass_it_draws_there(engine: Engine) -> None:
    from tests.engine.test_hires import pixels

    both = {"hires": True, "hires_scale": 1.0, "sampler": "DPM++ 2M"}
    assert pixels(run(engine, refined(**both))) != pixels(run(engine, request(**both)))
    no_second = run(engine, refined(**both, hires_strength=0.0))
    assert pixels(no_second) == pixels(run(engine, request(**both, hires_strength=0.0)))


def test_an_unknown_refiner_is_refused_by_name(engine: Engine) -> None:
    events = run(engine, refined(refiner="nothing"))
    assert kinds(events)[-1] == "failed"
    assert isinstance(events[-1], Failed)
    assert "nothing" in str(events[-1].text)


def test_a_tiling_job_sees_the_opposite_edge_in_the_refiner_too_and_leaves_it_as_it_was(engine: Any) -> None:
    own = tuple(engine._models.get(engine._find(name)).unet for name in ("epsilon", "v_prediction"))

    def modes() -> list[set[str]]:
        return [{each.padding_mode for each in unet.modules() if isinstance(each, torch.nn.Conv2d)} for unet in own]

    job = engine.run(Job(id="job", request=refined(tiling=True)), lambda: None)
    seen = [modes() for event in job if event.kind == "progress" and event.phase == "sampling"]
    assert seen == [[{"circular"}, {"circular"}]] * 4
    assert modes() == [{"zeros"}, {"zeros"}]
