"""Whose fault it is: impossible values are told and held against nobody, a broken script is left out, uploads stay."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.scripts.conftest import SMALL, Asking, Serve
from tests.scripts.test_runs import asked
from webui.errors import ExtensionError, InvalidRequest
from webui.scripts.conductor import keep_picture
from webui.scripts.runs import Asked

IMAGE = "a" * 32
LONG = "9" * 400


@pytest.mark.parametrize(
    "options",
    [
        {"x_axis": "seed", "x_values": f"1-{LONG}"},
        {"x_axis": "guidance_scale", "x_values": f"1-{LONG}"},
        {"x_axis": "guidance_scale", "x_values": f"1-2 (+{LONG})"},
        {"x_axis": "seed", "x_values": LONG},
        {"x_axis": "size", "x_values": f"{'9' * 5000}x64"},
        {"x_axis": "prompt_sr", "x_values": f"cat, {'x' * 15_000}"},
    ],
)
def test_values_that_nobody_can_make_are_never_held_against_the_script(serving: Serve, options: Any) -> None:
    values = {"prompt": "cat" * 10}
    with serving(start=False) as app:
        for _ in range(3):
            with pytest.raises(InvalidRequest):
                app.runs.plan(asked(options=options, **values))
        assert "xyz_plot" in app.extensions.shelf.enabled()


def test_errors_of_values_in_a_script_are_told_as_such(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(start=False) as app:
        script = app.runs._parts.scripts.find("xyz_plot").script

        def overflow(*_: object) -> int:
            raise OverflowError("too large")

        monkeypatch.setattr(script, "count", overflow)
        for _ in range(3):
            with pytest.raises(InvalidRequest, match="too large"):
                app.runs.plan(asked())
        assert "xyz_plot" in app.extensions.shelf.enabled()


def test_a_script_that_raises_is_left_out_of_the_list_and_its_card_says_why(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise KeyError("a defect")

    with serving(start=False) as app:
        script = app.runs._parts.scripts.find("loopback").script
        monkeypatch.setattr(script, "choices", broken)
        names = [told["name"] for told in app.runs.scripts]
        assert "loopback" not in names
        assert "xyz_plot" in names
        assert any("a defect" in str(told) for told in app.extensions._measured["loopback"].failures)
        monkeypatch.setattr(script, "__init__", broken)
        with pytest.raises(ExtensionError, match="a defect"):
            app.runs.plan(Asked(script="loopback", kind="img2img", values=SMALL, options={}))


def upscaled(image: str) -> Asked:
    values = {**SMALL, "image": image}
    return Asked(script="sd_upscale", kind="img2img", values=values, options={"overlap": 16})


def test_a_plan_keeps_no_pictures_and_a_run_keeps_its_own(serving: Serve) -> None:
    with serving(start=False) as app:
        image = keep_picture(app.inputs, Image.linear_gradient("L").convert("RGB").resize((256, 256)))
        folder = app.settings.data_dir / "inputs"
        before = {path.name for path in folder.iterdir()}
        assert app.runs.plan(upscaled(image))["cells"] == 25
        assert {path.name for path in folder.iterdir()} == before
        run = app.runs.submit(upscaled(image))
        assert app.store.count("queued") < 25  # type: ignore[arg-type]
        kept = {path.stem for path in folder.iterdir() if path.suffix == ".png"}
        assert len(kept) > 5
        assert kept <= app.store.named_pictures(), f"the sweep of uploads knows run {run.id}"


def test_a_picture_cut_into_too_many_tiles_is_refused_before_it_is_cut(tmp_path: Path) -> None:
    asking = Asking("sd_upscale", tmp_path, overlap=63)
    asking.pictures[IMAGE] = Image.new("RGB", (256, 256))
    with pytest.raises(InvalidRequest, match="10,000 are possible"):
        asking.requests("img2img", image=IMAGE)
    assert list(asking.pictures) == [IMAGE]
