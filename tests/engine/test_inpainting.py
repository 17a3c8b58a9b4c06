"""Sizes, boxes, masks, fills and overlays of img2img and inpainting."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from webui.engine.inpainting import (
    filled,
    gaussian,
    masked_box,
    overlaid,
    overlay_mask,
    resized,
    untouched,
    widened,
)


def picture(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Noise: every pixel tells where it is from."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """White inside `box`, right and bottom excluded."""
    grey = Image.new("L", size)
    ImageDraw.Draw(grey).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return grey


@pytest.mark.parametrize("mode", ["Just resize", "Crop and resize", "Resize and fill"])
@pytest.mark.parametrize("size", [(64, 48), (32, 32), (80, 24), (8, 200)])
def test_every_mode_gives_the_size_that_was_asked_for(mode: str, size: tuple[int, int]) -> None:
    assert resized(picture(), size, mode).size == size
    assert resized(picture().convert("L"), size, mode).size == size


def test_a_picture_of_one_row_is_filled_too() -> None:
    assert resized(picture((2000, 1)), (64, 64), "Resize and fill").size == (64, 64)


def test_a_picture_of_that_size_is_not_touched() -> None:
    for mode in ("Just resize", "Crop and resize", "Resize and fill"):
        assert resized(picture(), (64, 48), mode).tobytes() == picture().tobytes()


def test_cropping_keeps_the_middle_and_filling_keeps_everything() -> None:
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste("blue", (30, 0, 60, 30))
    wide.paste("lime", (60, 0, 90, 30))
    cropped = resized(wide, (30, 30), "Crop and resize")
    assert cropped.getpixel((15, 15)) == (0, 0, 255)
    assert cropped.getpixel((4, 15)) == (0, 0, 255)
    padded = resized(wide, (90, 90), "Resize and fill")
    for y in (0, 45, 89):
        assert [padded.getpixel((x, y)) for x in (10, 45, 80)] == [(255, 0, 0), (0, 0, 255), (0, 255, 0)]


# The reference's vectors: a picture of 512 x 512, painted from (100, 200) to (228, 232).
PAINTED = mask((512, 512), (100, 200, 228, 232))


@pytest.mark.parametrize(
    "padding, target, box",
    [
        (0, (512, 512), (100, 152, 228, 280)),
        (32, (512, 512), (68, 120, 260, 312)),
        (32, (768, 512), (68, 152, 260, 280)),
    ],
)
def test_the_box_around_the_mask_has_the_shape_of_the_target(
    padding: int, target: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    found = masked_box(PAINTED, padding)
    assert found is not None
    assert widened(found, target, (512, 512)) == box


def test_padding_stays_inside_the_picture_and_a_black_mask_has_no_box() -> None:
    assert masked_box(PAINTED, 32) == (68, 168, 260, 264)
    assert masked_box(mask((64, 64), (0, 0, 8, 64)), 16) == (0, 0, 24, 64)
    assert masked_box(Image.new("L", (64, 64)), 16) is None


def test_a_box_at_the_edge_is_moved_inside_and_one_that_cannot_have_the_shape_is_as_large_as_possible() -> None:
    assert widened((0, 500, 100, 512), (512, 512), (512, 512)) == (0, 412, 100, 512)
    assert widened((0, 0, 100, 12), (512, 512), (512, 512)) == (0, 0, 100, 100)
    assert widened((0, 0, 512, 8), (512, 512), (512, 100)) == (0, 0, 512, 100)


def test_blur_keeps_the_amount_of_white_and_spreads_as_far_as_it_says() -> None:
    soft = np.asarray(gaussian(mask((64, 64), (24, 24, 40, 40)), 4), dtype=float)
    assert abs(soft.sum() / 255 - 256) < 5
    assert soft[32, 32] > 200
    assert soft[32, 24 - 10] >= 1
    assert soft[32, 24 - 11] == 0, "a kernel of 2 * 10 + 1 pixels reaches ten pixels"
    assert gaussian(PAINTED, 0).tobytes() == PAINTED.tobytes()
    assert gaussian(Image.new("L", (9, 9), 255), 3).getextrema() == (255, 255), "the edge is not darkened"


def test_a_fill_has_the_colours_around_it_and_leaves_the_rest_alone() -> None:
    image = Image.new("RGB", (300, 200), (200, 30, 30))
    image.paste((30, 30, 200), (150, 0, 300, 200))
    hole = mask(image.size, (100, 60, 200, 140))
    spoilt = image.copy()
    spoilt.paste((0, 255, 0), (100, 60, 200, 140))
    result = filled(spoilt, hole)
    outside = np.asarray(hole) == 0
    assert np.array_equal(np.asarray(result)[outside], np.asarray(spoilt)[outside])
    left, right = result.getpixel((108, 100)), result.getpixel((192, 100))
    assert left[0] > 150 > left[2] + 50
    assert right[2] > 150 > right[0] + 50
    assert np.asarray(result)[~outside][:, 1].max() < 80, "no green is left"


def test_a_mask_over_everything_leaves_the_picture() -> None:
    assert filled(picture(), Image.new("L", (64, 48), 255)).tobytes() == picture().tobytes()


def test_outside_a_soft_mask_the_original_stays() -> None:
    original, repainted = picture((96, 96)), Image.new("RGB", (96, 96), "white")
    soft = gaussian(mask((96, 96), (30, 30, 60, 60)), 4)
    result = np.asarray(overlaid(original, repainted, overlay_mask(soft)))
    unpainted = np.asarray(soft) == 0
    assert np.array_equal(result[unpainted], np.asarray(original)[unpainted])
    assert (result[45, 45] == 255).all()


def test_what_was_drawn_in_a_box_comes_back_into_the_box() -> None:
    original, repainted = picture((96, 96)), Image.new("RGB", (64, 64), "white")
    soft = gaussian(mask((96, 96), (20, 20, 44, 44)), 4)
    result = np.asarray(overlaid(original, repainted, soft, (20, 20, 44, 44)))
    assert result[32, 32].min() > 200
    outside = np.ones((96, 96), bool)
    outside[20:44, 20:44] = False
    assert np.array_equal(result[outside], np.asarray(original)[outside])


def test_untouched_means_the_very_bytes_outside_what_was_painted() -> None:
    original, painted = picture((96, 96)), mask((96, 96), (30, 30, 60, 60))
    result = untouched(original, Image.new("RGB", (96, 96), "white"), painted)
    outside = np.asarray(painted) == 0
    assert np.array_equal(np.asarray(result)[outside], np.asarray(original)[outside])
    assert (np.asarray(result)[~outside] == 255).all()
