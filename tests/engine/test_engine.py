"""The engine as its worker sees it: events, batches, signals, previews."""

import io
import itertools
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture

from tests.engine.helpers import ALL_SAMPLERS, Signals, kinds, new_engine, pictures, request, run
from webui.contract import Engine, Job, Signal, Tuning
from webui.events import FINAL, Checkpoint, Done, Event, Failed, Image, Progress, Started, Warning
from webui.metadata import read

pytestmark = pytest.mark.torch


def test_a_job_tells_its_life_in_order_and_ends_once(models_dir: Path) -> None:
    events = run(new_engine(models_dir), request(preview="Linear"))
    assert isinstance(events[0], Started)
    progress = [event for event in events if isinstance(event, Progress)]
    assert [phase for phase, _ in itertools.groupby(event.phase for event in progress)] == [
        "loading", "encoding", "sampling", "decoding",
    ]  # fmt: skip
    assert [event.step for event in progress if event.phase == "sampling"] == [1, 2, 3, 4]
    assert [isinstance(event, FINAL) for event in events].count(True) == 1
    assert isinstance(events[-1], Done)
    assert set(events[-1].timings) == {"loading", "encoding", "sampling", "decoding", "total"}
    assert events[-1].timings["sampling"] > 0


def test_a_second_job_does_not_load_the_checkpoint_again(engine: Engine) -> None:
    run(engine, request())
    phases = {event.phase for event in run(engine, request()) if isinstance(event, Progress)}
    assert "loading" not in phases
    assert engine.info().checkpoint == "epsilon"


def test_previews_come_as_often_as_it_is_tuned(engine: Engine) -> None:
    def shown() -> list[int]:
        events = run(engine, request(preview="Linear"))
        return [event.step for event in events if isinstance(event, Progress) and event.preview is not None]

    try:
        assert shown() == [1, 2, 3, 4]
        engine.tune(Tuning(preview_every=2))
        assert shown() == [2, 4]
    finally:
        engine.tune(Tuning())


def test_unloading_gives_the_checkpoint_back(engine: Engine) -> None:
    run(engine, request())
    assert "epsilon" in [name for name, _ in engine.info().models]
    engine.unload()
    assert engine.info().models == ()


def test_warming_up_loads_ahead_and_never_raises(models_dir: Path) -> None:
    engine = new_engine(models_dir)
    engine.warm_up("not there")
    assert engine.info().checkpoint is None
    engine.warm_up("sample")
    assert engine.info().checkpoint == "sample"
    assert engine.info().device == "cpu"
    assert engine.info().attention == "SDPA"
    assert engine.info().device_name


def test_the_picture_has_the_size_asked_for_and_its_parameters_inside(engine: Engine) -> None:
    wanted = request(width=96, height=72)
    (image,) = [event for event in run(engine, wanted) if isinstance(event, Image)]
    assert Picture.open(io.BytesIO(image.png)).size == (96, 72) == (image.width, image.height)
    found = read(image.png)
    assert found.parameters == image.parameters
    assert found.values["seed"] == image.seed == wanted.seed
    assert found.values["checkpoint"] == "epsilon"


@pytest.mark.parametrize("sampler", ALL_SAMPLERS)
def test_every_sampler_makes_the_same_picture_twice_and_another_with_another_seed(engine: Engine, sampler: str) -> None:
    first = pictures(run(engine, request(sampler=sampler)))
    assert first == pictures(run(engine, request(sampler=sampler)))
    assert first != pictures(run(engine, request(sampler=sampler, seed=12)))


@pytest.mark.parametrize("checkpoint", ["epsilon", "v_prediction", "sample"])
def test_every_prediction_type_gives_a_picture_that_follows_the_prompt(engine: Engine, checkpoint: str) -> None:
    cat = decoded(engine, checkpoint=checkpoint, guidance_scale=8.0)
    assert cat != decoded(engine, checkpoint=checkpoint, guidance_scale=8.0, prompt="a dog and a dog")
    assert cat != decoded(engine, checkpoint=checkpoint, guidance_scale=8.0, negative_prompt="a dog and a dog")


def test_guidance_of_one_ignores_the_negative_prompt(engine: Engine) -> None:
    assert decoded(engine, guidance_scale=1.0) == decoded(engine, guidance_scale=1.0, negative_prompt="the dog")


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M SDE"])
def test_a_batch_equals_its_seeds_one_by_one_byte_for_byte(engine: Engine, sampler: str) -> None:
    batch = run(engine, request(sampler=sampler, batch_size=4))
    images = [event for event in batch if isinstance(event, Image)]
    assert [image.seed for image in images] == [11, 12, 13, 14]
    for image in images:
        assert pictures(run(engine, request(sampler=sampler, seed=image.seed))) == {0: image.png}


def test_batch_count_and_batch_size_make_the_same_pictures(engine: Engine) -> None:
    by_count = pictures(run(engine, request(batch_count=3)))
    assert by_count == pictures(run(engine, request(batch_size=3)))
    assert len(by_count) == 3


@pytest.mark.parametrize("preview", ["Linear", "Small", "Full"])
@pytest.mark.parametrize("sampler", ["Euler a", "UniPC"])
def test_a_preview_never_changes_the_picture(engine: Engine, preview: str, sampler: str) -> None:
    shown = run(engine, request(preview=preview, sampler=sampler))
    assert pictures(shown) == pictures(run(engine, request(preview="Off", sampler=sampler)))


