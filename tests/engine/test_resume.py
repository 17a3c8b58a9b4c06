"""A job put aside after any step goes on to the same bits, here and in another process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.engine.helpers import ALL_SAMPLERS, Signals, kinds, pictures, request, run
from webui.contract import Engine, Signal
from webui.engine.denoise import SamplerState
from webui.engine.state import SavedJob, UnreadableState, dump, load
from webui.events import Checkpoint, Event, Progress
from webui.requests import TextToImage

pytestmark = pytest.mark.torch

STEPS = 4


def paused(engine: Engine, wanted: TextToImage, picture: int, step: int) -> list[Event]:
    return run(engine, wanted, signals=Signals({(picture, step): Signal.PAUSE}))


def last_state(events: list[Event]) -> bytes:
    return [event.state for event in events if isinstance(event, Checkpoint)][-1]


@pytest.mark.parametrize("sampler", ALL_SAMPLERS)
def test_going_on_from_every_step_gives_the_same_bytes(
    engine: Engine, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.engine.generation.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    wanted = request(sampler=sampler, num_inference_steps=STEPS)
    whole = run(engine, wanted)
    states = [event.state for event in whole if isinstance(event, Checkpoint)]
    steps = 20 if sampler == "DPM adaptive" else STEPS
    assert len(states) == steps + 1
    for step, state in enumerate(states):
        resumed = run(engine, wanted, state=state)
        assert pictures(resumed) == pictures(whole)
        done = [event.step for event in resumed if isinstance(event, Progress) and event.phase == "sampling"]
        assert done == list(range(step + 1, steps + 1))


@pytest.mark.parametrize("sampler", ALL_SAMPLERS)
def test_a_job_paused_after_every_single_step_gives_the_same_bytes(engine: Engine, sampler: str) -> None:
    wanted = request(sampler=sampler, num_inference_steps=STEPS)
    events, state = [], None
    for step in range(1, STEPS + 1):
        events = run(engine, wanted, state=state, signals=Signals({(0, step): Signal.PAUSE}))
        assert kinds(events)[-1] == "paused"
        state = last_state(events)
    assert pictures(run(engine, wanted, state=state)) == pictures(run(engine, wanted))


def test_finished_pictures_are_not_made_again(engine: Engine) -> None:
    wanted = request(batch_size=2, batch_count=2)
    first = paused(engine, wanted, 2, 3)
    assert list(pictures(first)) == [0, 1]
    rest = run(engine, wanted, state=last_state(first))
    assert list(pictures(rest)) == [2, 3]
    assert pictures(first) | pictures(rest) == pictures(run(engine, wanted))


def test_a_crash_after_a_picture_does_not_make_it_again(engine: Engine) -> None:
    wanted = request(batch_size=3)
    events = run(engine, wanted)
    second = kinds(events).index("image")
    state = last_state(events[: second + 2])
    assert list(pictures(run(engine, wanted, state=state))) == [1, 2]


def test_a_skipped_batch_stays_skipped_after_a_pause(engine: Engine) -> None:
    wanted = request(batch_size=2, batch_count=2)
    signals = Signals({(0, 2): Signal.SKIP, (2, 1): Signal.PAUSE})
    events = run(engine, wanted, signals=signals)
    assert list(pictures(run(engine, wanted, state=last_state(events)))) == [2, 3]


def test_pausing_before_the_first_step_can_be_resumed(engine: Engine) -> None:
    class FromTheStart(Signals):
        def __call__(self) -> Signal:
            return Signal.PAUSE

    events = run(engine, request(), signals=FromTheStart({}))
    assert kinds(events)[-2:] == ["checkpoint", "paused"]
    assert pictures(run(engine, request(), state=last_state(events))) == pictures(run(engine, request()))


def test_another_process_goes_on_to_the_same_bytes(engine: Engine, models_dir: Path, tmp_path: Path) -> None:
    wanted = request(sampler="DPM++ 2M SDE", num_inference_steps=STEPS)
    (tmp_path / "state").write_bytes(last_state(paused(engine, wanted, 0, 3)))
    script = f"""
from pathlib import Path
from tests.engine.helpers import new_engine, pictures, request, run
engine = new_engine(Path({str(models_dir)!r}))
wanted = request(sampler="DPM++ 2M SDE", num_inference_steps={STEPS})
events = run(engine, wanted, state=Path({str(tmp_path / "state")!r}).read_bytes())
Path({str(tmp_path / "png")!r}).write_bytes(pictures(events)[0])
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "png").read_bytes() == pictures(run(engine, wanted))[0]


def test_a_state_survives_being_written_and_read() -> None:
    sampler = SamplerState(
        torch.randn(2, 4, 3, 3), 7, (torch.Generator().get_state(),) * 2, {"x": torch.ones(2)}, is_full_precision=True
    )
    again = load(dump(SavedJob((3, 4), sampler)), torch.device("cpu"))
    assert again.pictures == (3, 4)
    assert again.sampler is not None
    assert torch.equal(again.sampler.x, sampler.x)
    assert torch.equal(again.sampler.history["x"], sampler.history["x"])
    assert torch.equal(again.sampler.noise[1], sampler.noise[1])
    assert (again.sampler.index, again.sampler.is_full_precision) == (7, True)


def test_a_state_cannot_run_code() -> None:
    import io
    import os

    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, ("true",)

    buffer = io.BytesIO()
    torch.save({"version": 1, "pictures": [0], "x": Harmful()}, buffer)
    with pytest.raises(UnreadableState):
        load(buffer.getvalue(), torch.device("cpu"))


@pytest.mark.parametrize("blob", [b"", b"PK\x03\x04", dump(SavedJob((0,)))[:-40]])
def test_damaged_states_are_recognised(blob: bytes) -> None:
    with pytest.raises(UnreadableState):
        load(blob, torch.device("cpu"))
