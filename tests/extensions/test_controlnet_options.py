"""What can be asked of ControlNet units, and the control pictures that filters make."""

import numpy as np
import pytest
from PIL import Image

from extensions.controlnet.options import Options, Unit, units
from extensions.controlnet.preprocessors import PREPROCESSORS, pixel_perfect
from webui.errors import InvalidRequest, UnknownName
from webui.params import parameters


def test_every_unit_has_every_value_and_begins_switched_off():
    assert len(parameters(Options)) == 3 * len(parameters(Unit))
    assert units(Options()) == (Unit(), Unit(), Unit())
    assert [unit.weight for unit in units(Options(unit2_weight=1.5))] == [1.0, 1.5, 1.0]


@pytest.mark.parametrize(
    ("values", "error", "told"),
    [
        ({"start": 0.9, "end": 0.1}, InvalidRequest, "unit 2 starts at 0.9 of the steps and ends at 0.1"),
        ({"preprocessor": "openpose"}, UnknownName, "Unknown value 'openpose'. Known: none, canny"),
        ({"control_mode": "mine"}, UnknownName, "Known: Balanced, My prompt is more important"),
        ({"resize_mode": "mine"}, UnknownName, "Known: Just resize, Crop and resize, Resize and fill"),
        ({"passes": "mine"}, UnknownName, "Known: Both, Low res only, High res only"),
    ],
)
def test_impossible_values_are_refused_with_what_is_possible(values, error, told):
    with pytest.raises(error, match=told):
        Options(unit2_enabled=True, **{f"unit2_{name}": value for name, value in values.items()})


@pytest.mark.parametrize("values", [{"unit1_weight": 2.5}, {"unit1_weight": float("nan")}, {"unit4_enabled": True}])
def test_values_out_of_range_and_fourth_units_are_refused(values):
    with pytest.raises((ValueError, TypeError)):
        Options(**values)


@pytest.mark.parametrize(
    ("size", "target", "is_filled", "resolution"),
    [
        ((512, 512), (768, 768), False, 768),
        ((1000, 500), (512, 512), False, 512),  # max(512/1000, 512/500) × 500
        ((1000, 500), (512, 512), True, 256),
        ((300, 400), (640, 480), False, 640),
    ],
)
def test_pixel_perfect_is_the_resolution_that_the_result_needs(size, target, is_filled, resolution):
    assert pixel_perfect(size, target, is_filled=is_filled) == resolution


def test_a_threshold_out_of_range_is_the_preprocessors_own():
    canny = PREPROCESSORS["canny"]
    assert [canny.value(0, asked) for asked in (-1, 0, 50, 300)] == [100, 100, 50, 100]
    assert (canny.value(1, -1), PREPROCESSORS["invert"].value(0, 7)) == (200, 0)


# Filters.


