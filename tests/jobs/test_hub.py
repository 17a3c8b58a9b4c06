"""The hub: what watchers are told, in which order, and what happens when they fall behind or come back."""

import asyncio
import threading
from typing import Any

import pytest

from webui.jobs import hub as hub_module
from webui.jobs.hub import Frame, Hub, Subscription


@pytest.fixture
def hub() -> Hub:
    return Hub(lambda: {"jobs": ["everything"], "status": {}})


def drain(subscription: Subscription) -> list[Frame]:
    frames = []
    while (frame := subscription.get(timeout=0)) is not None:
        frames.append(frame)
    return frames


def kinds(frames: list[Frame]) -> list[str]:
    return [frame["kind"] for frame in frames]


def progress(hub: Hub, job: str, step: int) -> None:
    hub.publish(job, "progress", step=step, preview="data:image/jpeg;base64,")


def test_a_newcomer_is_greeted_told_everything_and_then_what_is_new(hub: Hub) -> None:
    hub.publish("a", "queued", state="queued")
    watch = hub.subscribe()
    hub.publish("a", "done", state="done")
    hello, snapshot, done = drain(watch)
    assert (hello["kind"], hello["replayed"], hello["instance"]) == ("hello", False, hub.instance)
    assert (snapshot["kind"], snapshot["jobs"]) == ("snapshot", ["everything"])
    assert hello["n"] < snapshot["n"] <= done["n"]
    assert done == {"n": 2, "job": "a", "kind": "done", "state": "done"}


def test_nothing_that_happens_after_the_subscription_is_left_out_however_late_it_is_read(hub: Hub) -> None:
    watch = hub.subscribe()
    hub.publish("a", "queued")
    hub.publish("a", "done")
    assert kinds(drain(watch)) == ["hello", "snapshot", "queued", "done"]


def test_who_comes_back_is_told_what_was_missed_with_the_last_preview_only(hub: Hub) -> None:
    hub.publish("a", "started")
    for step in range(1, 6):
        progress(hub, "a", step)
    progress(hub, "b", 1)
    hub.publish("a", "image", image={})
    frames = drain(hub.subscribe(since=1, instance=hub.instance))
    assert kinds(frames) == ["hello", "progress", "progress", "image"]
    assert frames[0]["replayed"] is True
    assert [(frame["job"], frame["step"]) for frame in frames[1:3]] == [("a", 5), ("b", 1)]
    numbers = [frame["n"] for frame in frames]
    assert numbers == sorted(numbers)


def test_someone_who_missed_nothing_is_told_nothing(hub: Hub) -> None:
    hub.publish("a", "done")
    assert kinds(drain(hub.subscribe(since=1, instance=hub.instance))) == ["hello"]


@pytest.mark.parametrize(
    ("since", "instance"), [(1, "another life"), (None, None), (99, "this"), (0, "this"), (-5, "this")]
)
def test_who_cannot_be_told_what_was_missed_gets_a_snapshot(hub: Hub, since: int | None, instance: str | None) -> None:
    hub.publish("a", "done")
    frames = drain(hub.subscribe(since, hub.instance if instance == "this" else instance))
    assert kinds(frames) == ["hello", "snapshot"]
    assert frames[0]["replayed"] is False


def test_a_gap_that_is_too_large_gives_a_snapshot(hub: Hub) -> None:
    for number in range(hub_module.BUFFER + 2):
        hub.publish(f"job {number}", "done")
    assert kinds(drain(hub.subscribe(since=1, instance=hub.instance))) == ["hello", "snapshot"]
    assert len(drain(hub.subscribe(since=2, instance=hub.instance))) == 1 + hub_module.BUFFER


def test_a_slow_watcher_loses_previews_first_and_memory_stays_bounded(hub: Hub) -> None:
    watch = hub.subscribe(since=None)
    drain(watch)
    for step in range(5000):
        progress(hub, "a", step)
        if step % 100 == 0:
            hub.publish("a", "warning", text=str(step))
    assert len(watch._line) <= 51
    assert len(hub._line) <= 51
    frames = drain(watch)
    assert kinds(frames).count("warning") == 50
    assert [frame["step"] for frame in frames if frame["kind"] == "progress"] == [4999]


def test_a_watcher_who_never_reads_is_brought_up_to_date_by_a_snapshot(hub: Hub) -> None:
    watch = hub.subscribe()
    drain(watch)
    for number in range(hub_module.BACKLOG * 3):
        hub.publish(f"job {number}", "done")
    assert len(watch._line) <= hub_module.BACKLOG
    snapshot, *later = drain(watch)
    assert snapshot["kind"] == "snapshot"
    assert [frame["n"] for frame in later] == list(range(snapshot["n"] + 1, hub.last + 1))


def test_previews_of_a_finished_job_are_forgotten(hub: Hub) -> None:
    hub.publish("a", "started")
    progress(hub, "a", 1)
    hub.publish("a", "done")
    assert kinds(drain(hub.subscribe(since=1, instance=hub.instance))) == ["hello", "done"]


def test_a_plain_thread_waits_for_frames_and_is_released_by_close(hub: Hub) -> None:
    watch = hub.subscribe()
    seen: list[str] = []

    def read() -> None:
        while (frame := watch.get()) is not None:
            seen.append(frame["kind"])

    reader = threading.Thread(target=read)
    reader.start()
    hub.publish("a", "done")
    hub.close()
    reader.join(5)
    assert not reader.is_alive()
    assert seen[:2] == ["hello", "snapshot"]


def test_an_event_loop_gets_frames_from_other_threads_in_order_and_the_end() -> None:
    hub = Hub(dict)

    async def watch() -> list[Any]:
        subscription = hub.subscribe()
        publisher = threading.Thread(target=publish)
        steps = []
        async for frame in subscription:
            if frame["kind"] == "snapshot":
                publisher.start()
            if frame["kind"] == "image":
                steps.append(frame["number"])
            if len(steps) == 300:
                subscription.close()
        publisher.join()
        return steps

    def publish() -> None:
        for number in range(300):
            hub.publish("a", "image", number=number)

    assert asyncio.run(asyncio.wait_for(watch(), 10)) == list(range(300))
    assert not hub._subscriptions


def test_a_watcher_whose_event_loop_is_gone_harms_nobody(hub: Hub) -> None:
    async def watch() -> None:
        subscription = hub.subscribe()
        await anext(subscription)
        await anext(subscription)
        waiting = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(watch())
    hub.publish("a", "done")
    assert kinds(drain(hub.subscribe(since=1, instance=hub.instance))) == ["hello"]
