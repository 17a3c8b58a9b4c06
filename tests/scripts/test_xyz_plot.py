"""The X/Y/Z plot on its own: the language of values, axes from declarations, order, seeds, grids."""

from pathlib import Path
from typing import Any

import pytest

from tests.scripts.conftest import Asking
from webui.errors import InvalidRequest, UnknownName
from webui.params import parameters
from webui.requests import REQUESTS

Make = Any


@pytest.fixture
def plot(tmp_path: Path) -> Make:
    def make(**options: Any) -> Asking:
        return Asking("xyz_plot", tmp_path, **options)

    return make


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("20, 30", [20, 30]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("1-5 (+2)", [1, 3, 5]),
        ("10-5 (-3)", [10, 7]),
        ("10-7", [10, 9, 8, 7]),
        ("1-10 [5]", [1, 3, 5, 7, 10]),
        ("3, 7-9, 1 - 3", [3, 7, 8, 9, 1, 2, 3]),
        ("4\n5,,6", [4, 5, 6]),
    ],
)
def test_whole_numbers_are_lists_ranges_and_counts(plot: Make, text: str, numbers: list[int]) -> None:
    made = plot(x_axis="num_inference_steps", x_values=text).requests()
    assert [request.num_inference_steps for request in made] == numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-1 (+0.5)", [0, 0.5, 1]),
        ("0-1 [3]", [0, 0.5, 1]),
        ("0-1 (+0.3)", [0, 0.3, 0.6, 0.9]),
        ("0.25, .5", [0.25, 0.5]),
        ("1-0 (-0.5)", [1, 0.5, 0]),
    ],
)
def test_decimals_are_lists_ranges_and_counts(plot: Make, text: str, numbers: list[float]) -> None:
    made = plot(x_axis="eta", x_values=text).requests()
    assert [request.eta for request in made] == numbers


