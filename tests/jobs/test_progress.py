"""The estimate of the time that is left."""

from collections.abc import Iterator

import pytest

from webui.events import Progress
from webui.jobs.progress import ProgressMeter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def steps(meter: ProgressMeter, clock: Clock, seconds: float, picture: int, pictures: int) -> Iterator[float | None]:
    for step in range(1, 11):
        clock.now += seconds
        event = Progress(phase="sampling", picture=picture, pictures=pictures, step=step, total=10)
        yield meter.follow(event).progress["eta"]


def test_there_is_no_estimate_before_two_steps_were_measured_and_then_it_covers_all_pictures() -> None:
    clock = Clock()
    estimates = list(steps(ProgressMeter(1, clock), clock, 2.0, picture=0, pictures=3))
    assert estimates[:2] == [None, None]
    assert estimates[2:4] == [2.0 * (7 + 20), 2.0 * (6 + 20)]
    assert estimates[-1] == 2.0 * 20


def test_a_first_step_that_takes_long_does_not_spoil_the_estimate() -> None:
    clock, meter = Clock(), ProgressMeter(1)
    meter = ProgressMeter(1, clock)
    meter.follow(Progress(phase="sampling", picture=0, pictures=1, step=0, total=10))
    clock.now += 30
    meter.follow(Progress(phase="sampling", picture=0, pictures=1, step=1, total=10))
    clock.now += 1
    live = meter.follow(Progress(phase="sampling", picture=0, pictures=1, step=2, total=10))
    assert live.progress["eta"] == 8.0


def test_the_estimate_follows_a_machine_that_becomes_slower() -> None:
    clock = Clock()
    meter = ProgressMeter(1, clock)
    list(steps(meter, clock, 1.0, picture=0, pictures=2))
    last = list(steps(meter, clock, 3.0, picture=1, pictures=2))
    assert last[4] == pytest.approx(5 * 3.0, rel=0.3)


def test_a_batch_that_is_made_at_once_counts_once() -> None:
    clock = Clock()
    estimates = list(steps(ProgressMeter(4, clock), clock, 1.0, picture=0, pictures=8))
    assert estimates[-1] == 10.0


def test_the_preview_stays_until_the_next_picture() -> None:
    meter = ProgressMeter(1)
    first = meter.follow(Progress(phase="sampling", picture=0, pictures=2, step=1, total=2, preview=b"jpeg"))
    assert first.preview is not None and first.preview.startswith("data:image/jpeg;base64,")
    assert meter.follow(Progress(phase="sampling", picture=0, pictures=2, step=2, total=2)).preview == first.preview
    assert meter.follow(Progress(phase="sampling", picture=1, pictures=2, step=1, total=2)).preview is None
