"""Runs from the first word to the last picture: what is refused, what survives, what a person can tell a run."""

import io
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.farm import wait_until
from tests.scripts.conftest import SMALL, Serve, wait_for
from webui.app import App
from webui.errors import Conflict, InvalidRequest, NotFound, UnknownName
from webui.events import JobState
from webui.metadata import generation_parameters
from webui.scripts.runs import Asked
from webui.settings import ROOT

STEPS = {"x_axis": "num_inference_steps", "x_values": "2, 3"}


def asked(script: str = "xyz_plot", options: dict[str, Any] = STEPS, **values: Any) -> Asked:
    return Asked(script=script, kind="txt2img", values={**SMALL, **values}, options=options)


def test_a_plot_is_made_cell_by_cell_and_saved_as_a_picture_of_the_gallery(serving: Serve) -> None:
    with serving() as app:
        run = wait_for(app, app.runs.submit(asked(options={**STEPS, "y_axis": "guidance_scale", "y_values": "1-3"})).id)
        assert (run["state"], run["total"], run["over"], run["failed"]) == ("done", 6, 6, 0)
        assert [cell["label"] for cell in run["cells"]][:3] == [
            "Sampling steps: 2, Guidance scale: 1", "Sampling steps: 3, Guidance scale: 1",
            "Sampling steps: 2, Guidance scale: 2",
        ]  # fmt: skip
        assert all(cell["state"] == "done" and len(cell["pictures"]) == 1 for cell in run["cells"])
        (grid,) = run["pictures"]
        told = generation_parameters(grid["parameters"])
        assert (told["Script"], told["X Type"], told["X Values"]) == ("X/Y/Z plot", "Sampling steps", "2, 3")
        with Image.open(io.BytesIO(app.picture_content(app.picture(grid["id"])))) as image:
            assert image.size == (grid["width"], grid["height"])
            assert image.width > 2 * 64
        app.gallery.refresh()
        assert app.gallery.one(grid["id"]).seed == 7


def test_all_cells_have_one_seed_when_it_was_left_open(serving: Serve) -> None:
    with serving() as app:
        run = wait_for(app, app.runs.submit(asked(seed=-1)).id)
        seeds = {cell["pictures"][0]["seed"] for cell in run["cells"]}
        assert seeds == {run["request"]["seed"]}


def test_the_plan_tells_pictures_and_time_before_anything_is_made(serving: Serve) -> None:
    with serving() as app:
        assert app.runs.plan(asked(batch_size=2)) == {"cells": 2, "pictures": 4, "seconds": None}
        wait_for(app, app.runs.submit(asked()).id)
        assert app.runs.plan(asked())["seconds"] > 0
        assert len(app.runs.listed()) == 1


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (asked("nothing"), UnknownName, "xyz_plot"),
        (asked(options={**STEPS, "x_axis": "stepps"}), UnknownName, "num_inference_steps"),
        (asked(options={"x_axis": "sampler", "x_values": "Euler, Oiler"}), UnknownName, "DPM\\+\\+ 2M"),
        (asked(options={"x_axis": "checkpoint", "x_values": "one, three"}), UnknownName, "one, two"),
        (asked(options={"x_axis": "num_inference_steps", "x_values": "2, 999"}), InvalidRequest, "from 1 to 150"),
        (asked(options={"x_axis": "controlnet.unit1_weight", "x_values": "1, 9"}), InvalidRequest, "from 0.0 to 2.0"),
        (asked(options={"x_axis": "seed", "x_values": ""}), InvalidRequest, "needs values"),
        (asked(options={"colour": 1}), UnknownName, "x_axis"),
        (asked("loopback", {}), InvalidRequest, "img2img"),
        (Asked(script="xyz_plot", kind="upscale", values={}, options={}), InvalidRequest, "no kind of picture"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    serving: Serve, wrong: Asked, error: type[Exception], says: str
) -> None:
    with serving(start=False) as app:
        with pytest.raises(error, match=says):
            app.runs.submit(wrong)
        assert app.runs.listed() == []
        assert app.jobs() == []


def test_a_failed_cell_is_told_and_the_rest_goes_on(serving: Serve) -> None:
    options = {"text": "a cat\nrefuse\na dog"}
    with serving() as app:
        run = wait_for(app, app.runs.submit(asked("prompts_from_file", options, prompt="")).id)
        assert [cell["state"] for cell in run["cells"]] == ["done", "failed", "done"]
        assert (run["state"], run["failed"]) == ("done", 1)
        assert "cannot be drawn" in run["cells"][1]["error"]["text"]


def test_a_run_without_any_picture_has_failed_and_says_why(serving: Serve) -> None:
    with serving() as app:
        options = {**STEPS, "x_values": "3, 4"}
        run = wait_for(app, app.runs.submit(asked(options=options, prompt="refuse")).id)
        assert run["state"] == "failed"
        assert "Not one picture was made. This cannot be drawn" in run["error"]["text"]


def test_a_failed_cell_is_an_empty_place_in_the_grid(serving: Serve) -> None:
    options = {"x_axis": "prompt_sr", "x_values": "cat, refuse, dog"}
    with serving() as app:
        run = wait_for(app, app.runs.submit(asked(options=options)).id)
        (grid,) = run["pictures"]
        with Image.open(io.BytesIO(app.picture_content(app.picture(grid["id"])))) as image:
            assert image.width == 3 * 64
            assert image.getpixel((64 + 32, image.height - 10)) == (214, 214, 214)


