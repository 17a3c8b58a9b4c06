"""What grids may cost: no more pixels than one limit, however many the cells are, and no crash at each start."""

from pathlib import Path

import pytest
from PIL import Image

from tests.scripts.conftest import Asking, Serve, finished, wait_for
from tests.scripts.test_runs import asked
from webui import grids
from webui.errors import InvalidRequest
from webui.grids import Grid, draw_grid
from webui.script import Cell, opened
from webui.upscale_request import Upscale


@pytest.fixture
def few_pixels(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(grids, "MOST_PIXELS", 100_000)
    return 100_000


def test_a_grid_has_no_more_pixels_than_the_limit(few_pixels: int) -> None:
    cells = [Image.new("RGB", (200, 100), (9, 9, 9)), *[Image.new("RGB", (20, 10))] * 59]
    names = ["a very long name of a column that needs room " * 9] * 10
    for grid in (
        Grid(cells=cells, columns=10, margin=500),
        Grid(cells=cells, columns=10, over=names, beside=names[:6]),
    ):
        drawn = draw_grid(grid)
        assert drawn.width * drawn.height <= few_pixels
        assert drawn.width > 10 * 8


def test_pictures_are_made_smaller_one_by_one_as_they_are_opened(few_pixels: int) -> None:
    cell = Cell(request=Upscale(image="a" * 32))
    pictures = opened([finished(cell, number, (100, 50)) for number in range(80)])
    assert sum(picture.width * picture.height for (picture,) in pictures) <= few_pixels
    assert pictures[0][0].width > 40
    few = opened([finished(cell, 1, (100, 50))])
    assert few[0][0].size == (100, 50)


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"x_axis": "seed", "x_values": "1-30"}, {"batch_count": 16, "batch_size": 4, "width": 512, "height": 512}),
        ({"x_axis": "seed", "x_values": "1-100"}, {"hires": True, "hires_scale": 3.0, "width": 512, "height": 512}),
        ({"x_axis": "size", "x_values": "64x64, 2048x2048", "y_axis": "seed", "y_values": "1-50"}, {}),
        ({"x_axis": "width", "x_values": "64, 2048", "y_axis": "seed", "y_values": "1-50"}, {"height": 2048}),
    ],
)
def test_a_plot_is_refused_for_the_pixels_that_its_cells_will_have(
    tmp_path: Path, options: dict[str, str], values: dict[str, int]
) -> None:
    with pytest.raises(InvalidRequest, match="200 million pixels"):
        Asking("xyz_plot", tmp_path, **options).requests(**values)


def test_a_server_that_dies_while_it_composes_does_not_do_so_at_every_start(serving: Serve) -> None:
    with serving() as app:
        run_id = wait_for(app, app.runs.submit(asked()).id)["id"]
        with app.store.write() as sql:  # as two servers leave it that were killed in the middle
            sql.execute("DELETE FROM run_pictures")
            sql.execute("UPDATE runs SET state = 'running', finished = NULL, composing = 2")
    with serving() as app:
        run = wait_for(app, run_id)
        assert (run["state"], run["pictures"]) == ("failed", [])
        assert "Easel ended twice" in run["error"]["text"]


def test_a_server_that_died_once_while_it_composed_tries_again(serving: Serve) -> None:
    with serving() as app:
        run_id = wait_for(app, app.runs.submit(asked()).id)["id"]
        with app.store.write() as sql:
            sql.execute("DELETE FROM run_pictures")
            sql.execute("UPDATE runs SET state = 'running', finished = NULL, composing = 1")
    with serving() as app:
        assert len(wait_for(app, run_id)["pictures"]) == 1


def test_grids_are_saved_as_the_settings_say(serving: Serve) -> None:
    with serving() as app:
        app.options.change(write_metadata=False, picture_format="JPEG", file_pattern="[seed]-mine")
        run = wait_for(app, app.runs.submit(asked(prompt="a secret cat")).id)
        (grid,) = run["pictures"]
        path = app.store.picture(grid["id"]).path
        assert path.endswith("7-mine.jpg")
        content = (app.settings.outputs_dir / path).read_bytes()
        assert content.startswith(b"\xff\xd8")
        assert b"secret" not in content
