"""What any transport must do, seen from the queue: the same tests for all of them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.farm import Farm, wait_until
from tests.scripted_engine import EXIT_CODE, WARNING, ScriptedEngineFactory
from tests.workers.transports import TRANSPORTS, MakeWorkers
from webui.contract import Signal, Tuning
from webui.errors import Conflict, NotFound
from webui.events import JobState
from webui.workers.worker import Worker, WorkerState


@pytest.fixture(params=TRANSPORTS, scope="module")
def make_workers(request: pytest.FixtureRequest) -> MakeWorkers:
    return TRANSPORTS[request.param]


@pytest.fixture(scope="module")
def farm(make_workers: MakeWorkers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One worker, shared by the tests of this file: each leaves it ready for the next."""
    folder = tmp_path_factory.mktemp("farm")
    with Farm(folder, make_workers(1, ScriptedEngineFactory()), cancel_patience=0.3) as farm:
        yield farm


def test_a_job_gives_its_pictures_in_order_and_is_done(farm: Farm) -> None:
    record = farm.make(batch_count=3)
    assert record.state is JobState.DONE
    assert record.attempts == 1
    assert record.timings is not None and record.timings["total"] > 0
    assert [(picture.number, picture.seed) for picture in farm.pictures(record.id)] == [(0, 7), (1, 8), (2, 9)]
    assert all(content.startswith(b"\x89PNG") for content in farm.contents(record.id))


def test_cancelling_a_running_job_keeps_its_finished_pictures(farm: Farm) -> None:
    job = farm.submit(batch_count=50)
    farm.wait_for_step(job, picture=1)
    farm.scheduler.signal(job, Signal.CANCEL)
    assert farm.wait_for(job).state is JobState.CANCELLED
    assert 1 <= len(farm.pictures(job)) < 50


def test_cancelling_a_queued_job_takes_effect_at_once_and_it_never_starts(farm: Farm) -> None:
    first, second = farm.submit(batch_count=50), farm.submit()
    farm.wait_for_step(first)
    assert farm.scheduler.signal(second, Signal.CANCEL).state is JobState.CANCELLED
    farm.scheduler.signal(first, Signal.CANCEL)
    farm.wait_for(first)
    assert farm.store.job(second).attempts == 0


def test_skip_gives_up_one_batch_and_goes_on_with_the_next(farm: Farm) -> None:
    job = farm.submit(batch_count=2, num_inference_steps=120)
    farm.wait_for_step(job)
    farm.scheduler.signal(job, Signal.SKIP)
    assert farm.wait_for(job).state is JobState.DONE
    assert [picture.number for picture in farm.pictures(job)] == [1]


def test_a_paused_job_frees_the_worker_and_then_gives_the_same_pictures(farm: Farm) -> None:
    expected = farm.contents(farm.make(batch_count=2, num_inference_steps=30).id)
    job = farm.submit("wait", batch_count=2, num_inference_steps=30)
    farm.wait_for_step(job, picture=1)
    farm.scheduler.signal(job, Signal.PAUSE)
    paused = farm.wait_for(job, JobState.PAUSED)
    live = farm.scheduler.live(paused)
    assert live is not None and live.preview is not None, "a paused job still shows where it is"
    assert farm.make().state is JobState.DONE, "another job runs meanwhile"
    farm.scheduler.resume(job)
    assert farm.wait_for(job).state is JobState.DONE
    assert farm.contents(job) == expected
    assert farm.store.engine_state(job) is None


def test_a_paused_job_can_be_cancelled(farm: Farm) -> None:
    job = farm.submit("wait", num_inference_steps=60)
    farm.wait_for_step(job)
    farm.scheduler.signal(job, Signal.PAUSE)
    farm.wait_for(job, JobState.PAUSED)
    assert farm.scheduler.signal(job, Signal.CANCEL).state is JobState.CANCELLED
    with pytest.raises(Conflict):
        farm.scheduler.resume(job)


def test_a_cancel_overrules_a_pause(farm: Farm) -> None:
    job = farm.submit("wait", num_inference_steps=100)
    farm.wait_for_step(job)
    farm.scheduler.signal(job, Signal.PAUSE)
    farm.scheduler.signal(job, Signal.CANCEL)
    assert farm.wait_for(job).state is JobState.CANCELLED


def test_a_refusal_of_the_engine_is_told_in_its_own_words(farm: Farm) -> None:
    record = farm.make("refuse")
    assert (record.state, record.error) == (JobState.FAILED, "UserError")
    assert str(record.text) == "This cannot be drawn. Ask for something else."


def test_a_defect_in_the_engine_fails_that_job_names_the_log_and_keeps_the_traceback_there(
    farm: Farm, caplog: pytest.LogCaptureFixture
) -> None:
    record = farm.make("raise")
    assert (record.state, record.error) == (JobState.FAILED, "InternalError")
    assert "easel.log" in str(record.text) and "Traceback" not in str(record.text)
    assert "a defect in the engine" in caplog.text and "Traceback" in caplog.text
    assert farm.make().state is JobState.DONE


