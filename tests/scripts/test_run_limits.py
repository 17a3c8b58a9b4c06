"""Runs at their limits: prompts with drawn words, too many cells, full disks, scripts that fail before they begin."""

from typing import Any

import pytest

from tests.farm import wait_until
from tests.scripts.conftest import Serve, wait_for
from tests.scripts.test_runs import asked, is_at_work
from webui.errors import CannotSaveInput, CannotStore, InvalidRequest
from webui.scripts import runs
from webui.scripts.runs import Asked


def test_each_cell_of_a_prompt_with_choices_draws_its_own_words(serving: Serve) -> None:
    with serving() as app:
        options = {"x_axis": "seed", "x_values": "1-8"}
        run = wait_for(app, app.runs.submit(asked(options=options, prompt="a {red|green|blue} cat")).id)
        assert (run["state"], run["failed"]) == ("done", 0)
        assert "wordings" not in run["request"]
        said = {cell["pictures"][0]["wording"]["prompt"] for cell in run["cells"]}
        assert 1 < len(said) <= 3, "the words follow each cell's seed"
        assert app.runs.plan(asked(options=options, prompt="a {red|green} cat"))["cells"] == 8


def too_many() -> list[Asked]:
    lines = asked("prompts_from_file", {"text": "a\n" * 20_000})
    plot = {"x_axis": "seed", "x_values": "1-200", "y_axis": "num_inference_steps", "y_values": "1-100"}
    return [lines, asked(options=plot)]


def test_a_run_of_too_many_cells_is_refused_before_one_is_built(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(start=False) as app:
        for wrong in too_many():
            with pytest.raises(InvalidRequest, match="10,000 are possible"):
                app.runs.plan(wrong)
            with pytest.raises(InvalidRequest, match="10,000 are possible"):
                app.runs.submit(wrong)
        script = app.runs._parts.scripts.find("loopback").script
        monkeypatch.setattr(script, "count", lambda *_: 10_001)
        monkeypatch.setattr(script, "kinds", ("txt2img",))
        monkeypatch.setattr(script, "following", lambda *_: [])
        with pytest.raises(InvalidRequest, match="10,000 are possible"):
            app.runs.submit(asked("loopback", {}))
        assert app.runs.listed() == []


def test_a_run_that_grows_beyond_the_limit_has_failed_and_says_so(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as app:
        script = app.runs._parts.scripts.find("xyz_plot").script
        following = script.following

        def more(self: Any, request: Any, finished: Any) -> Any:
            return [*following(self, request, ())] * 5001 if finished else following(self, request, ())

        monkeypatch.setattr(script, "following", more)
        run = wait_for(app, app.runs.submit(asked()).id)
        assert run["state"] == "failed"
        assert "10,000 are possible" in run["error"]["text"]


def test_a_run_goes_on_when_the_full_disk_has_room_again(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SECONDS_BETWEEN_ATTEMPTS", 0.05)
    with serving() as app:
        conductor, refused = (
            app.runs._conductor,
            [CannotStore("jobs.db", "full"), CannotSaveInput("inputs", OSError(28, "full"))],
        )
        queue, compose = conductor._queue, conductor._compose

        def full_first(done: Any) -> Any:
            def step(*given: Any) -> Any:
                if refused:
                    raise refused.pop()
                return done(*given)

            return step

        monkeypatch.setattr(conductor, "_queue", full_first(queue))
        run_id = app.runs.submit(asked()).id
        assert wait_for(app, run_id)["state"] == "done"
        refused[:] = [CannotSaveInput("inputs", OSError(28, "full"))]
        monkeypatch.setattr(conductor, "_compose", full_first(compose))
        monkeypatch.setattr(conductor, "_queue", queue)
        assert wait_for(app, app.runs.submit(asked()).id)["state"] == "done"
        assert refused == []


def test_a_run_that_is_resumed_while_it_is_still_pausing_loses_no_cell(serving: Serve) -> None:
    with serving(step_seconds=0.2) as app:
        run_id = app.runs.submit(asked()).id
        wait_until(lambda: is_at_work(app, run_id), "the run to begin")
        app.runs.pause(run_id)
        app.runs.resume(run_id)
        assert wait_for(app, run_id)["state"] == "done"


def test_a_run_whose_job_a_killed_server_left_paused_goes_on(serving: Serve) -> None:
    with serving(start=False) as app:
        run_id = app.runs.submit(asked()).id
        app.runs.pause(run_id)
        with app.store.write() as sql:
            sql.execute("UPDATE runs SET state = 'running'")
    with serving() as app:
        assert wait_for(app, run_id)["state"] == "done"