def square(size=256):
    """White with a dark square in the middle."""
    picture = np.full((size, size, 3), 255, np.uint8)
    picture[size // 4 : -size // 4, size // 4 : -size // 4] = (60, 20, 20)
    return picture


def made(name, picture=None, resolution=256, **values):
    from extensions.controlnet.filters import preprocess

    return preprocess(name, square() if picture is None else picture, resolution, **values)


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_every_preprocessor_gives_a_picture_of_bytes_and_the_same_one_again(name):
    first = made(name)
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    assert np.array_equal(first, made(name))


def test_what_is_named_is_what_is_there():
    from extensions.controlnet.filters import FILTERS

    assert set(PREPROCESSORS) - set(FILTERS) == {"none", "inpaint_global_harmonious"}
    assert set(FILTERS) <= set(PREPROCESSORS)


@pytest.mark.parametrize("name", ["canny", "softedge_gradient", "lineart_standard", "scribble_xdog"])
def test_lines_are_white_where_the_picture_changes_and_black_elsewhere(name):
    lines = made(name)[:, :, 0]
    assert lines[60:70, 100:150].max() > 60, "along the square's upper side"
    assert lines[:30].max() == 0
    assert lines[115:140, 115:140].max() < 20


def test_canny_finds_fewer_edges_above_higher_thresholds():
    faint = np.full((256, 256, 3), 200, np.uint8)
    faint[:, 128:] = 180
    assert made("canny", faint, a=10, b=20).any()
    assert not made("canny", faint, a=200, b=255).any()


def test_tones_and_colours_are_what_they_are_called():
    assert np.array_equal(made("invert"), 255 - square())
    assert sorted(np.unique(made("threshold"))) == [0, 255]
    assert made("threshold")[128, 128].tolist() == [0, 0, 0]
    assert made("recolor_intensity")[128, 128].tolist() == [60, 60, 60]
    assert made("recolor_luminance")[0, 0].tolist() == [255, 255, 255]
    assert made("recolor_intensity", a=2.0)[128, 128, 0] == int((60 / 255) ** 2 * 255)
    assert len(np.unique(made("t2ia_color_grid").reshape(-1, 3), axis=0)) <= 16
    assert made("tile_resample", a=4.0).shape == (64, 64, 3)
    edge = made("blur_gaussian")[128, 40:90, 0].astype(int)
    assert (np.diff(edge) <= 0).all()
    assert 100 < edge[24] < 220


def test_shuffling_keeps_the_colours_and_moves_them():
    rows = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 256, axis=1)
    moved = made("shuffle", np.repeat(rows[:, :, None], 3, axis=2))
    assert not np.array_equal(moved[:, :, 0], rows)
    assert abs(int(moved.mean()) - 127) < 60


@pytest.mark.parametrize(
    ("size", "shape"), [((300, 600), (512, 1024)), ((600, 300), (1024, 512)), ((90, 100), (512, 576))]
)
def test_a_preprocessor_sees_the_shorter_side_at_its_resolution(size, shape):
    assert made("invert", np.zeros((*size, 3), np.uint8), 512).shape[:2] == shape


def test_none_leaves_the_picture_as_it_is():
    assert np.array_equal(made("none", square(100), 512), square(100))


# Sizes.


def wide():
    """128 × 64: red, with its left and right quarter green."""
    picture = Image.new("RGB", (128, 64), (255, 0, 0))
    for left in (0, 96):
        picture.paste((0, 255, 0), (left, 0, left + 32, 64))
    return picture


def test_a_control_picture_is_stretched_cut_or_filled():
    from extensions.controlnet.pictures import fitted

    stretched, cut, filled = (
        fitted(wide(), (64, 64), mode) for mode in ("Just resize", "Crop and resize", "Resize and fill")
    )
    assert stretched.size == cut.size == filled.size == (64, 64)
    assert stretched.getpixel((4, 32)) == (0, 255, 0)
    assert cut.getpixel((4, 32)) == (255, 0, 0)
    assert filled.getpixel((4, 32)) == (0, 255, 0)
    assert filled.getpixel((32, 32)) == (255, 0, 0)
    top = filled.getpixel((32, 2))
    assert top in ((0, 255, 0), (255, 0, 0)), "in a colour that the border has"


def test_thin_lines_stay_black_and_white():
    from extensions.controlnet.pictures import fitted

    lines = Image.fromarray(made("canny"))
    for side in (40, 100, 400):
        smaller = np.asarray(fitted(lines, (side, side), "Just resize"))
        assert sorted(np.unique(smaller)) == [0, 255]
        assert smaller[side // 4 - 2 : side // 4 + 3, side // 2].any(), "the upper side of the square"


def test_the_masked_part_is_cut_out_of_the_hint():
    from extensions.controlnet.pictures import hint

    mask = Image.new("L", (128, 64))
    mask.paste(255, (0, 0, 32, 64))
    values = hint(wide(), mask)
    assert values.shape == (3, 64, 128)
    assert (values[:, :, :32] == -1).all()
    assert values[:, 0, 64].tolist() == [1, 0, 0]
