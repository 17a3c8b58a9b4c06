"""Prompt matrix and prompts from a file on their own."""

from pathlib import Path
from typing import Any

import pytest

from tests.scripts.conftest import Asking
from webui.errors import InvalidRequest, UnknownName
from webui.prompt.styles import Style


def matrix(folder: Path, text: str, /, **options: Any) -> list[str]:
    asking = Asking("prompt_matrix", folder, **options)
    name = "negative_prompt" if options.get("prompt") == "negative" else "prompt"
    return [getattr(request, name) for request in asking.requests(**{name: text})]


def test_a_matrix_has_every_combination_with_the_first_part(tmp_path: Path) -> None:
    assert matrix(tmp_path, "a city|illustration, | lit") == [
        "a city", "a city, illustration", "a city, lit", "a city, illustration, lit",
    ]  # fmt: skip
    assert matrix(tmp_path, "a city|lit", joined_by="space", at_start=True) == ["a city", "lit a city"]
    assert matrix(tmp_path, "ugly|blurred", prompt="negative") == ["ugly", "ugly, blurred"]
    assert matrix(tmp_path, "a city") == ["a city"]


def test_a_matrix_counts_seeds_up_only_when_asked(tmp_path: Path) -> None:
    for options, seeds in (({}, [7, 7]), ({"different_seeds": True}, [7, 8])):
        made = Asking("prompt_matrix", tmp_path, **options).requests(prompt="a|b", batch_count=3, batch_size=2)
        assert [request.seed for request in made] == seeds
        assert [request.pictures for request in made] == [1, 1]


def test_a_matrix_is_drawn_with_half_of_its_parts_across(tmp_path: Path) -> None:
    asking = Asking("prompt_matrix", tmp_path, margin=2)
    (composed,) = asking.composed(prompt="a|b|c|d")
    assert asking.script.columns(asking.requests(prompt="a|b|c|d")[0]) == 1
    width, height = composed.image.size
    assert width > 4 * 64 + 3 * 2
    assert height > 2 * 64 + 2
    last = composed.image.getpixel((width - 30, height - 30))
    assert last == (7, 100, 200)


def test_too_many_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="1024 pictures"):
        matrix(tmp_path, "|".join("abcdefghijklm"))


def lines(folder: Path, text: str, **options: Any) -> list[Any]:
    return Asking("prompts_from_file", folder, text=text, **options).requests(prompt="")


def test_plain_lines_are_prompts_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    made = lines(tmp_path, "\ufeffa cat\n\n  a dog -- big  \n")
    assert [request.prompt for request in made] == ["a cat", "a dog -- big"]
    assert {request.seed for request in made} == {7}


def test_flags_set_what_the_line_wants(tmp_path: Path) -> None:
    text = (
        '--prompt "a cat" --negative_prompt dull grey --seed 5 --subseed 6 --subseed_strength 0.5 '
        '--seed_resize_from_h 64 --seed_resize_from_w 128 --sampler_name "Euler a" '
        "--steps 30 --cfg_scale 4 --width 128 --height 192 "
        "--batch_size 2 --n_iter 3 --sd_model two --tiling true --restore_faces false --do_not_save_grid false"
    )
    (made,) = lines(tmp_path, text)
    told = {
        "prompt": "a cat", "negative_prompt": "dull grey", "seed": 5, "variation_seed": 6, "variation_strength": 0.5,
        "seed_resize_height": 64, "seed_resize_width": 128, "sampler": "Euler a", "num_inference_steps": 30,
        "guidance_scale": 4.0, "width": 128, "height": 192, "batch_size": 2, "batch_count": 3, "checkpoint": "two",
        "tiling": True,
    }  # fmt: skip
    assert {name: getattr(made, name) for name in told} == told


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('--prompt "a cat', "Line 2: A quote"),
        ("--prompt cat --colour red", "There is no flag --colour. Possible: --prompt"),
        ("--steps many", "needs a number"),
        ("--steps", "has no value"),
        ("--tiling perhaps", "true or false"),
        ("--steps 3 fast", "'fast' stands where a flag should"),
        ("--outpath_samples /etc --prompt cat", "not possible here"),
        ("--restore_faces true", "not possible here"),
        ("--steps 999", "from 1 to 150"),
        ("--sampler_name Oiler", "Unknown sampler"),
        ("--styles none_such", "Unknown style"),
    ],
)
def test_a_line_that_cannot_be_is_refused(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        lines(tmp_path, f"a cat\n{line}")


def test_no_line_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no line"):
        lines(tmp_path, " \n")


def test_seeds_of_lines(tmp_path: Path) -> None:
    for options, seeds in (
        ({"open_seed": True}, [-1, -1]), ({"open_seed": True, "same_seed": True}, [7, 7]),
        ({"open_seed": True, "iterate_seeds": True}, [7, 8]), ({}, [7, 7]),
    ):  # fmt: skip
        assert [request.seed for request in lines(tmp_path, "a\nb", **options)] == seeds


def test_the_forms_prompt_goes_before_or_after_a_lines(tmp_path: Path) -> None:
    for where, prompt in (("start", "a cat in oil"), ("end", "in oil a cat")):
        asking = Asking("prompts_from_file", tmp_path, text="a cat", insert_at=where)
        assert asking.requests(prompt="in oil")[0].prompt == prompt


def test_a_line_can_name_styles_and_what_it_is_called(tmp_path: Path) -> None:
    asking = Asking("prompts_from_file", tmp_path, text='--prompt cat --styles "oil, big" --prompt_for_display Puss')
    for style in (Style("oil", "oil painting of {prompt}"), Style("big", "huge")):
        asking.styles.styles.save(style)
    assert asking.requests(prompt="")[0].prompt == "oil painting of cat, huge"
    assert asking.told(prompt="") == ["Puss"]


def test_unknown_options_of_a_script_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="insert_at"):
        Asking("prompts_from_file", tmp_path, colour="red")
