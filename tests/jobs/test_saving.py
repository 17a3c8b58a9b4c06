"""A finished picture as the options want it: format, metadata, name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from webui.events import Image, JobState
from webui.jobs.outputs import Outputs
from webui.jobs.records import JobRecord
from webui.jobs.saving import Saving
from webui.metadata import encode_png, infotext, read
from webui.options import Options
from webui.requests import TextToImage, to_values

REQUEST = TextToImage(prompt="빨간 사과", seed=7, checkpoint="one")
RECORD = JobRecord(
    id="j", number=1, kind="txt2img", values=to_values(REQUEST), state=JobState.RUNNING, position=1, created=1.0,
    started=1.0, finished=None, attempts=1, crashes=0, error=None, text=None, warnings=(), receipt=(), timings=None,
    training=False, result=None,
)  # fmt: skip
PIXELS = Pillow.linear_gradient("L").resize((64, 64)).convert("RGB")


def image(pixels: Pillow.Image = PIXELS) -> Image:
    text = infotext(REQUEST, 0, model_hash="00aa11bb22", version="1")
    png = encode_png(pixels, REQUEST, 0, text)
    return Image(picture=0, seed=7, width=pixels.width, height=pixels.height, png=png, parameters=text)


def saved(folder: Path, **options: Any) -> Path:
    outputs = Outputs(folder / "outputs", folder / "unsaved")
    finished = Saving(lambda: Options(**options)).finished(RECORD, image())
    assert finished.warning is None
    return folder / "outputs" / outputs.save(finished.content, finished.place, lambda path: path)


def test_without_options_it_is_the_png_itself(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert path.read_bytes() == image().png
    assert path.name == "00001-7.png"


@pytest.mark.parametrize(("name", "suffix"), [("JPEG", ".jpg"), ("WebP", ".webp"), ("PNG", ".png")])
def test_the_parameters_are_in_every_format_and_in_none_without_metadata(
    tmp_path: Path, name: str, suffix: str
) -> None:
    path = saved(tmp_path / "with", picture_format=name)
    assert path.suffix == suffix
    with Pillow.open(path) as opened:
        assert opened.format == name.upper()
    assert read(path).values["prompt"] == "빨간 사과"
    bare = saved(tmp_path / "without", picture_format=name, write_metadata=False)
    assert not read(bare).values
    with Pillow.open(bare) as opened:
        assert opened.size == (64, 64)
    assert b"Steps" not in bare.read_bytes()


def test_quality_and_loss_show_in_the_file(tmp_path: Path) -> None:
    small, large = (saved(tmp_path / str(q), picture_format="JPEG", picture_quality=q) for q in (10, 95))
    assert small.stat().st_size < large.stat().st_size
    with Pillow.open(saved(tmp_path, picture_format="WebP", webp_lossless=True)) as opened:
        assert opened.convert("RGB").tobytes() == PIXELS.tobytes()


def test_what_a_format_cannot_hold_is_a_png_and_says_so() -> None:
    wide = image(Pillow.new("RGB", (16_400, 1)))
    finished = Saving(lambda: Options(picture_format="WebP")).finished(RECORD, wide)
    assert finished.content == wide.png
    assert finished.place.suffix == ".png"
    assert "cannot hold it" in str(finished.warning)


def test_folders_and_names_follow_their_patterns(tmp_path: Path) -> None:
    path = saved(tmp_path, folder_pattern="[model_name]/[model_hash]", file_pattern="[prompt]")
    assert path.relative_to(tmp_path / "outputs").as_posix() == "one/00aa11bb22/00001-빨간_사과.png"
    assert saved(tmp_path, folder_pattern="", file_pattern="[none]").name == "00001.png"


def test_names_without_numbers_never_replace_each_other(tmp_path: Path) -> None:
    options = {"number_files": False, "folder_pattern": "x", "file_pattern": "[seed]"}
    assert [saved(tmp_path, **options).name for _ in range(3)] == ["7.png", "7-1.png", "7-2.png"]
    assert saved(tmp_path, **{**options, "file_pattern": "[none]"}).name == "7-3.png"


def test_the_seed_in_a_name_is_not_taken_for_a_number(tmp_path: Path) -> None:
    saved(tmp_path, number_files=False, file_pattern="123456789-[steps]", folder_pattern="")
    assert saved(tmp_path, folder_pattern="").name == "00001-7.png"


def test_the_options_are_those_of_the_moment() -> None:
    now = Options()
    saving = Saving(lambda: now)
    assert saving.finished(RECORD, image()).place.suffix == ".png"
    now = replace(now, picture_format="JPEG")
    assert saving.finished(RECORD, image()).place.suffix == ".jpg"


def test_a_name_tells_the_words_that_were_drawn_for_its_picture() -> None:
    values = {**RECORD.values, "prompt": "a {red|blue} cat", "wordings": {"prompt": ["a red cat", "a blue cat"]}}
    saving = Saving(lambda: Options(file_pattern="[prompt_spaces]", number_files=False))
    names = [
        saving.finished(replace(RECORD, values=values), replace(image(), picture=number)).place.stem
        for number in range(2)
    ]
    assert names == ["a red cat", "a blue cat"]
