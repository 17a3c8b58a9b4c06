"""Soft inpainting, outpainting, colours and tiling on a real tiny checkpoint."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.helpers import pictures, run
from tests.engine.helpers import request as from_words
from tests.engine.test_image_jobs import drawn, mask, noise, request, same
from webui.engine.colours import coloured_as, from_lab, to_lab
from webui.engine.soft_inpainting import SoftMask
from webui.errors import InvalidRequest
from webui.requests import ImageToImage, Inpaint, build

pytestmark = pytest.mark.torch


def soft(**values: Any) -> ImageToImage:
    return request(soft_inpainting=True, mask_blur=8, **values)


def test_a_soft_mask_is_hard_where_it_is_black_or_white() -> None:
    fields = request()
    assert isinstance(fields, Inpaint)
    kept, made = torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for level, expected in ((0.0, kept), (1.0, made)):
        blended = SoftMask(torch.full((1, 1, 3, 3), level), fields).blended(kept, made, 2.0)
        assert torch.allclose(blended, expected, atol=1e-4)


def test_a_grey_mask_keeps_more_at_high_noise_and_keeps_the_length() -> None:
    fields = request()
    assert isinstance(fields, Inpaint)
    kept, made = torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1)
    kept[0, 0], made[0, 1] = 1, 1
    grey = SoftMask(torch.full((1, 1, 1, 1), 0.5), fields)
    high, low = grey.blended(kept, made, 10.0), grey.blended(kept, made, 0.1)
    assert high[0, 0] > high[0, 1]
    assert low[0, 0] < low[0, 1]
    share = 0.5 ** (1.0 * 0.5)
    expected = ((1 - share) + share) ** 0.25
    assert float(grey.blended(kept, made, 1.0).norm()) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("area", ["Whole picture", "Only masked"])
def test_soft_inpainting_keeps_what_is_far_from_the_mask(engine: Any, area: str) -> None:
    (result,) = drawn(engine, soft(inpaint_area=area, keep_untouched=True))
    outside = np.asarray(mask()) == 0
    assert np.array_equal(np.asarray(result)[outside], np.asarray(noise())[outside])
    assert not same(result, drawn(engine, request(mask_blur=8, inpaint_area=area, keep_untouched=True))[0])


@pytest.mark.parametrize("change", [
    {"soft_schedule_bias": 4.0}, {"soft_preservation": 4.0}, {"soft_contrast": 1.0}, {"soft_mask_influence": 1.0},
    {"soft_difference_threshold": 8.0}, {"soft_difference_contrast": 0.5},
])  # fmt: skip
def test_each_number_of_soft_inpainting_changes_the_picture(engine: Any, change: dict[str, Any]) -> None:
    assert not same(drawn(engine, soft(**change))[0], drawn(engine, soft())[0])


def test_a_picture_grows_where_it_is_asked_to(engine: Any) -> None:
    asked = request(mask="", outpaint_left=16, outpaint_down=8, keep_untouched=True)
    (result,) = drawn(engine, asked)
    assert result.size == (80, 72)
    assert np.array_equal(np.asarray(result)[:64, 16:], np.asarray(noise()))
    stretched = np.pad(np.asarray(noise()), [(0, 8), (16, 0), (0, 0)], mode="edge")
    assert (np.asarray(result)[:, :16] != stretched[:, :16]).mean() > 0.5


def test_a_large_picture_grows_at_its_own_size_when_only_the_mask_is_painted(engine: Any) -> None:
    large = noise((200, 120))
    asked = request(mask="", outpaint_right=24, inpaint_area="Only masked", padding=8, keep_untouched=True)
    (result,) = drawn(engine, asked, large)
    assert result.size == (224, 120)
    assert np.array_equal(np.asarray(result)[:, :200], np.asarray(large))


def test_without_mask_and_without_growing_nothing_is_to_paint() -> None:
    with pytest.raises(InvalidRequest, match="nothing to paint"):
        build("inpaint", {"image": "a" * 32})


def test_lab_goes_there_and_back() -> None:
    pixels = np.asarray(noise()) / 255
    assert np.allclose(from_lab(to_lab(pixels)), pixels, atol=1e-6)
    assert np.allclose(to_lab(np.ones((1, 1, 3))), [255, 128, 128], atol=0.2)


def test_colours_come_from_the_first_picture_and_brightness_from_the_second() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    grey = Image.fromarray(np.repeat(np.tile(ramp, (64, 1))[..., None], 3, axis=2))
    red = Image.fromarray(np.stack([np.tile(ramp, (64, 1)), *[np.zeros((64, 64), np.uint8)] * 2], axis=-1))
    result = np.asarray(coloured_as(grey, red), dtype=float)
    middle = result[:, 20:44]
    assert (middle[..., 0] > middle[..., 1] + 20).mean() > 0.9
    assert np.abs(result @ [0.3, 0.59, 0.11] - np.asarray(grey)[..., 0]).max() < 3


@pytest.mark.parametrize("kind", [ImageToImage, Inpaint])
def test_colour_correction_brings_the_colours_nearer(engine: Any, kind: type[ImageToImage]) -> None:
    first = Image.new("RGB", (64, 64), (20, 60, 200))
    plain, corrected = (drawn(engine, request(kind, color_correction=on), first)[0] for on in (False, True))
    assert not same(plain, corrected)


def test_a_tiling_picture_rolls_with_its_noise(engine: Any) -> None:
    """Circular convolutions know no edge: what differs at an edge of the plain picture does not here."""
    plain, tiling = (run(engine, from_words(tiling=on, sampler="Euler")) for on in (False, True))
    assert pictures(plain) != pictures(tiling)
    assert pictures(run(engine, from_words(sampler="Euler"))) == pictures(plain), "it was undone"

    def jump(png: bytes) -> float:
        pixels = np.asarray(Image.open(io.BytesIO(png)), dtype=float)
        seams = np.abs(pixels[:, 0] - pixels[:, -1]).mean() + np.abs(pixels[0] - pixels[-1]).mean()
        inside = np.abs(np.diff(pixels, axis=1)).mean() + np.abs(np.diff(pixels, axis=0)).mean()
        return float(seams / inside)

    assert jump(pictures(tiling)[0]) < jump(pictures(plain)[0])


def test_tiling_is_undone_when_the_job_is_given_up(engine: Any) -> None:
    from webui.contract import Job

    under_way = engine.run(Job(id="job", request=from_words(tiling=True)), lambda: None)
    for event in under_way:
        if event.kind == "progress" and event.phase == "sampling":
            break
    under_way.close()
    modes = {layer.padding_mode for layer in engine._models.loaded.unet.modules() if isinstance(layer, torch.nn.Conv2d)}
    assert modes == {"zeros"}
