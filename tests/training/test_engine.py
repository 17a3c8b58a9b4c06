"""Trainings as jobs: real trainers behind the engine's contract, put aside and taken up, beside one that draws."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.workshop import discs
from webui.contract import Job, Signal
from webui.events import (
    Cancelled,
    Checkpoint,
    Done,
    Event,
    Failed,
    Image,
    Metrics,
    Paused,
    Progress,
    Result,
    Sample,
    Started,
    Warning,
)
from webui.requests import TextToImage
from webui.train_names import TrainFolders
from webui.train_requests import TrainLora

pytestmark = pytest.mark.torch

REQUEST = TrainLora(
    name="mine", dataset="discs", checkpoint="tiny", steps=6, batch_size=2, size=64, seed=5, rank=2, sample_every=3,
    save_every=2, learning_rate=1e-2,
)  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path, tiny_models_dir: Path) -> TrainFolders:
    """A models folder with the tiny checkpoint, and a dataset of four discs."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "checkpoints").symlink_to(tiny_models_dir / "checkpoints")
    discs(tmp_path / "datasets" / "discs")
    return TrainFolders(models=tmp_path / "models", datasets=tmp_path / "datasets", trainings=tmp_path / "training")


@pytest.fixture
def engine(folders: TrainFolders) -> Any:
    from webui.workers.engines import make_engine

    return make_engine(folders, "cpu", None, 0)


def run(engine: Any, job: Job, told: Callable[[], Signal | None] = lambda: None) -> list[Event]:
    return list(engine.run(job, told))


def after(calls: int, signal: Signal) -> Callable[[], Signal | None]:
    """A signal that comes when the engine looks for the n-th time."""
    looks: Iterator[int] = iter(range(10**6))
    return lambda: signal if next(looks) >= calls else None


def losses(events: list[Event]) -> list[tuple[int, float]]:
    return [point for event in events if isinstance(event, Metrics) for point in event.losses]


def test_a_training_tells_its_steps_its_curve_its_samples_and_where_the_result_is(
    engine: Any, folders: TrainFolders
) -> None:
    events = run(engine, Job(id="job", request=REQUEST))
    assert events[0] == Started(pictures=0)
    assert isinstance(events[1], Progress) and events[1].phase == "preparing"
    assert [step for step, _ in losses(events)] == [1, 2, 3, 4, 5, 6]
    samples = [event for event in events if isinstance(event, Sample)]
    assert [sample.step for sample in samples] == [3, 6]
    assert all(sample.jpeg.startswith(b"\xff\xd8") for sample in samples)
    assert len([event for event in events if isinstance(event, Checkpoint)]) == 3, "steps 2, 4 and 6 were saved"
    assert events[-2:] == [Result(path="loras/mine.safetensors"), Done()]
    assert (folders.models / "loras" / "mine.safetensors").is_file()


def test_a_paused_training_goes_on_to_the_same_curve_and_the_same_result(engine: Any, folders: TrainFolders) -> None:
    from safetensors.torch import load_file

    result = folders.models / "loras" / "mine.safetensors"
    whole = run(engine, Job(id="whole", request=REQUEST))
    expected = load_file(result)
    result.unlink()
    first = run(engine, Job(id="job", request=REQUEST), after(5, Signal.PAUSE))
    assert isinstance(first[-1], Paused)
    state = first[-2]
    assert isinstance(state, Checkpoint)
    assert 1 <= len(losses(first)) < 6
    second = run(engine, Job(id="job", request=REQUEST, state=state.state))
    assert losses(first) + losses(second) == losses(whole)
    assert not any(isinstance(event, Warning) for event in second)
    made = load_file(result)
    assert made.keys() == expected.keys()
    assert all(made[name].equal(expected[name]) for name in made), "not one bit differs"


def test_a_cancelled_training_leaves_no_result(engine: Any, folders: TrainFolders) -> None:
    events = run(engine, Job(id="job", request=REQUEST), after(3, Signal.CANCEL))
    assert isinstance(events[-1], Cancelled)
    assert not (folders.models / "loras").exists()


def test_pictures_are_the_same_before_and_after_a_training_in_the_same_process(engine: Any) -> None:
    picture = Job(
        id="picture",
        request=TextToImage(
            prompt="the red cat", checkpoint="tiny", width=64, height=64, num_inference_steps=3, seed=9
        ),
    )

    def draw() -> bytes:
        (image,) = (event for event in run(engine, picture) if isinstance(event, Image))
        return image.png

    before = draw()
    assert engine.info().checkpoint == "tiny"
    assert isinstance(run(engine, Job(id="job", request=REQUEST), after(6, Signal.PAUSE))[-1], Paused)
    assert engine.info().checkpoint == "tiny", "it stays in memory beside a training"
    assert draw() == before
    assert isinstance(run(engine, Job(id="job", request=REQUEST))[-1], Done)
    assert draw() == before


def test_a_run_whose_state_is_gone_says_so_and_begins_again(engine: Any) -> None:
    events = run(engine, Job(id="lost", request=REQUEST, state=b"run at step 4"))
    told = next(event.text for event in events if isinstance(event, Warning))
    assert str(told).startswith("What this training had saved")
    assert losses(events)[0][0] == 1
    assert isinstance(events[-1], Done)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"dataset": "gone"}, "UnknownName"),
        ({"checkpoint": "gone"}, "UnknownName"),
    ],
)
def test_what_is_not_there_any_more_fails_the_job_in_words(engine: Any, values: dict[str, str], error: str) -> None:
    last = run(engine, Job(id="job", request=replace(REQUEST, **values)))[-1]  # type: ignore[arg-type]
    assert isinstance(last, Failed) and last.error == error


def test_an_existing_result_is_never_replaced(engine: Any, folders: TrainFolders) -> None:
    (folders.models / "loras").mkdir()
    (folders.models / "loras" / "mine.safetensors").write_bytes(b"somebody else's")
    last = run(engine, Job(id="job", request=REQUEST))[-1]
    assert isinstance(last, Failed)
    assert (folders.models / "loras" / "mine.safetensors").read_bytes() == b"somebody else's"


def out_of_memory_times(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """The trainer finds no memory the first `times` times it is asked for a step; how often it was asked."""
    import torch

    from webui.training import engine as module

    asked, real = [0], module.train

    def train(request: Any, workspace: Any) -> Any:
        asked[0] += 1
        if asked[0] <= times:
            raise torch.OutOfMemoryError
        yield from real(request, workspace)

    monkeypatch.setattr(module, "train", train)
    return asked


def test_a_training_that_does_not_fit_gets_the_memory_of_the_picture_engine(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.warm_up("tiny")
    asked = out_of_memory_times(monkeypatch, 1)
    assert isinstance(run(engine, Job(id="job", request=REQUEST))[-1], Done)
    assert asked == [2]
    assert engine.info().checkpoint is None


def test_a_training_that_never_fits_says_what_to_lower(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_memory_times(monkeypatch, 2)
    last = run(engine, Job(id="job", request=REQUEST))[-1]
    assert isinstance(last, Failed)
    assert "batch size 2" in str(last.text)


def test_a_long_curve_is_told_as_means() -> None:
    from webui.training.engine import Curve

    curve = Curve(every=4)
    told = [event for step in range(1, 11) for event in curve.add(step, float(step))]
    assert losses([*told, *curve.rest()]) == [(4, 2.5), (8, 6.5)]