def is_at_work(app: App, run_id: str) -> bool:
    return any(cell["state"] == "running" for cell in app.runs.one(run_id)["cells"])


def test_a_run_is_paused_resumed_and_cancelled_as_a_whole(serving: Serve) -> None:
    many = asked(options={"x_axis": "seed", "x_values": "1-40"}, num_inference_steps=20)
    with serving() as app:
        run_id = app.runs.submit(many).id
        wait_until(lambda: is_at_work(app, run_id), "the run to begin")
        app.runs.pause(run_id)
        wait_until(lambda: not is_at_work(app, run_id), "nothing to run")
        time.sleep(0.1)
        paused = app.runs.one(run_id)
        assert paused["state"] == "paused"
        assert app.store.count(JobState.QUEUED) == app.store.count(JobState.RUNNING) == 0
        with pytest.raises(Conflict, match="paused"):
            app.runs.pause(run_id)

        app.runs.resume(run_id)
        wait_until(lambda: app.runs.one(run_id)["over"] > paused["over"], "the run to go on")
        app.runs.cancel(run_id)
        wait_until(lambda: app.store.count(JobState.RUNNING) == 0, "everything to stop")
        over = app.runs.one(run_id)
        assert over["state"] == "cancelled"
        assert app.store.count(JobState.QUEUED) == 0
        assert any(cell["state"] == "waiting" for cell in over["cells"]), "cells that never stood in the queue"
        with pytest.raises(Conflict, match="cancelled"):
            app.runs.resume(run_id)


def test_others_are_not_kept_waiting_for_a_whole_run(serving: Serve) -> None:
    with serving() as app:
        app.runs.submit(asked(options={"x_axis": "seed", "x_values": "1-200"}))
        job = app.submit("txt2img", {**SMALL}).id
        wait_until(lambda: app.job(job)["state"] == JobState.DONE, "the other job to be done")
        assert app.runs.listed()[0]["over"] < 20


def test_the_same_key_is_the_same_run(serving: Serve) -> None:
    with serving(start=False) as app:
        assert app.runs.submit(asked(), key="click").id == app.runs.submit(asked(), key="click").id
        assert len(app.runs.listed()) == 1
        with pytest.raises(NotFound):
            app.runs.one("nothing")


def test_a_run_goes_on_after_a_restart(serving: Serve) -> None:
    with serving(start=False) as app:
        run_id = app.runs.submit(asked()).id
        assert app.store.count(JobState.QUEUED) == 2
    with serving() as app:
        run = wait_for(app, run_id)
        assert (run["state"], len(run["pictures"])) == ("done", 1)
        assert len({cell["job"] for cell in run["cells"]}) == 2
        assert len(app.jobs()) == 2


def test_a_run_survives_kill_9_of_the_server(serving: Serve, tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path
        from tests.scripted_engine import ScriptedEngineFactory
        from tests.scripts.test_runs import asked
        from webui.app import create_app
        from webui.settings import Settings
        settings = Settings(**{{name: Path({str(tmp_path)!r}) / name.removesuffix("_dir")
                              for name in ("data_dir", "outputs_dir", "models_dir")}})
        app = create_app(settings, engine_factory=ScriptedEngineFactory(0.01))
        app.start()
        run = app.runs.submit(asked(options={{"x_axis": "seed", "x_values": "1-9"}}, num_inference_steps=8))
        watch = app.hub.subscribe()
        while (frame := watch.get()) is not None:
            if frame["kind"] == "image":
                print(run.id, flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as server:
        assert server.stdout is not None
        run_id = server.stdout.readline().strip()
        server.stdout.readline()
        server.send_signal(signal.SIGKILL)
    with serving() as app:
        run = wait_for(app, run_id)
        assert (run["state"], run["over"], run["failed"], len(run["pictures"])) == ("done", 9, 0, 1)
        assert [cell["pictures"][0]["seed"] for cell in run["cells"]] == [*range(1, 10)]
        assert len(app.jobs()) == 9
        assert len(list((tmp_path / "outputs").rglob("*.png"))) == 10


def test_what_is_composed_twice_after_a_crash_is_there_once(serving: Serve) -> None:
    with serving() as app:
        run_id = wait_for(app, app.runs.submit(asked()).id)["id"]
        with app.store.write() as sql:  # as if the server had been killed between the picture and the last word
            sql.execute("UPDATE runs SET state = 'running', finished = NULL")
    with serving() as app:
        run = wait_for(app, run_id)
        assert (run["state"], len(run["pictures"])) == ("done", 1)


def test_a_script_that_fails_is_told_and_harms_nothing(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as app:
        script = app.runs._parts.scripts.find("xyz_plot").script

        def broken(*arguments: object) -> object:
            raise ZeroDivisionError("a defect")

        monkeypatch.setattr(script, "compose", broken)
        run = wait_for(app, app.runs.submit(asked()).id)
        assert run["state"] == "failed"
        assert "X/Y/Z plot ended with ZeroDivisionError: a defect" in run["error"]["text"]
        assert all(len(cell["pictures"]) == 1 for cell in run["cells"])