def test_previews_are_small_jpegs_of_every_step_or_none(engine: Engine) -> None:
    linear = [event for event in run(engine, request(preview="Linear")) if isinstance(event, Progress)]
    shown = [event.preview for event in linear if event.phase == "sampling"]
    assert len(shown) == 4
    for jpeg in shown:
        assert jpeg is not None
        picture = Picture.open(io.BytesIO(jpeg))
        assert picture.format == "JPEG"
        assert picture.size == (64, 64)
        assert len(jpeg) < 10_000
    off = [event for event in run(engine, request(preview="Off")) if isinstance(event, Progress)]
    assert all(event.preview is None for event in off)


def test_cancel_keeps_finished_pictures_and_stops_between_steps(engine: Engine) -> None:
    events = run(engine, request(batch_size=3), signals=Signals({(1, 2): Signal.CANCEL}))
    assert list(pictures(events)) == [0]
    assert kinds(events)[-1] == "cancelled"
    last_step = [event for event in events if isinstance(event, Progress)][-1]
    assert (last_step.picture, last_step.step) == (1, 2)


def test_skip_gives_up_the_batch_and_goes_on_with_the_next(engine: Engine) -> None:
    wanted = request(batch_size=3, batch_count=2)
    events = run(engine, wanted, signals=Signals({(1, 2): Signal.SKIP}))
    assert list(pictures(events)) == [0, 3, 4, 5]
    assert kinds(events)[-1] == "done"
    assert pictures(events)[3] == pictures(run(engine, request(seed=14)))[0]


def test_a_signal_that_was_there_before_the_first_step_is_heeded(engine: Engine) -> None:
    events = list(engine.run(Job(id="job", request=request()), lambda: Signal.CANCEL))
    assert kinds(events)[-1] == "cancelled"
    assert not [event for event in events if isinstance(event, Progress) and event.phase == "sampling"]


def test_pausing_saves_the_state_right_before_it_ends(engine: Engine) -> None:
    events = run(engine, request(), signals=Signals({(0, 2): Signal.PAUSE}))
    assert kinds(events)[-2:] == ["checkpoint", "paused"]


def test_a_long_prompt_is_read_to_its_end(engine: Engine) -> None:
    long = "cat " * 75 + "zebra, please"
    events = run(engine, request(prompt=long))
    assert not [event for event in events if isinstance(event, Warning)]
    assert pictures(events) != pictures(run(engine, request(prompt="cat " * 75)))


def test_the_prompt_language_reaches_the_picture(engine: Engine) -> None:
    def drawn(prompt: str, **values: Any) -> bytes:
        return pixels(run(engine, request(prompt=prompt, **values)))

    said = [
        "the cat", "the (cat:1.5)", "the [cat:red:0.5]", "the cat BREAK red", "the cat AND red", "the [cat|red]",
    ]  # fmt: skip
    assert len({drawn(prompt) for prompt in said}) == len(said)
    assert drawn("the [cat:red:1.0]") == drawn("the cat") == drawn("the cat # or red")
    assert drawn("the cat AND the cat :0") != drawn("the cat", guidance_scale=1.0)
    assert drawn("the (cat:1.5)", emphasis="Ignore") == drawn("the cat")
    assert drawn("the cat", clip_skip=2) != drawn("the cat")
    assert drawn("the cat AND red", guidance_scale=1.0) != drawn("the cat", guidance_scale=1.0)


def test_a_tag_that_nothing_knows_is_told(engine: Engine) -> None:
    events = run(engine, request(prompt="the cat<lora:style:0.5>"))
    assert ["<lora:style>" in str(event.text) for event in events if isinstance(event, Warning)] == [True]
    assert pixels(events) == pixels(run(engine, request(prompt="the cat")))


def pixels(events: list[Event]) -> bytes:
    """Of the first picture, without what its file says."""
    return Picture.open(io.BytesIO(pictures(events)[0])).tobytes()


def test_an_unknown_checkpoint_fails_and_lists_the_known(engine: Engine) -> None:
    failed = run(engine, request(checkpoint="gone"))[-1]
    assert isinstance(failed, Failed)
    assert failed.error == "UnknownName"
    assert "epsilon" in str(failed.text)


def test_an_unreadable_state_starts_again_with_a_warning(engine: Engine) -> None:
    events = run(engine, request(), state=b"not a state")
    assert [str(event.text) for event in events if isinstance(event, Warning)] == [
        "The saved state of this job could not be read, so it was started from the beginning."
    ]
    assert pictures(events) == pictures(run(engine, request()))


def test_a_state_of_another_size_starts_again_with_a_warning(engine: Engine) -> None:
    paused = run(engine, request(width=128), signals=Signals({(0, 2): Signal.PAUSE}))
    state = next(event.state for event in paused if isinstance(event, Checkpoint))
    events = run(engine, request(), state=state)
    assert "warning" in kinds(events)
    assert pictures(events) == pictures(run(engine, request()))


def test_closing_a_run_half_way_leaves_the_engine_usable(engine: Engine) -> None:
    before = pictures(run(engine, request()))
    events = engine.run(Job(id="job", request=request()), lambda: None)
    for event in events:
        if isinstance(event, Progress) and event.step == 2:
            break
    events.close()  # type: ignore[attr-defined]  # a generator
    assert pictures(run(engine, request())) == before


def test_a_checkpoint_that_changed_on_the_disk_is_loaded_again(tmp_path: Path) -> None:
    from tests.tiny import build_tiny_checkpoint

    build_tiny_checkpoint(tmp_path / "checkpoints" / "epsilon", seed=1)
    engine = new_engine(tmp_path)
    first = pictures(run(engine, request()))
    build_tiny_checkpoint(tmp_path / "checkpoints" / "epsilon", seed=2)
    assert pictures(run(engine, request())) != first


def decoded(engine: Engine, **values: object) -> bytes:
    """The bare pixels, without the parameters that differ anyway."""
    (png,) = pictures(run(engine, request(**values))).values()
    return Picture.open(io.BytesIO(png)).tobytes()
