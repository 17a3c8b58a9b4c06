"""Times that are learned from the jobs of this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from webui.events import JobState
from webui.jobs.estimates import Estimates
from webui.jobs.store import JobStore
from webui.requests import build, to_values


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path / "easel.sqlite3")
    yield store
    store.close()


def values(**changes: object) -> dict[str, object]:
    return to_values(build("txt2img", {"width": 64, "height": 64, "num_inference_steps": 10, **changes}))


def done(store: JobStore, seconds: float, *, loading: float = 0.0, **changes: object) -> None:
    record, _ = store.submit("txt2img", values(**changes))
    store.claim(record.id)
    store.finish(record.id, JobState.DONE, timings={"total": seconds + loading, "loading": loading})


def test_without_a_history_nothing_is_said(store: JobStore) -> None:
    assert Estimates(store).seconds("txt2img", values()) is None


def test_twice_the_steps_and_twice_the_pictures_take_four_times_as_long(store: JobStore) -> None:
    done(store, 2.0, loading=30.0)
    estimates = Estimates(store)
    assert estimates.seconds("txt2img", values()) == pytest.approx(2.0)
    assert estimates.seconds("txt2img", values(num_inference_steps=20, batch_count=2)) == pytest.approx(8.0)


def test_jobs_that_are_more_alike_count_first_and_a_new_one_is_learned_at_once(store: JobStore) -> None:
    done(store, 1.0)
    estimates = Estimates(store)
    assert estimates.seconds("txt2img", values(width=128)) == pytest.approx(2.0), "by the pixels"
    done(store, 5.0, width=128)
    assert estimates.seconds("txt2img", values(width=128)) == pytest.approx(5.0)
    assert estimates.seconds("txt2img", values()) == pytest.approx(1.0)


def test_one_job_that_was_held_up_does_not_spoil_it(store: JobStore) -> None:
    for seconds in (1.0, 60.0, 1.2):
        done(store, seconds)
    assert Estimates(store).seconds("txt2img", values()) == pytest.approx(1.2)


def test_a_job_that_waits_has_an_estimate_and_one_that_is_over_has_none(store: JobStore) -> None:
    done(store, 2.0)
    waiting, _ = store.submit("txt2img", values())
    estimates = Estimates(store)
    assert estimates.of(waiting) == pytest.approx(2.0)
    assert estimates.of(store.jobs((JobState.DONE,))[0]) is None


def test_a_second_pass_counts_by_its_own_size_and_only_if_it_is_drawn(store: JobStore) -> None:
    done(store, 1.0)
    estimates = Estimates(store)
    twice = {"hires": True, "hires_strength": 0.5}
    assert estimates.seconds("txt2img", values(**twice, hires_width=128)) == pytest.approx(5.0)
    assert estimates.seconds("txt2img", values(**twice, hires_scale=2.0, hires_steps=5)) == pytest.approx(3.0)
    assert estimates.seconds("txt2img", values(hires=True, hires_strength=0.0)) == pytest.approx(1.0)
