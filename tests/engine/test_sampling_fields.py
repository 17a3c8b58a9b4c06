"""Every sampling field of a request reaches the picture through the whole engine."""

import io

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from tests.engine.helpers import pictures, request, run
from webui.contract import Engine
from webui.engine.beginning import Beginning
from webui.engine.samplers.step import GuidedDenoise
from webui.errors import InvalidRequest
from webui.requests import build

pytestmark = pytest.mark.torch


def pixels(engine: Engine, **values: object) -> np.ndarray:
    """Without the texts, which name every field."""
    return np.asarray(Picture.open(io.BytesIO(pictures(run(engine, request(**values)))[0])))


@pytest.mark.parametrize(
    ("sampler", "usual", "other"),
    [
        ("Euler a", {}, {"eta": 0.5}),
        ("DDIM", {}, {"ddim_eta": 0.5}),
        ("Euler a", {}, {"s_noise": 0.8}),
        ("Euler", {}, {"s_churn": 4.0}),
        ("Euler", {"s_churn": 4.0}, {"s_churn": 4.0, "s_tmin": 3.0}),
        ("Euler", {"s_churn": 4.0}, {"s_churn": 4.0, "s_tmax": 3.0}),
        ("Euler a", {}, {"eta_noise_seed_delta": 31337}),
        ("Euler a", {}, {"eta_noise_seed_delta": -31337}),
        # The third order needs three steps behind it and as many before it.
        ("UniPC", {"num_inference_steps": 6}, {"num_inference_steps": 6, "unipc_order": 3}),
        ("UniPC", {}, {"unipc_variant": "bh1"}),
        ("DPM++ 2M", {}, {"sigma_min": 0.5}),
        ("DPM++ 2M", {}, {"sigma_max": 5.0}),
        ("DPM++ 2M", {}, {"rho": 3.0}),
        ("Euler", {}, {"discard_next_to_last_sigma": True}),
    ],
)
def test_a_field_changes_the_picture(
    engine: Engine, sampler: str, usual: dict[str, object], other: dict[str, object]
) -> None:
    assert not np.array_equal(pixels(engine, sampler=sampler, **usual), pixels(engine, sampler=sampler, **other))


def test_cfg_pp_is_ddim_without_guidance_and_something_else_with_it(engine: Engine) -> None:
    for guidance_scale, is_same in ((1.0, True), (6.0, False)):
        plain, other = (
            pixels(engine, sampler=name, guidance_scale=guidance_scale, negative_prompt="a dog")
            for name in ("DDIM", "DDIM CFG++")
        )
        assert np.array_equal(plain, other) == is_same


class TwoPictures:
    """Guided 2, unconditional 1, everywhere."""

    is_full_precision = True

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        return self.apart(x, sigma, 1.0)[0]

    def apart(self, x: torch.Tensor, sigma: float, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full_like(x, 2.0), torch.full_like(x, 1.0)

    def to_full_precision(self) -> None: ...


def test_a_mask_holds_both_estimates_of_cfg_pp_to_the_picture() -> None:
    mask = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    guarded = Beginning(torch.full((1, 1, 1, 2), 7.0), mask).guard(TwoPictures())
    assert isinstance(guarded, GuidedDenoise)
    guided, uncond = guarded.apart(torch.zeros(1, 1, 1, 2), 1.0, 1.0)
    assert guided.flatten().tolist() == [7.0, 2.0]
    assert uncond.flatten().tolist() == [7.0, 1.0]


def test_a_highest_level_below_the_lowest_is_refused_at_once() -> None:
    with pytest.raises(InvalidRequest, match=r"highest noise level \(2\) must be above the lowest \(3\)"):
        build("txt2img", {"sigma_min": 3.0, "sigma_max": 2.0})
