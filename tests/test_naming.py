"""Names from patterns: AUTOMATIC1111's tokens, and nothing that leads out of the folder."""

import datetime
from pathlib import PurePosixPath
from typing import Any

import pytest

from webui.errors import UnknownName
from webui.naming import LONGEST_NAME, Named, check_pattern, file_name, folder_name

MADE = datetime.datetime(2026, 11, 21, 17, 5, 9, tzinfo=datetime.UTC)
VALUES = {
    "prompt": "a red apple, (shiny:1.2) on a table; ultra detailed, best quality", "negative_prompt": "blurry",
    "num_inference_steps": 20, "guidance_scale": 7.5, "sampler": "DPM++ 2M", "schedule": "Karras", "seed": 40,
    "checkpoint": "pixel-art", "clip_skip": 2, "batch_count": 1, "batch_size": 1, "vae": "",
}  # fmt: skip


def picture(number: int = 0, **values: Any) -> Named:
    return Named(
        values={**VALUES, **values}, number=number, seed=40 + number, width=128, height=96,
        model_hash="0123abcd", made=MADE, content=b"pixels",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("[seed]", "40"),
        ("[seed]-[steps]-[cfg]", "40-20-7.5"),
        ("[width]x[height]", "128x96"),
        ("[sampler] [scheduler]", "DPM++ 2M Karras"),
        ("[sampler_scheduler]", "DPM++ 2M Karras"),
        ("[model_name]_[model_hash]_[clip_skip]", "pixel-art_0123abcd_2"),
        ("[date]", "2026-11-21"),
        ("[datetime]", "20261121170509"),
        ("[datetime<%H.%M><Asia/Seoul>]", "02.05"),
        ("[datetime<%H.%M><No/Where>]", "17.05"),
        ("[prompt_words]", "a red apple shiny 1 2 on a"),
        ("[hasprompt<apple|none><cat|no-cat>]", "appleno-cat"),
        ("[prompt_hash<4>]", "eab3"),
        ("[image_hash]", "6ec9c2b0"),
        ("[none]", ""),
        ("x [vae_filename]", ""),
        ("[seed]-b[batch_number]", "40"),
        ("[seed] of [seed_last]", "40"),
        ("plain.v1", "plain.v1"),
    ],
)
def test_tokens_say_what_they_say_in_automatic1111(pattern: str, name: str) -> None:
    assert file_name(pattern, picture()) == name


def test_numbers_of_a_batch_appear_where_they_mean_something() -> None:
    third = picture(2, batch_count=2, batch_size=2)
    assert file_name("[seed]-b[batch_number]-g[generation_number]-[seed_last]", third) == "42-b1-g3-43"


@pytest.mark.parametrize(
    "prompt",
    [
        "../../etc/passwd",
        "..",
        "/root/x",
        "C:\\Windows\\x",
        "~/x",
        ".hidden",
        "a\x00b",
        "a\nb",
        "nul",
        "x\udc80",
        "…" * 400,
    ],
)
def test_no_prompt_leads_out_of_its_folder(prompt: str) -> None:
    for pattern in ("[prompt_spaces]", "[prompt]", "[prompt]/[prompt_spaces]"):
        made = folder_name(pattern, picture(prompt=prompt))
        assert not PurePosixPath(made).is_absolute()
        for part in made.split("/"):
            assert part not in (".", "..") and not part.startswith((".", "~/"))
            assert len(part.encode()) <= LONGEST_NAME + 1
            assert not set(part) & set('<>:"\\|?*\0\n')
        assert "/" not in file_name(pattern, picture(prompt=prompt))


@pytest.mark.parametrize("pattern", ["../x", "/x", "x/../../y", "./.ssh", "\\\\host\\x", "C:/x"])
def test_no_pattern_leads_out_of_the_folder(pattern: str) -> None:
    parts = folder_name(pattern, picture()).split("/")
    assert all(part and not part.startswith(".") for part in parts)


@pytest.mark.parametrize("name", ["CON", "nul", "LPT1", "com9.txt"])
def test_names_of_devices_are_changed(name: str) -> None:
    assert file_name(name, picture()) == f"_{name}"


def test_slashes_of_a_folder_pattern_make_folders() -> None:
    assert folder_name("[date]/[model_name]", picture()) == "2026-11-21/pixel-art"
    assert folder_name("", picture()) == ""
    assert folder_name("[model_name]", picture(checkpoint="sub/model")) == "sub_model"


def test_an_unknown_token_is_refused_with_the_known_ones() -> None:
    assert check_pattern("[seed] [not a token] [1]") == "[seed] [not a token] [1]"
    with pytest.raises(UnknownName, match=r"'sed'.*seed, seed_first"):
        check_pattern("[date]-[sed]")
