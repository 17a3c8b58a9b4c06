"""Trainings in the queue: they make room for pictures, go on by themselves, and leave curve and samples behind."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.farm import Farm, wait_until
from tests.scripted_engine import ScriptedEngineFactory
from tests.workers.transports import local_workers
from webui.contract import STATE_FOLDER, Signal
from webui.errors import Conflict, NotFound
from webui.events import JobState
from webui.jobs.store import JobStore
from webui.jobs.trainings import TrainingFolders
from webui.workers.worker import WorkerState

LONG = 100_000


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One worker, shared by the tests of this file: each leaves it free."""
    with Farm(tmp_path_factory.mktemp("farm"), local_workers(1, ScriptedEngineFactory())) as farm:
        yield farm


def has_state(farm: Farm, job: str) -> bool:
    return (farm.folder / "training" / job / STATE_FOLDER).exists()


def state_frames(farm: Farm, job: str, since: int) -> list[tuple[str, str, bool]]:
    watch = farm.hub.subscribe(since=since, instance=farm.hub.instance)
    frames = []
    while (frame := watch.get(timeout=0)) is not None:
        if frame["job"] == job and frame["kind"] in ("queued", "state", "paused", "done", "result"):
            frames.append((frame["kind"], frame["state"], frame.get("aside", False)))
    watch.close()
    return frames


def test_a_training_leaves_its_curve_its_samples_and_the_name_of_its_result(farm: Farm) -> None:
    job = farm.train()
    record = farm.wait_for(job)
    assert (record.state, record.result) == (JobState.DONE, "loras/scripted.safetensors")
    assert farm.trainings.losses(job, most=1000) == [(step, pytest.approx(1 / step, rel=1e-5)) for step in range(1, 41)]
    assert farm.trainings.samples(job) == [20, 40]
    assert farm.trainings.sample(job, 20).startswith(b"\xff\xd8")
    wait_until(lambda: not has_state(farm, job), "the state of a finished training to go")


def test_a_running_training_makes_room_for_a_picture_and_goes_on_by_itself(farm: Farm) -> None:
    job = farm.train(steps=120)
    farm.wait_for_step(job, 20)
    before = farm.hub.last
    picture = farm.submit(num_inference_steps=150)
    wait_until(lambda: farm.scheduler.is_aside(farm.store.job(job)), "the training to step aside")
    farm.wait_for_step(picture, 3)
    waiting = farm.store.job(job)
    assert (waiting.state, farm.scheduler.is_aside(waiting)) == (JobState.QUEUED, True)
    assert farm.scheduler.live(waiting) is not None, "where it stands can still be seen"
    assert farm.wait_for(picture).state is JobState.DONE
    done = farm.wait_for(job)
    assert (done.state, done.attempts, done.crashes) == (JobState.DONE, 2, 0)
    assert [step for step, _ in farm.trainings.losses(job, LONG)] == list(range(1, 121)), (
        "no step was lost or done twice"
    )
    assert ("queued", "queued", True) in state_frames(farm, job, before)


def test_pictures_never_wait_for_trainings_that_were_queued_before_them(farm: Farm) -> None:
    running = farm.train(name="first", steps=LONG)
    farm.wait_for_step(running, 2)
    second = farm.train(name="second", steps=LONG)
    for _ in range(2):
        assert farm.make().state is JobState.DONE
    assert farm.store.job(second).attempts == 0
    assert farm.store.jobs_ahead(farm.store.job(second)) <= 1
    farm.scheduler.signal(second, Signal.CANCEL)
    farm.scheduler.signal(running, Signal.CANCEL)
    assert farm.wait_for(running).state is JobState.CANCELLED


def test_a_training_that_a_person_paused_does_not_go_on_by_itself(farm: Farm) -> None:
    job = farm.train(steps=LONG)
    farm.wait_for_step(job, 5)
    farm.scheduler.signal(job, Signal.PAUSE)
    farm.wait_for(job, JobState.PAUSED)
    assert farm.make().state is JobState.DONE
    assert farm.store.job(job).state is JobState.PAUSED
    assert has_state(farm, job)
    farm.scheduler.resume(job)
    farm.wait_for_step(job, 8)
    farm.scheduler.signal(job, Signal.CANCEL)
    assert farm.wait_for(job).state is JobState.CANCELLED
    wait_until(lambda: not has_state(farm, job), "the state of a stopped training to go")


def test_pause_and_stop_count_while_a_training_steps_aside(farm: Farm) -> None:
    job = farm.train(steps=LONG)
    farm.wait_for_step(job, 5)
    picture = farm.submit(num_inference_steps=60)
    farm.scheduler.signal(job, Signal.PAUSE)
    assert farm.wait_for(picture).state is JobState.DONE
    assert farm.wait_for(job, JobState.PAUSED)
    assert farm.scheduler.signal(job, Signal.CANCEL).state is JobState.CANCELLED
    assert not has_state(farm, job)


