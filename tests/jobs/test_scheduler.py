"""The order of the queue, what a job's watchers are told, and what happens when pictures cannot be saved."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.farm import VALUES, Farm, wait_until
from tests.scripted_engine import ScriptedEngineFactory
from tests.workers.transports import local_workers
from webui.contract import Signal
from webui.errors import Conflict
from webui.events import JobState
from webui.jobs.hub import Frame
from webui.jobs.records import JobRecord
from webui.jobs.scheduler import PASSED_OVER, Scheduler, choose
from webui.jobs.store import JobStore
from webui.workers.worker import WorkerState


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with Farm(tmp_path_factory.mktemp("farm"), local_workers(1, ScriptedEngineFactory())) as farm:
        yield farm


@pytest.fixture
def blocked(farm: Farm) -> Iterator[Farm]:
    """The worker is busy, so that what is submitted stays queued until the end of the test."""
    job = farm.submit(batch_count=100, num_inference_steps=150)
    farm.wait_for_step(job)
    yield farm
    for record in farm.store.queue(100):
        farm.scheduler.signal(record.id, Signal.CANCEL)
    farm.scheduler.signal(job, Signal.CANCEL)
    farm.wait_for(job)


def queue(tmp_path: Path, *checkpoints: str) -> list[JobRecord]:
    store = JobStore(tmp_path / "queue.sqlite3")
    records = [store.submit("txt2img", {**VALUES, "checkpoint": name})[0] for name in checkpoints]
    store.close()
    return records


def frames_of(farm: Farm, job_id: str, since: int) -> list[Frame]:
    watch = farm.hub.subscribe(since=since, instance=farm.hub.instance)
    frames = []
    while (frame := watch.get(timeout=0)) is not None:
        frames.append(frame)
    watch.close()
    return [frame for frame in frames if frame["job"] == job_id]


def test_first_come_first_served(tmp_path: Path) -> None:
    records = queue(tmp_path, "a", "b", "a")
    assert choose(records, None, (), {}) is records[0]
    assert choose([], "a", (), {}) is None


def test_a_loaded_checkpoint_goes_first_but_the_first_job_does_not_starve(tmp_path: Path) -> None:
    records = queue(tmp_path, "a", "b", "b")
    assert choose(records, "b", (), {}) is records[1]
    assert choose(records, "b", (), {records[0].id: PASSED_OVER}) is records[0]


def test_a_job_is_left_to_the_free_worker_that_holds_its_checkpoint(tmp_path: Path) -> None:
    records = queue(tmp_path, "a", "b")
    assert choose(records, "c", {"a"}, {}) is records[1]
    assert choose(records, "c", {"a", "b"}, {}) is None


def test_jobs_for_the_loaded_checkpoint_overtake_the_first_a_few_times_only(blocked: Farm) -> None:
    other = blocked.submit(checkpoint="other", num_inference_steps=1)
    same = [blocked.submit(num_inference_steps=1) for _ in range(PASSED_OVER + 2)]
    blocker = blocked.store.jobs([JobState.RUNNING])[0].id
    blocked.scheduler.signal(blocker, Signal.CANCEL)
    started = {job: blocked.wait_for(job).started or 0.0 for job in (other, *same)}
    order = sorted(started, key=lambda job: started[job])
    assert order == [*same[:PASSED_OVER], other, *same[PASSED_OVER:]]
    running = blocked.submit(batch_count=100, num_inference_steps=150)  # for the fixture's clean-up
    blocked.wait_for_step(running)
    blocked.scheduler.signal(running, Signal.CANCEL)


def test_a_queued_job_can_be_paused_and_comes_first_when_resumed(blocked: Farm) -> None:
    first, second = blocked.submit(), blocked.submit()
    assert blocked.scheduler.signal(second, Signal.PAUSE).state is JobState.PAUSED
    assert blocked.scheduler.signal(second, Signal.PAUSE).state is JobState.PAUSED
    record = blocked.scheduler.resume(second)
    assert blocked.store.jobs_ahead(record) == 0
    assert [queued.id for queued in blocked.store.queue(10)] == [second, first]


def test_what_a_job_is_not_in_a_state_for_is_refused_in_words(blocked: Farm) -> None:
    job = blocked.submit()
    with pytest.raises(Conflict, match="Only a paused job can be resumed; this one is queued"):
        blocked.scheduler.resume(job)
    with pytest.raises(Conflict, match="This job is queued: there is nothing to skip"):
        blocked.scheduler.signal(job, Signal.SKIP)


def test_waiting_jobs_are_told_when_they_move_up(blocked: Farm) -> None:
    first, second = blocked.submit(), blocked.submit()
    before = blocked.hub.last
    blocked.scheduler.signal(first, Signal.CANCEL)
    (moved,) = frames_of(blocked, second, before)
    assert (moved["kind"], moved["state"], moved["position"]) == ("state", "queued", 0)


def test_watchers_see_a_job_from_queued_to_done_and_every_frame_carries_its_state(farm: Farm) -> None:
    before = farm.hub.last
    watch = farm.hub.subscribe()
    record = farm.make("warn", batch_count=2)
    frames: list[Frame] = []
    while not frames or frames[-1]["kind"] != "done":
        frame = watch.get(5)
        assert frame is not None
        frames += [frame] if frame["job"] == record.id else []
    watch.close()
    assert [f["kind"] for f in frames if f["kind"] not in ("progress", "state")] == [
        "queued", "started", "warning", "image", "image", "done"
    ]  # fmt: skip
    assert all("state" in frame for frame in frames)
    assert [frame["image"]["number"] for frame in frames if frame["kind"] == "image"] == [0, 1]
    replayed = frames_of(farm, record.id, before)
    assert "progress" not in [frame["kind"] for frame in replayed]


def test_a_picture_that_cannot_be_saved_is_kept_its_job_says_where_and_the_queue_goes_on(tmp_path: Path) -> None:
    with Farm(tmp_path, local_workers(1, ScriptedEngineFactory())) as farm:
        good = farm.make()
        expected = farm.contents(good.id)
        outputs = tmp_path / "outputs"
        outputs.rename(tmp_path / "elsewhere")
        outputs.write_text("a file where the folder should be")
        failed = farm.make(batch_count=50)
        assert (failed.state, failed.error) == (JobState.FAILED, "CannotSave")
        assert "--outputs-dir" in str(failed.text) and str(tmp_path / "unsaved") in str(failed.text)
        assert farm.contents(failed.id) == expected, "the finished picture can still be seen and saved"
        assert farm.make().state is JobState.FAILED
        outputs.unlink()
        assert farm.make().state is JobState.DONE
        assert (outputs / farm.pictures(failed.id)[0].path).read_bytes() == expected[0]


def test_a_full_database_disk_holds_the_queue_up_and_loses_nothing(farm: Farm) -> None:
    connection = farm.store._connection
    job = farm.submit(batch_count=3, num_inference_steps=60)
    farm.wait_for_step(job)
    with farm.store._lock:
        connection.execute("PRAGMA query_only = ON")  # every change fails, as on a full disk
    wait_until(lambda: "could not be saved" in str(_warnings(farm, job)), "the warning")
    with farm.store._lock:
        connection.execute("PRAGMA query_only = OFF")
    assert farm.wait_for(job).state is JobState.DONE
    assert len(farm.pictures(job)) == 3


def test_a_job_can_be_stopped_although_nothing_can_be_stored(farm: Farm) -> None:
    connection = farm.store._connection
    job = farm.submit(batch_count=50, num_inference_steps=50)
    farm.wait_for_step(job)
    with farm.store._lock:
        connection.execute("PRAGMA query_only = ON")
    farm.scheduler.signal(job, Signal.CANCEL)
    with farm.store._lock:
        connection.execute("PRAGMA query_only = OFF")
    assert farm.wait_for(job).state is JobState.CANCELLED


def _warnings(farm: Farm, job_id: str) -> list[str]:
    return [frame["text"] for frame in frames_of(farm, job_id, 1) if frame["kind"] == "warning"]


def test_closing_puts_running_jobs_back_and_the_next_start_gives_the_same_pictures(farm: Farm, tmp_path: Path) -> None:
    expected = farm.contents(farm.make(batch_count=2, num_inference_steps=40).id)
    with Farm(tmp_path, local_workers(1, ScriptedEngineFactory())) as first:
        job = first.submit("wait", batch_count=2, num_inference_steps=40)
        first.wait_for_step(job, picture=1)
    store = JobStore(tmp_path / "easel.sqlite3")
    record = store.job(job)
    assert (record.state, record.crashes) == (JobState.QUEUED, 0)
    assert store.engine_state(job) is not None
    store.close()
    with Farm(tmp_path, local_workers(1, ScriptedEngineFactory())) as second:
        assert second.wait_for(job).state is JobState.DONE
        assert second.contents(job) == expected


def test_jobs_wait_for_an_engine_that_does_not_start_and_can_be_cancelled(tmp_path: Path) -> None:
    with Farm(tmp_path, local_workers(1, ScriptedEngineFactory(broken="There is no driver."))) as farm:
        job = farm.submit()
        wait_until(lambda: farm.workers[0].status().state is WorkerState.DEAD, "the failure")
        assert farm.store.job(job).state is JobState.QUEUED
        assert farm.scheduler.signal(job, Signal.CANCEL).state is JobState.CANCELLED


def test_a_job_that_this_version_does_not_understand_fails_alone(farm: Farm) -> None:
    record = farm.wait_for(farm.scheduler.submit("txt2img", {**VALUES, "sampler": "Gone"}).id)
    assert (record.state, record.error) == (JobState.FAILED, "UnknownName")
    assert farm.make().state is JobState.DONE


def test_the_status_is_read_and_told_by_one_thread_at_a_time(farm: Farm) -> None:
    """Otherwise a status read earlier could be told last, and the page would say "Ready" while a job runs."""
    inside = threading.Lock()
    alone: list[bool] = []

    def tell() -> None:
        alone.append(inside.acquire(blocking=False))
        time.sleep(0.02)
        inside.release()

    scheduler = Scheduler(
        farm.store, farm.inputs, farm.outputs, farm.trainings, farm.strips, farm.hub, [], announce_status=tell
    )
    threads = [threading.Thread(target=scheduler._announce_status) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert alone == [True] * 4