def test_warnings_stay_with_the_job(farm: Farm) -> None:
    assert farm.make("warn").warnings == (WARNING,)


def test_a_killed_engine_is_started_again_and_the_job_goes_on_to_the_same_pictures(farm: Farm) -> None:
    expected = farm.contents(farm.make(batch_count=2, num_inference_steps=30).id)
    job = farm.submit("wait", batch_count=2, num_inference_steps=30)
    farm.wait_for_step(job, picture=1)
    farm.workers[0].kill()
    record = farm.wait_for(job)
    # The crash is forgotten once the job has made another picture: only crashes without progress fail it.
    assert (record.state, record.attempts, record.crashes) == (JobState.DONE, 2, 0)
    assert farm.contents(job) == expected


def test_an_engine_that_dies_a_second_time_fails_the_job_and_the_next_one_runs(farm: Farm) -> None:
    record = farm.make("die-always")
    assert (record.state, record.error, record.attempts) == (JobState.FAILED, "EngineDied", 2)
    assert f"exit code {EXIT_CODE}" in str(record.text)
    assert farm.make().state is JobState.DONE


def test_an_engine_that_does_not_listen_is_ended_after_a_cancel(farm: Farm) -> None:
    job = farm.submit("hang")
    farm.wait_for_step(job)
    farm.scheduler.signal(job, Signal.CANCEL)
    assert farm.wait_for(job).state is JobState.CANCELLED
    assert farm.make().state is JobState.DONE


def test_a_storm_of_signals_leaves_right_states(farm: Farm) -> None:
    done, running, queued = farm.make().id, farm.submit(batch_count=50), farm.submit()
    farm.wait_for_step(running)
    for _ in range(300):
        farm.scheduler.signal(running, Signal.CANCEL)
        farm.scheduler.signal(queued, Signal.CANCEL)
        with pytest.raises(Conflict):
            farm.scheduler.signal(done, Signal.CANCEL)
        with pytest.raises(NotFound):
            farm.scheduler.signal("no-such-job", Signal.CANCEL)
        if farm.store.job(running).state.is_final:
            break
    assert farm.wait_for(running).state is JobState.CANCELLED
    assert farm.store.job(queued).state is JobState.CANCELLED
    assert farm.store.job(done).state is JobState.DONE


def test_the_worker_says_which_checkpoint_it_holds(farm: Farm) -> None:
    farm.make()
    worker = farm.workers[0]
    wait_until(lambda: worker.status().state is WorkerState.READY, "the worker to be ready")
    worker.warm_up("another")
    wait_until(lambda: (info := worker.status().info) is not None and info.checkpoint == "another", "the warm-up")


def test_what_an_engine_is_tuned_to_holds_for_the_next_process_too(farm: Farm) -> None:
    worker = farm.workers[0]
    try:
        worker.tune(Tuning(preview_every=7))
        for _ in range(2):
            worker.warm_up("one")
            wait_until(lambda: _models(worker) == (("one", 7),), "the tuned engine")
            old = worker.pid
            worker.kill()
            wait_until(lambda old=old: worker.pid not in (None, old), "another process")
    finally:
        worker.tune(Tuning())


def test_unloading_gives_the_models_back(farm: Farm) -> None:
    worker = farm.workers[0]
    worker.warm_up("one")
    wait_until(lambda: _models(worker) != (), "the model")
    worker.unload()
    wait_until(lambda: _models(worker) == (), "no model")


def _models(worker: Worker) -> tuple[tuple[str, int], ...] | None:
    info = worker.status().info
    return None if info is None else info.models


def test_four_jobs_run_on_two_workers_at_once_and_equal_those_of_one_worker(
    farm: Farm, make_workers: MakeWorkers, tmp_path: Path
) -> None:
    with Farm(tmp_path, make_workers(2, ScriptedEngineFactory(step_seconds=0.02))) as two:
        wait_until(lambda: all(w.status().state is WorkerState.READY for w in two.workers), "two workers")
        jobs = [two.submit(seed=seed, num_inference_steps=20) for seed in (1, 2, 3, 4)]
        wait_until(lambda: two.store.count(JobState.RUNNING) == 2, "two running jobs")
        assert all(two.wait_for(job).state is JobState.DONE for job in jobs)
        parallel = [_digests(two, job) for job in jobs]
    alone = [_digests(farm, farm.make(seed=seed, num_inference_steps=20).id) for seed in (1, 2, 3, 4)]
    assert parallel == alone


def _digests(farm: Farm, job_id: str) -> list[str]:
    return [hashlib.sha256(content).hexdigest() for content in farm.contents(job_id)]