def test_a_second_worker_makes_the_picture_and_the_training_runs_on(tmp_path: Path) -> None:
    with Farm(tmp_path, local_workers(2, ScriptedEngineFactory())) as farm:
        wait_until(lambda: all(w.status().state is WorkerState.READY for w in farm.workers), "two workers")
        job = farm.train(steps=LONG)
        farm.wait_for_step(job, 5)
        assert farm.make().state is JobState.DONE
        record = farm.store.job(job)
        assert (record.state, record.attempts) == (JobState.RUNNING, 1)


def test_a_training_survives_the_death_of_its_engine_as_often_as_it_gets_further(farm: Farm) -> None:
    job = farm.train("die-late", steps=14)
    record = farm.wait_for(job)
    assert (record.state, record.attempts) == (JobState.DONE, 4)
    assert [step for step, _ in farm.trainings.losses(job, LONG)] == list(range(1, 15))


def test_a_training_that_only_kills_its_engine_fails_and_can_be_taken_up_again(farm: Farm) -> None:
    job = farm.train("die-always")
    record = farm.wait_for(job)
    assert (record.state, record.error, record.attempts) == (JobState.FAILED, "EngineDied", 2)
    assert has_state(farm, job), "what it saved is not thrown away"
    heir = farm.scheduler.take_up_again(job)
    assert heir.id != job
    assert heir.values == record.values
    assert has_state(farm, heir.id) and not has_state(farm, job)
    farm.scheduler.signal(heir.id, Signal.CANCEL)
    farm.wait_for(heir.id)
    with pytest.raises(Conflict, match="failed training"):
        farm.scheduler.take_up_again(job)


def test_a_server_that_ends_and_starts_again_goes_on_with_the_training(tmp_path: Path) -> None:
    with Farm(tmp_path, local_workers(1, ScriptedEngineFactory())) as first:
        job = first.train(steps=100)
        first.wait_for_step(job, 20)
    store = JobStore(tmp_path / "easel.sqlite3")
    record = store.job(job)
    assert (record.state, record.crashes) == (JobState.QUEUED, 0)
    assert int(store.engine_state(job) or b"0") >= 19
    store.close()
    with Farm(tmp_path, local_workers(1, ScriptedEngineFactory())) as second:
        assert second.wait_for(job).state is JobState.DONE
        assert [step for step, _ in second.trainings.losses(job, LONG)] == list(range(1, 101))


def test_what_a_training_made_is_announced_when_it_is_there(tmp_path: Path) -> None:
    told = threading.Event()
    with Farm(tmp_path, local_workers(1, ScriptedEngineFactory()), models_changed=told.set) as farm:
        farm.wait_for(farm.train(steps=1))
        assert told.is_set()


# The folders alone.


def test_steps_that_are_made_again_after_a_crash_are_drawn_once(tmp_path: Path) -> None:
    folders = TrainingFolders(tmp_path)
    folders.add_losses("job", [(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0)])
    folders.add_losses("job", [(3, 2.5), (4, 1.5)])
    assert folders.losses("job", 100) == [(1, 4.0), (2, 3.0), (3, 2.5), (4, 1.5)]


def test_a_long_curve_is_told_as_means_and_ends_with_its_last_step(tmp_path: Path) -> None:
    folders = TrainingFolders(tmp_path)
    folders.add_losses("job", [(step, float(step)) for step in range(1, 1001)])
    points = folders.losses("job", 100)
    assert len(points) == 100
    assert points[0] == (10, 5.5)
    assert points[-1] == (1000, 995.5)


def test_a_curve_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    folders = TrainingFolders(tmp_path)
    folders.add_losses("job", [(1, 1.0)])
    with (tmp_path / "job" / "loss.csv").open("a") as file:
        file.write("2,0.5\n3,0.\n4")
    assert folders.losses("job", 10) == [(1, 1.0), (2, 0.5), (3, 0.0)]


def test_a_disk_that_takes_no_curve_and_no_sample_does_not_end_the_training(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file where the folder should be")
    folders = TrainingFolders(tmp_path)
    folders.add_losses("job", [(1, 1.0)])
    assert folders.add_sample("job", 1, b"jpeg") is False
    assert folders.losses("job", 10) == []
    with pytest.raises(NotFound):
        folders.sample("job", 1)


def test_looking_at_a_training_whose_state_is_being_removed_is_no_error(tmp_path: Path) -> None:
    trainings = TrainingFolders(tmp_path)
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            (tmp_path / "job" / STATE_FOLDER / "denoiser").mkdir(parents=True, exist_ok=True)
            trainings.end("job")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert not any(trainings.has_state("job") for _ in range(10_000))
    finally:
        stop.set()
        thread.join()


def test_what_is_left_of_trainings_that_are_over_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    folders = TrainingFolders(tmp_path)
    for job in ("over", "waiting"):
        (tmp_path / job / STATE_FOLDER).mkdir(parents=True)
        assert not folders.has_state(job), "an empty folder is none"
        (tmp_path / job / STATE_FOLDER / "state.pt").touch()
        folders.add_losses(job, [(1, 1.0)])
    folders.sweep(lambda job: job == "over")
    assert [folders.has_state(job) for job in ("over", "waiting")] == [False, True]
    assert folders.losses("over", 10) == [(1, 1.0)]
    TrainingFolders(tmp_path / "nothing").sweep(lambda job: True)
