"""SD upscale on its own: what is enlarged, which tiles are painted, and that they become one picture again."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from tests.scripts.conftest import SMALL, Asking
from webui.errors import InvalidRequest
from webui.requests import build
from webui.script import Finished, Made

IMAGE = "a" * 32


def gradient(width: int, height: int) -> Image.Image:
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, Image.new("L", (width, height), 90)))


def asking(folder: Path, size: tuple[int, int], **options: Any) -> Asking:
    made = Asking("sd_upscale", folder, **options)
    made.pictures[IMAGE] = gradient(*size)
    return made


def request(**values: Any) -> Any:
    return build("img2img", {**SMALL, "checkpoint": "one", "image": IMAGE, **values})


def untouched(asked: Asking, cell: Any) -> Finished:
    """A tile that comes back as it went in."""
    picture = asked.pictures[cell.request.image]
    return Finished(cell=cell, pictures=(Made(seed=7, width=64, height=64, open=lambda: picture),))


def test_tiles_that_come_back_as_they_are_make_the_picture_again(tmp_path: Path) -> None:
    asked = asking(tmp_path, (150, 100), overlap=16)
    cells = asked.script.following(request(), ())
    assert len(cells) == asked.script.count(request()) == 3 * 2
    assert asked.script.columns(request()) == 3
    assert {asked.pictures[cell.request.image].size for cell in cells} == {(64, 64)}
    over = [untouched(asked, cell) for cell in cells]
    assert asked.script.following(request(), over) == ()
    (made,) = asked.script.compose(request(), over)
    difference = ImageChops.difference(made.image, gradient(150, 100))
    assert max(most for _, most in difference.getextrema()) <= 1


def test_a_missing_tile_stays_as_it_was_and_is_told(tmp_path: Path) -> None:
    asked = asking(tmp_path, (150, 100), overlap=16)
    over = [untouched(asked, cell) for cell in asked.script.following(request(), ())]
    over[2] = Finished(cell=over[2].cell, pictures=())
    (made,) = asked.script.compose(request(), over)
    assert made.told["SD upscale tiles left as they were"] == "1"


def test_the_picture_is_enlarged_before_it_is_cut(tmp_path: Path) -> None:
    asked = asking(tmp_path, (64, 64), upscaler="Lanczos", scale=2.0, overlap=0)
    (first,) = asked.script.following(request(batch_count=2), ())
    assert (first.request.kind, first.request.upscaler, first.request.scale) == ("upscale", "Lanczos", 2.0)
    assert asked.script.count(request(batch_count=2)) == 1 + 2 * 4
    large = gradient(128, 128)
    over = [Finished(cell=first, pictures=(Made(seed=0, width=128, height=128, open=lambda: large),))]
    cells = asked.script.following(request(batch_count=2), over)
    assert [cell.request.seed for cell in cells] == [7] * 4 + [8] * 4
    over += [untouched(asked, cell) for cell in cells]
    made = list(asked.script.compose(request(batch_count=2), over))
    assert [each.image.size for each in made] == [(128, 128)] * 2
    assert made[0].image.tobytes() == large.tobytes()


def test_a_picture_that_was_not_enlarged_ends_the_run(tmp_path: Path) -> None:
    asked = asking(tmp_path, (64, 64), upscaler="Lanczos", scale=2.0, overlap=0)
    (first,) = asked.script.following(request(), ())
    assert asked.script.following(request(), [Finished(cell=first, pictures=())]) == ()


@pytest.mark.parametrize(
    ("size", "options", "says"),
    [((60, 60), {}, "larger than the picture"), ((200, 200), {"overlap": 64}, "cannot overlap by 64")],
)
def test_tiles_that_do_not_fit_are_refused(
    tmp_path: Path, size: tuple[int, int], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        asking(tmp_path, size, **{"overlap": 16, **options}).script.following(request(), ())
