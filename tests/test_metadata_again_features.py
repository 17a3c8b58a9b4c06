"""Loading one of our own pictures and generating again gives the same pixels for every feature."""

from typing import Any

import numpy as np
import pytest

from tests.test_metadata_again import drawn, pixels
from webui.metadata import read
from webui.metadata.webuis import of_infotext
from webui.requests import PictureRequest, TextToImage, build

pytestmark = pytest.mark.torch

COMMON: dict[str, Any] = {
    "prompt": "a (red:1.2) cat", "width": 64, "height": 72, "num_inference_steps": 3, "seed": 11, "preview": "Off",
    "guidance_scale": 3.3, "sampler": "Euler a", "batch_size": 2,
}  # fmt: skip
FEATURES: dict[str, dict[str, Any]] = {
    "hires": {
        "hires": True, "hires_scale": 1.5, "hires_upscaler": "Latent (bicubic antialiased)", "hires_steps": 2,
        "hires_strength": 0.55, "hires_sampler": "DPM++ 2M", "hires_schedule": "Karras",
        "hires_prompt": "a dog, red: 1", "hires_negative_prompt": "blue", "hires_guidance_scale": 2.5,
    },
    "hires to a size": {"hires": True, "hires_width": 96, "hires_height": 80, "hires_upscaler": "Lanczos"},
    "variation": {"variation_strength": 0.35, "variation_seed": 7},
    "seed resize": {"seed_resize_width": 96, "seed_resize_height": 48},
    "noise of NVIDIA cards": {"noise_source": "NV"},
    "refiner": {"refiner": "tiny", "refiner_switch_at": 0.4},
    "hires checkpoint": {"hires": True, "hires_scale": 1.5, "hires_checkpoint": "tiny"},
    "tiling": {"tiling": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tiny_models_dir: Any) -> Any:
    from tests.engine.helpers import new_engine

    return new_engine(tiny_models_dir)


@pytest.mark.parametrize("feature", FEATURES)
def test_a_picture_comes_back_from_our_json_and_from_its_infotext(engine: Any, feature: str) -> None:
    values = dict(FEATURES[feature])
    for name in ("refiner", "hires_checkpoint"):
        if name in values:
            values[name] = next(iter(engine._library.passports()))
    second = drawn(engine, TextToImage(**COMMON, **values))[1]
    found = read(second)
    assert found.unmapped == ()
    for again in (found.values, of_infotext(found.parameters).values):
        wanted = build(found.kind, {**again, "checkpoint": "", "preview": "Off"})
        assert isinstance(wanted, PictureRequest)
        (made,) = drawn(engine, wanted)
        assert np.array_equal(pixels(made), pixels(second))
