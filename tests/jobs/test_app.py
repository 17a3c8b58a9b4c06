"""The whole server without HTTP: what it accepts, what it remembers, and that it survives being killed."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.farm import wait_until
from tests.header_only import write_checkpoint
from tests.scripted_engine import WARNING, ScriptedEngineFactory
from webui import __version__
from webui.app import App, create_app
from webui.contract import Signal
from webui.errors import CannotStart, InvalidRequest, NotFound, UnknownName
from webui.events import JobState
from webui.settings import ROOT, Settings
from webui.workers.local import LocalWorker

PATIENCE = 60.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_checkpoint(tmp_path / "models" / "checkpoints" / "one", defaults={"guidance_scale": 4.0})
    return Settings(data_dir=tmp_path / "data", outputs_dir=tmp_path / "outputs", models_dir=tmp_path / "models")


@contextmanager
def serving(settings: Settings, *, start: bool = True, step_seconds: float = 0.005) -> Iterator[App]:
    app = create_app(settings, engine_factory=ScriptedEngineFactory(step_seconds))
    try:
        if start:
            app.start()
        yield app
    finally:
        app.close()


def wait_for(app: App, job_id: str, state: JobState = JobState.DONE) -> dict[str, Any]:
    wait_until(lambda: app.job(job_id)["state"] == state, f"the job to be {state}")
    return app.job(job_id)


def test_a_request_is_completed_from_the_checkpoint_and_then_from_its_own_defaults(settings: Settings) -> None:
    with serving(settings, start=False) as app:
        request = app.submit("txt2img", {"prompt": "a cat", "width": 64}).request
    assert (request.checkpoint, request.width, request.height) == ("one", 64, 128)
    assert (request.guidance_scale, request.sampler) == (4.0, "DPM++ 2M")
    assert request.seed >= 0


@pytest.mark.parametrize(
    ("kind", "values", "error"),
    [
        ("txt2vid", {}, UnknownName),
        ("txt2img", {"width": 63}, InvalidRequest),
        ("txt2img", {"widht": 64}, UnknownName),
        ("txt2img", {"checkpoint": "../../etc/passwd"}, UnknownName),
        ("txt2img", {"checkpoint": ["one"]}, InvalidRequest),
        ("txt2img", {"guidance_scale": float("nan")}, InvalidRequest),
    ],
)
def test_an_impossible_request_is_refused_and_leaves_no_job(
    settings: Settings, kind: str, values: dict[str, Any], error: type[Exception]
) -> None:
    with serving(settings, start=False) as app:
        with pytest.raises(error):
            app.submit(kind, values)
        assert app.jobs() == []


def test_the_same_key_gives_the_same_job_also_after_a_restart(settings: Settings) -> None:
    with serving(settings, start=False) as app:
        first = app.submit("txt2img", {"prompt": "a"}, key="click")
    with serving(settings, start=False) as app:
        assert app.submit("txt2img", {"prompt": "a"}, key="click").id == first.id
        assert len(app.jobs()) == 1
        with pytest.raises(InvalidRequest, match="1 to 200"):
            app.submit("txt2img", {}, key="")


def test_a_job_as_json_says_everything_the_page_shows(settings: Settings) -> None:
    with serving(settings) as app:
        job = wait_for(app, app.submit("txt2img", {"prompt": "warn", "num_inference_steps": 3, "seed": 5}).id)
        assert json.loads(json.dumps(job)) == job
        (picture,) = job["pictures"]
        assert app.picture_content(app.picture(picture["id"])).startswith(b"\x89PNG")
    assert set(job) == {
        "id", "kind", "state", "position", "request", "created", "started", "finished", "attempts", "progress",
        "preview", "pictures", "warnings", "receipt", "error", "timings", "summary", "aside", "result", "estimate",
    }  # fmt: skip
    assert (job["state"], job["position"], job["progress"], job["preview"], job["error"]) == (
        "done",
        0,
        None,
        None,
        None,
    )
    assert job["warnings"] == [WARNING.to_json()]
    assert (picture["number"], picture["seed"], picture["url"]) == (0, 5, f"/api/v1/pictures/{picture['id']}")


def test_progress_preview_and_time_left_are_there_while_it_runs_also_for_a_page_that_comes_later(
    settings: Settings,
) -> None:
    with serving(settings, step_seconds=0.02) as app:
        job = app.submit("txt2img", {"num_inference_steps": 150, "batch_count": 5}).id
        wait_until(lambda: (app.job(job)["progress"] or {}).get("eta") is not None, "the estimate")
        watch = app.hub.subscribe()
        hello, snapshot = watch.get(1), watch.get(1)
        assert hello is not None and snapshot is not None
        (shown,) = snapshot["jobs"]
        assert shown["preview"].startswith("data:image/jpeg;base64,")
        assert shown["progress"]["total"] == 150
        assert snapshot["status"]["engine"]["state"] == "busy"
        assert snapshot["status"]["queue"] == {"waiting": 0, "running": 1, "paused": 0}
        app.signal(job, Signal.CANCEL)
        wait_for(app, job, JobState.CANCELLED)


def test_the_default_checkpoint_is_loaded_ahead_and_the_status_says_so(settings: Settings) -> None:
    with serving(settings) as app:
        assert app.status()["engine"]["state"] == "starting"
        assert app.status()["engine"]["text"] == "Starting the engine…"
        wait_until(lambda: app.status()["engine"]["checkpoint"] == "one", "the warm-up")
        wait_until(lambda: app.status()["engine"]["state"] == "ready", "the engine")
        assert app.status()["version"] == __version__
        assert app.status()["engine"]["device"] == "cpu"


def test_every_worker_knows_its_number_and_so_takes_a_card_of_its_own(settings: Settings) -> None:
    app = create_app(replace(settings, workers=2), engine_factory=ScriptedEngineFactory(cards=2))
    app.start()
    try:
        wait_until(lambda: all(worker["device"] for worker in app.status()["workers"]), "all engines")
        told = [(worker["name"], worker["device"]) for worker in app.status()["workers"]]
    finally:
        app.close()
    assert told == [("engine 1", "cuda:0"), ("engine 2", "cuda:1")]


def test_an_engine_that_waits_starts_with_the_first_job(settings: Settings) -> None:
    app = create_app(settings, engine_factory=ScriptedEngineFactory())
    app.start(engines_wait=True)
    try:
        time.sleep(0.3)
        assert pids(app) == [None]
        assert wait_for(app, app.submit("txt2img", {"num_inference_steps": 1}).id)["state"] == "done"
    finally:
        app.close()


def pids(app: App) -> list[int | None]:
    return [worker.pid for worker in app.scheduler.workers if isinstance(worker, LocalWorker)]


def test_engines_do_not_wait_when_there_is_work_from_the_last_time(settings: Settings) -> None:
    with serving(settings, start=False) as app:
        job = app.submit("txt2img", {"num_inference_steps": 1}).id
    app = create_app(settings, engine_factory=ScriptedEngineFactory())
    app.start(engines_wait=True)
    try:
        assert wait_for(app, job)["state"] == "done"
    finally:
        app.close()


def test_a_server_whose_engines_still_wait_closes_at_once(settings: Settings) -> None:
    app = create_app(settings, engine_factory=ScriptedEngineFactory())
    app.start(engines_wait=True)
    begin = time.monotonic()
    app.close()
    assert time.monotonic() - begin < 1
    assert pids(app) == [None]


def test_a_server_without_checkpoints_starts_all_the_same(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "models").rename(tmp_path / "gone")
    with serving(settings) as app:
        wait_until(lambda: app.status()["engine"]["state"] == "ready", "the engine")


def test_a_second_server_on_the_same_data_folder_is_refused_in_words(settings: Settings) -> None:
    with serving(settings, start=False), pytest.raises(CannotStart, match="already running"):
        create_app(settings, engine_factory=ScriptedEngineFactory())
    with serving(settings, start=False):
        pass


def test_an_id_always_shows_the_picture_that_was_made_under_it(settings: Settings) -> None:
    """Also when its file was deleted and another made, by the same seed, and when it came back under another name."""

    def made(app: App, width: int) -> str:
        job = wait_for(app, app.submit("txt2img", {"width": width, "seed": 42}).id)
        assert app.gallery.refresh(PATIENCE)
        return str(job["pictures"][0]["id"])

    def content(app: App, picture_id: str) -> bytes:
        return app.picture_content(app.picture(picture_id))

    with serving(settings) as app:
        first = made(app, 64)
        png = content(app, first)
        app.gallery.delete([first])
        second = made(app, 72)
        assert content(app, second) != png
        app.gallery.restore([first])
        assert content(app, first) == png
        app.gallery.delete([first])
        (settings.outputs_dir / app.picture(first).path).write_bytes(content(app, second) + b"x")  # somebody else
        app.gallery.restore([first])
        assert app.gallery.one(first).name.endswith(" (2).png")
        assert content(app, first) == png
        (settings.outputs_dir / app.picture(second).path).unlink()  # not by us
        made(app, 80)
        with pytest.raises(NotFound):
            content(app, second)


def test_unknown_ids_are_not_found(settings: Settings) -> None:
    with serving(settings, start=False) as app:
        for look in (app.job, app.resume, app.picture, lambda job_id: app.signal(job_id, Signal.CANCEL)):
            with pytest.raises(NotFound):
                look("x" * 1000)


def test_a_killed_server_loses_nothing_and_its_running_job_ends_with_the_same_pictures(
    settings: Settings, tmp_path: Path
) -> None:
    values = {"seed": 3, "batch_count": 3, "num_inference_steps": 80}
    code = f"""
        from pathlib import Path
        from tests.jobs.test_app import serving
        from webui.settings import Settings
        settings = Settings(**{{name: Path({str(tmp_path)!r}) / name.removesuffix("_dir")
                              for name in ("data_dir", "outputs_dir", "models_dir")}})
        with serving(settings, step_seconds=0.01) as app:
            print(app.submit("txt2img", {values!r}).id, app.submit("txt2img", {{"seed": 9}}).id, flush=True)
            watch = app.hub.subscribe()
            while (frame := watch.get()) is not None:
                if frame["kind"] == "image":
                    print("image", flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as server:
        assert server.stdout is not None
        running, queued = server.stdout.readline().split()
        assert server.stdout.readline() == "image\n"
        server.send_signal(signal.SIGKILL)
    with serving(settings) as app:
        job, other = wait_for(app, running), wait_for(app, queued)
        assert job["attempts"] == 2
        assert other["request"]["seed"] == 9
        same = wait_for(app, app.submit("txt2img", values).id)
        assert _contents(app, job) == _contents(app, same)
        assert [picture["number"] for picture in job["pictures"]] == [0, 1, 2]
    assert len(list((tmp_path / "outputs").rglob("*"))) == 1 + 3 + 1 + 3, "one file per picture and nothing else"


def _contents(app: App, job: dict[str, Any]) -> list[bytes]:
    return [app.picture_content(app.picture(picture["id"])) for picture in job["pictures"]]
