"""The job store on real files: what was acknowledged stays, whatever happens to the process or the file."""

import logging
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from webui.contract import Signal
from webui.errors import CannotStart, CannotStore, EngineDied, NotFound
from webui.events import Image, JobState
from webui.jobs import schema
from webui.jobs.store import JobStore
from webui.sentences import Sentence
from webui.settings import ROOT

IMAGE = Image(picture=0, seed=3, width=8, height=8, png=b"", parameters="Steps: 1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path / "easel.sqlite3")
    yield store
    store.close()


def submit(store: JobStore, **values: object) -> str:
    return store.submit("txt2img", values)[0].id


def test_a_job_comes_back_as_it_was_submitted(store: JobStore) -> None:
    values = {"prompt": "Ein Käfer 🐞", "seed": 2**32 - 1, "guidance_scale": 7.5}
    record, is_new = store.submit("txt2img", values)
    assert is_new
    assert store.job(record.id) == record
    assert dict(record.values) == values
    assert (record.state, record.attempts, record.error, record.warnings) == (JobState.QUEUED, 0, None, ())
    assert len(record.id) >= 16 and record.id.isalnum()


def test_the_same_key_gives_the_same_job_even_from_many_threads(store: JobStore) -> None:
    ids: list[tuple[str, bool]] = []

    def press() -> None:
        record, is_new = store.submit("txt2img", {"prompt": "x"}, key="one click")
        ids.append((record.id, is_new))

    threads = [threading.Thread(target=press) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job_id for job_id, _ in ids}) == 1
    assert sum(is_new for _, is_new in ids) == 1
    assert len(store.jobs()) == 1


