"""Loopback on its own: each picture begins with the one before, at a strength that follows the curve."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.scripts.conftest import SMALL, Asking, finished
from webui.errors import InvalidRequest
from webui.requests import build

IMAGE, MASK = "a" * 32, "b" * 32


def looped(folder: Path, kind: str = "img2img", *, values: dict[str, Any], **options: Any) -> list[Any]:
    """Every request of a whole run."""
    asking = Asking("loopback", folder, **options)
    asking.pictures |= {IMAGE: Image.new("RGB", (96, 96)), MASK: Image.new("RGB", (96, 96))}
    request = build(kind, {**SMALL, "checkpoint": "one", "image": IMAGE, **values})
    over: list[Any] = []
    while following := asking.script.following(request, over):
        over += [finished(cell, len(over) + number) for number, cell in enumerate(following)]
    assert len(over) == asking.script.count(request)
    return [cell.cell.request for cell in over]


@pytest.mark.parametrize(
    ("curve", "strengths"),
    [
        ("Linear", [0.8, 0.6, 0.4, 0.2]),
        ("Aggressive", [0.8, 0.5, 0.280385, 0.2]),
        ("Lazy", [0.8, 0.719615, 0.5, 0.2]),
    ],
)
def test_the_strength_follows_the_curve(tmp_path: Path, curve: str, strengths: list[float]) -> None:
    made = looped(tmp_path, values={"strength": 0.8}, loops=4, final_strength=0.2, curve=curve)
    assert [request.strength for request in made] == pytest.approx(strengths, abs=1e-5)
    assert [request.seed for request in made] == [7, 8, 9, 10]


def test_each_batch_is_a_chain_that_begins_with_the_picture(tmp_path: Path) -> None:
    made = looped(tmp_path, values={"batch_count": 2, "batch_size": 3}, loops=2)
    assert [request.image == IMAGE for request in made] == [True, False, True, False]
    assert {request.pictures for request in made} == {1}
    assert made[1].image != made[3].image


def test_a_single_loop_has_the_forms_strength(tmp_path: Path) -> None:
    assert [request.strength for request in looped(tmp_path, values={"strength": 0.8}, loops=1)] == [0.8]


def test_a_mask_follows_the_picture_and_what_was_painted_is_changed_further(tmp_path: Path) -> None:
    values = {"mask": MASK, "masked_content": "fill"}
    first, second = looped(tmp_path, "inpaint", values=values, loops=2)
    assert (first.mask, first.masked_content) == (MASK, "fill")
    assert second.masked_content == "original"
    assert second.mask != MASK, "pictures are 64 px here and the mask was 96"
    with pytest.raises(InvalidRequest, match="needs a mask"):
        looped(tmp_path, "inpaint", values={"outpaint_left": 64}, loops=2)


def test_a_chain_ends_where_a_picture_is_missing(tmp_path: Path) -> None:
    asking = Asking("loopback", tmp_path, loops=3)
    request = build("img2img", {**SMALL, "image": IMAGE})
    (cell,) = asking.script.following(request, ())
    failed = finished(cell, 0)
    assert asking.script.following(request, [type(failed)(cell=cell, pictures=())]) == ()