@pytest.mark.parametrize(
    ("axis", "text", "says"),
    [
        ("num_inference_steps", "many", "'many' is not a whole number"),
        ("num_inference_steps", "1-5 (-1)", "never left"),
        ("seed", "0-100000", "too many"),
        ("eta", "0-1 (+0)", "never left"),
        ("hires", "perhaps", "neither true nor false"),
        ("size", "512", "512x768"),
        ("size", "100x64", "multiple of 8"),
        ("schedule", "Karras, Karass", "Exponential"),
        ("prompt_sr", "dog, cat", "stands in neither prompt"),
        ("prompt_order", "cat, dog", "do not overlap"),
        ("styles", "sepia", "Unknown style"),
        ("nothing like it", "1", "guidance_scale"),
    ],
)
def test_wrong_values_are_refused_with_what_is_possible(plot: Make, axis: str, text: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        plot(x_axis=axis, x_values=text).requests()


@pytest.mark.parametrize("kind", ["txt2img", "img2img", "inpaint"])
def test_every_field_and_every_option_is_an_axis(plot: Make, kind: str) -> None:
    named = plot().script.choices(kind)["x_axis"]
    fields = {name for name in parameters(REQUESTS[kind]) if name not in ("image", "mask", "extensions", "branch_from")}
    assert fields | {"film.amount", "prompt_sr", "prompt_order", "styles", "size"} == named.keys() - {""}
    assert named["num_inference_steps"] == "Sampling steps"


def test_an_option_of_an_extension_is_set_beside_its_others(plot: Make) -> None:
    made = plot(x_axis="film.amount", x_values="0.5, 1").requests(extensions={"other": {"on": True}})
    assert [request.extensions for request in made] == [
        {"other": {"on": True}, "film": {"amount": 0.5}}, {"other": {"on": True}, "film": {"amount": 1.0}},
    ]  # fmt: skip


def test_names_are_taken_in_any_case_and_by_the_names_of_automatic1111(plot: Make) -> None:
    made = plot(x_axis="Sampler", x_values="euler a, DPM++ 2M Karras", y_axis="CFG Scale", y_values="5").requests()
    assert [(request.sampler, request.schedule, request.guidance_scale) for request in made] == [
        ("Euler a", "Automatic", 5.0), ("DPM++ 2M", "Karras", 5.0),
    ]  # fmt: skip
    made = plot(x_axis="Denoising", x_values="0.2").requests(hires=True)
    assert made[0].hires_strength == 0.2


def test_searched_words_are_replaced_in_both_prompts_and_quotes_keep_commas(plot: Make) -> None:
    made = plot(x_axis="prompt_sr", x_values='cat, "dog, big"').requests(prompt="a cat", negative_prompt="no cat")
    assert [(request.prompt, request.negative_prompt) for request in made] == [
        ("a cat", "no cat"), ("a dog, big", "no dog, big"),
    ]  # fmt: skip


def test_parts_of_a_prompt_are_put_in_every_order(plot: Make) -> None:
    made = plot(x_axis="prompt_order", x_values="cat, dog").requests(prompt="a dog and a cat here")
    assert [request.prompt for request in made] == ["a cat and a dog here", "a dog and a cat here"]


def test_sizes_are_an_axis(plot: Make) -> None:
    made = plot(x_axis="size", x_values="64x128, 128x64").requests()
    assert [(request.width, request.height) for request in made] == [(64, 128), (128, 64)]


def test_the_checkpoint_changes_least_often_whichever_axis_it_is_on(plot: Make) -> None:
    asking = plot(x_axis="checkpoint", x_values="one, two", y_axis="guidance_scale", y_values="1, 2, 3")
    assert [request.checkpoint for request in asking.requests()] == ["one"] * 3 + ["two"] * 3
    request = asking.requests()[0]
    assert [cell.place for cell in asking.script.following(request, ())] == [0, 2, 4, 1, 3, 5]
    assert asking.script.columns(request) == 2


def test_the_refiner_and_the_vae_are_expensive_as_well(plot: Make) -> None:
    made = plot(x_axis="vae", x_values="soft, None", y_axis="refiner", y_values="one, two").requests()
    assert [(request.refiner, request.vae) for request in made] == [
        ("one", "soft"), ("one", ""), ("two", "soft"), ("two", ""),
    ]  # fmt: skip


def test_all_pictures_have_one_seed_unless_another_is_asked_for(plot: Make) -> None:
    axes = {"x_axis": "num_inference_steps", "x_values": "2, 3", "y_axis": "eta", "y_values": "0, 1"}
    seeds = [[request.seed for request in plot(**axes, **more).requests()] for more in (
        {}, {"vary_seeds_x": True}, {"vary_seeds_y": True}, {"vary_seeds_x": True, "vary_seeds_y": True},
        {"keep_open_seeds": True, "open_seed": True}, {"keep_open_seeds": True},
    )]  # fmt: skip
    assert seeds == [
        [7] * 4, [7, 8, 7, 8], [7, 7, 8, 8], [7, 8, 9, 10], [-1] * 4, [7] * 4,
    ]  # fmt: skip


def test_an_open_seed_on_an_axis_is_one_number_for_its_column(plot: Make) -> None:
    axes = {"x_axis": "seed", "x_values": "-1, 5, -1", "y_axis": "eta", "y_values": "0, 1"}
    made = [request.seed for request in plot(**axes).requests()]
    assert made[:3] == made[3:]
    assert made[1] == 5
    assert len({*made}) == 3
    assert min(made) >= 0


def test_a_grid_too_large_to_be_opened_is_refused(plot: Make) -> None:
    with pytest.raises(InvalidRequest, match="200 million pixels"):
        plot(x_axis="seed", x_values="0-199").requests(width=1024, height=1024)


def test_two_equal_axes_are_refused(plot: Make) -> None:
    with pytest.raises(InvalidRequest, match="the same"):
        plot(x_axis="seed", x_values="1", y_axis="Seed", y_values="2").requests()


def test_each_picture_stands_at_its_place_in_the_grid(plot: Make) -> None:
    options = {"x_axis": "checkpoint", "x_values": "one, two", "y_axis": "eta", "y_values": "0, 1, 0.5"}
    (composed,) = plot(**options, draw_legend=False, margin=4).composed()
    assert composed.image.size == (2 * 64 + 4, 3 * 64 + 2 * 4)
    # A cell's colour is its number in the order in which it was made: column by column here.
    colours = [[composed.image.getpixel((x * 68 + 30, y * 68 + 30))[0] for x in range(2)] for y in range(3)]
    assert colours == [[0, 3], [1, 4], [2, 5]]
    assert composed.told == {
        "X Type": "Checkpoint", "X Values": "one, two", "Y Type": "Eta", "Y Values": "0, 1, 0.5",
    }  # fmt: skip


def test_z_makes_a_grid_for_each_value_and_one_of_all(plot: Make) -> None:
    options = {"x_axis": "eta", "x_values": "0, 1", "z_axis": "num_inference_steps", "z_values": "2, 3"}
    composed = plot(**options, draw_legend=False, include_sub_grids=True).composed()
    assert [made.image.size for made in composed] == [(256, 64), (128, 64), (128, 64)]
    assert [made.told.get("Z Value") for made in composed] == [None, "Sampling steps: 2", "Sampling steps: 3"]
    assert len(plot(**options).composed()) == 1


def test_a_legend_takes_room_beside_the_pictures(plot: Make) -> None:
    options = {"x_axis": "eta", "x_values": "0, 1", "y_axis": "prompt_sr", "y_values": "cat, 고양이"}
    (composed,) = plot(**options).composed()
    assert composed.image.width > 128
    assert composed.image.height > 128
    assert composed.image.getpixel((composed.image.width - 30, composed.image.height - 30)) == (3, 100, 200)


def test_all_values_of_an_axis_can_be_filled_in(plot: Make) -> None:
    assert plot(x_axis="checkpoint").script.fill("x_values", "txt2img") == "one, two"
    filled = plot(y_axis="sampler").script.fill("y_values", "txt2img")
    assert len(plot(x_axis="sampler", x_values=filled).requests()) == 21
    with pytest.raises(InvalidRequest, match="no list of values"):
        plot(z_axis="seed").script.fill("z_values", "txt2img")
    with pytest.raises(UnknownName):
        plot(x_axis="").script.fill("x_values", "txt2img")