def test_nothing_acknowledged_is_lost_when_the_server_is_killed_while_jobs_come_in(tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path
        from webui.jobs.store import JobStore
        store = JobStore(Path({str(tmp_path / "easel.sqlite3")!r}))
        while True:
            print(store.submit("txt2img", {{"prompt": "x" * 1000}})[0].id, flush=True)
    """
    acknowledged: list[str] = []
    for count in (1, 7, 20):
        command = [sys.executable, "-c", textwrap.dedent(code)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as server:
            assert server.stdout is not None
            acknowledged += [server.stdout.readline().strip() for _ in range(count)]
            server.kill()
            acknowledged += [line.strip() for line in server.stdout.read().splitlines(True) if line.endswith("\n")]
    store = JobStore(tmp_path / "easel.sqlite3")
    kept = [record.id for record in reversed(store.jobs(limit=10_000))]
    assert [job_id for job_id in kept if job_id in acknowledged] == acknowledged
    assert len(kept) <= len(acknowledged) + 3, "at most the job of each kill was written and not acknowledged"
    store.close()


def test_final_states_never_change_again(store: JobStore) -> None:
    job = submit(store)
    store.claim(job)
    assert store.finish(job, JobState.DONE, timings={"total": 1.5}) is not None
    assert store.claim(job) is None
    assert store.requeue(job) is None
    assert store.pause(job, when=JobState.RUNNING) is None
    assert store.resume(job) is None
    assert store.finish(job, JobState.CANCELLED, when=(JobState.QUEUED, JobState.PAUSED)) is None
    record = store.job(job)
    assert record.state is JobState.DONE
    assert record.timings == {"total": 1.5}
    assert record.started is not None and record.finished is not None


def test_a_resumed_job_comes_first_and_jobs_ahead_are_counted(store: JobStore) -> None:
    first, second, third = (submit(store) for _ in range(3))
    store.pause(third, when=JobState.QUEUED)
    store.resume(third)
    assert [record.id for record in store.queue(10)] == [third, first, second]
    assert [store.jobs_ahead(store.job(job)) for job in (third, first, second)] == [0, 1, 2]
    store.claim(third)
    assert [store.jobs_ahead(store.job(job)) for job in (third, first, second)] == [0, 0, 1]


def test_jobs_that_ran_when_the_server_died_are_queued_again_with_their_state(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "easel.sqlite3")
    running, paused = submit(store), submit(store)
    store.claim(running)
    store.keep_engine_state(running, b"half a picture")
    store.pause(paused, when=JobState.QUEUED)
    store.close()
    store = JobStore(tmp_path / "easel.sqlite3")
    assert [record.id for record in store.recover()] == [running]
    assert store.job(running).state is JobState.QUEUED
    assert store.engine_state(running) == b"half a picture"
    assert store.job(paused).state is JobState.PAUSED
    store.close()


def test_a_job_that_goes_down_twice_has_failed_and_says_so(store: JobStore) -> None:
    job = submit(store)
    store.claim(job)
    assert store.crashed(job, EngineDied(-9)).state is JobState.QUEUED
    store.claim(job)
    (record,) = store.recover()
    assert (record.state, record.error, record.crashes) == (JobState.FAILED, "EngineDied", 2)
    assert record.text == EngineDied(None).sentence


@pytest.mark.parametrize(
    ("told", "state"), [(Signal.CANCEL, JobState.CANCELLED), (Signal.PAUSE, JobState.PAUSED), (None, JobState.QUEUED)]
)
def test_what_a_job_was_told_counts_although_the_server_was_killed(
    store: JobStore, told: Signal | None, state: JobState
) -> None:
    job = submit(store)
    store.claim(job)
    store.keep_engine_state(job, b"half a picture")
    if told is not None:
        store.keep_told(job, told)
    assert [record.state for record in store.recover()] == [state]
    assert store.engine_state(job) == (None if told is Signal.CANCEL else b"half a picture")


def test_what_a_job_was_told_in_an_earlier_run_does_not_count(store: JobStore) -> None:
    job = submit(store)
    store.claim(job)
    store.keep_told(job, Signal.PAUSE)
    store.pause(job, when=JobState.RUNNING)
    store.resume(job)
    store.claim(job)
    assert [record.state for record in store.recover()] == [JobState.QUEUED]


def test_a_pause_or_a_closed_server_is_no_crash(store: JobStore) -> None:
    job = submit(store)
    for _ in range(5):
        store.claim(job)
        store.requeue(job, b"state")
        store.claim(job)
        store.pause(job, when=JobState.RUNNING)
        store.resume(job)
    assert store.job(job).crashes == 0
    assert store.job(job).attempts == 10


def test_the_engine_state_is_dropped_when_the_job_is_over(store: JobStore) -> None:
    job = submit(store)
    store.claim(job)
    store.keep_engine_state(job, b"x")
    store.finish(job, JobState.CANCELLED)
    assert store.engine_state(job) is None


def test_a_picture_made_again_replaces_the_first(store: JobStore) -> None:
    job = submit(store)
    store.add_picture(job, IMAGE, "2026-01-01/00001-3.png")
    again = store.add_picture(job, IMAGE, "2026-01-01/00002-3.png")
    assert store.pictures_of([job]) == {job: [again]}
    assert store.picture(again.id) == again
    assert store.has_picture_at("2026-01-01/00002-3.png")
    assert not store.has_picture_at("2026-01-01/00001-3.png")


def test_the_names_of_a_days_pictures_are_known(store: JobStore) -> None:
    job = submit(store)
    for number, path in enumerate(["2026-01-02/00001-5.png", "2026-01-02/00002-6.png", "2026-01-03/00001-7.png"]):
        store.add_picture(job, replace(IMAGE, picture=number), path)
    assert sorted(store.names_of("2026-01-02")) == ["00001-5.png", "00002-6.png"]
    assert store.names_of("2026-01") == store.names_of("2026-0%") == []


@pytest.mark.row("A10")
def test_unknown_ids_are_not_found(store: JobStore) -> None:
    with pytest.raises(NotFound):
        store.job("'; DROP TABLE jobs; --")
    with pytest.raises(NotFound):
        store.picture("nothing")


def test_a_warning_is_kept_once(store: JobStore) -> None:
    job = submit(store)
    for _ in range(3):
        store.warn(job, Sentence("Careful with {what}.", what=Sentence("it")))
    store.warn(job, Sentence("Slow."))
    assert [str(warning) for warning in store.job(job).warnings] == ["Careful with it.", "Slow."]


def test_what_an_older_version_said_of_its_jobs_is_still_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.sqlite3"
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    with closing(schema.open_database(path)) as old:
        old.execute(
            "INSERT INTO jobs (id, kind, request, state, position, created, error, text, warnings) "
            "VALUES ('failed', 'txt2img', '{}', 'failed', 1, 0, 'OutOfMemory', ?, ?)",
            ("It's {full}.", '["One.", "“Two”."]'),
        )
        old.execute(
            "INSERT INTO jobs (id, kind, request, state, position, created) "
            "VALUES ('untouched', 'txt2img', '{}', 'queued', 2, 0)"
        )
    monkeypatch.undo()
    store = JobStore(path)
    assert str(store.job("failed").text) == "It's {full}."
    assert [str(warning) for warning in store.job("failed").warnings] == ["One.", "“Two”."]
    assert (store.job("untouched").text, store.job("untouched").warnings) == (None, ())
    store.close()


def test_ten_thousand_finished_jobs_are_listed_and_opened_quickly(store: JobStore, tmp_path: Path) -> None:
    with store.write() as sql:  # one transaction, or filling it would take a minute
        for number in range(10_000):
            job = submit(store, prompt=f"picture {number}")
            store.add_picture(job, IMAGE, f"{number}.png")
        sql.execute("UPDATE jobs SET state = 'done'")
    begin = time.process_time()  # not the clock: other work on the machine is none of the store's
    again = JobStore(tmp_path / "easel.sqlite3")
    opened = time.process_time()
    jobs = again.jobs(limit=50)
    pictures = again.pictures_of([job.id for job in jobs])
    assert again.queue(32) == []
    listed = time.process_time()
    again.close()
    assert jobs[0].values["prompt"] == "picture 9999"
    assert all(len(found) == 1 for found in pictures.values())
    assert listed - opened < 0.1
    assert opened - begin < 0.5


def test_a_newer_database_is_refused_in_words_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "easel.sqlite3"
    JobStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(CannotStart, match="newer Easel"):
        JobStore(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if "broken" in file.name] == []


def test_an_older_database_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "easel.sqlite3"
    store = JobStore(path)
    job = submit(store, prompt="old")
    store.close()
    newer = (*schema.MIGRATIONS, ("CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('new')"))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    store = JobStore(path)
    assert store.job(job).values["prompt"] == "old"
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT text FROM notes").fetchall() == [("new",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
    connection.close()


@pytest.mark.parametrize("damage", ["garbage", "hole"])
def test_a_damaged_database_is_set_aside_and_a_fresh_one_begun(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "easel.sqlite3"
    store = JobStore(path)
    for number in range(200):
        submit(store, prompt=f"picture {number} " * 20)
    store.close()
    content = bytearray(path.read_bytes())
    content = bytearray(b"not a database " * 400) if damage == "garbage" else content
    content[4096:-4096] = b"\xff" * len(content[4096:-4096])
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        store = JobStore(path)
    assert store.jobs() == []
    assert submit(store)
    store.close()
    assert [file for file in tmp_path.iterdir() if ".broken-" in file.name]
    assert "damaged" in caplog.text


def test_a_database_that_cannot_be_opened_prevents_the_start_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    with pytest.raises(CannotStart, match="--data-dir"):
        JobStore(tmp_path / "file" / "easel.sqlite3")


def test_a_full_disk_is_told_and_leaves_the_store_usable(store: JobStore) -> None:
    connection = store._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite says then is what it says of a full disk
    with pytest.raises(CannotStore, match="full"):
        submit(store, prompt="x" * 100_000)
    connection.execute("PRAGMA max_page_count = 1000000")
    assert store.jobs() == []
    assert submit(store, prompt="x" * 100_000)


def test_waiting_jobs_change_places_and_nothing_else_moves(store: JobStore) -> None:
    first, second, third = (submit(store, prompt=name) for name in ("1", "2", "3"))
    training = store.submit("train-lora", {})[0].id
    assert store.move(third, first)
    assert [job.id for job in store.queue(10)] == [third, first, second, training]
    assert store.move(third, None)
    assert [job.id for job in store.queue(10)] == [first, second, third, training]
    assert store.move(first, training) is None, "trainings come after all pictures"
    store.claim(first)
    assert store.move(first, None) is None
    assert store.move(second, first) is None, "what runs has no place any more"
    newest = submit(store, prompt="4")
    assert [job.id for job in store.queue(10)] == [second, third, newest, training]


def test_moving_what_waits_costs_the_running_job_its_place_not(store: JobStore) -> None:
    running, *waiting = (submit(store, prompt=str(number)) for number in range(5))
    store.claim(running)
    assert store.move(waiting[3], waiting[0])
    store.requeue(running)
    assert [job.id for job in store.queue(10)] == [running, waiting[3], *waiting[:3]]
