"""Runs at their limits: prompts with drawn words, too many cells, full disks, scripts that fail before they begin."""

from tests.scripts.conftest import Serve, wait_for
from tests.scripts.test_runs import asked


def test_each_cell_of_a_prompt_with_choices_draws_its_own_words(serving: Serve) -> None:
    with serving() as app:
        options = {"x_axis": "seed", "x_values": "1-8"}
        run = wait_for(app, app.runs.submit(asked(options=options, prompt="a {red|green|blue} cat")).id)
        assert (run["state"], run["failed"]) == ("done", 0)
        assert "wordings" not in run["request"]
        said = {cell["pictures"][0]["wording"]["prompt"] for cell in run["cells"]}
        assert 1 < len(said) <= 3, "the words follow each cell's seed"
        assert app.runs.plan(asked(options=options, prompt="a {red|green} cat"))["cells"] == 8
