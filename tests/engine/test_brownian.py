"""The Brownian path of a seed: the right statistics, and one path however it is asked for."""

from itertools import pairwise

import pytest
import torch

from webui.engine.brownian import BrownianPaths, brownian_path
from webui.engine.seeds import PictureNoise, Seeds

pytestmark = pytest.mark.torch

MANY = (40_000,)


@pytest.mark.parametrize("sigma", [0.0001, 0.0292, 1.0, 7.3, 16.0, 16.1, 4096.0])
def test_the_path_spreads_as_the_square_root_of_the_level(sigma: float) -> None:
    values = brownian_path(5, sigma, MANY)
    assert float(values.mean()) == pytest.approx(0, abs=0.03 * sigma**0.5)
    assert float(values.var()) == pytest.approx(sigma, rel=0.03)


def test_the_path_begins_at_zero_and_has_no_jumps_where_its_spans_meet() -> None:
    assert brownian_path(5, 0.0, MANY).abs().max() == 0
    for border in (1.0, 8.0, 16.0, 32.0):
        around = brownian_path(5, border * (1 + 1e-6), MANY) - brownian_path(5, border * (1 - 1e-6), MANY)
        assert float(around.std()) < 3 * (2e-6 * border) ** 0.5


def test_noise_is_standard_normal_and_independent_where_the_ways_do_not_meet() -> None:
    paths = BrownianPaths([9], MANY)
    levels = [20.0, 14.6146, 9.1, 5.5, 1.7, 0.45, 0.2, 0.08, 0.0292]
    drawn = torch.cat([paths.between(high, low) for high, low in pairwise(levels)])
    torch.testing.assert_close(torch.corrcoef(drawn), torch.eye(len(drawn)), rtol=0, atol=0.03)
    assert drawn.var(dim=1).tolist() == pytest.approx([1] * len(drawn), rel=0.03)
    torch.testing.assert_close((drawn**4).mean(dim=1), torch.full((len(drawn),), 3.0), rtol=0.08, atol=0)


def test_a_way_in_two_parts_is_the_same_way() -> None:
    paths = BrownianPaths([9], (100,))
    whole = paths.between(9.0, 1.0) * 8**0.5
    parts = paths.between(9.0, 4.0) * 5**0.5 + paths.between(4.0, 1.0) * 3**0.5
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-5)


def test_what_was_asked_before_changes_nothing() -> None:
    fresh, used = BrownianPaths([9], (100,)), BrownianPaths([9], (100,))
    for level in range(1, 12):
        used.between(level + 0.5, level)
    assert torch.equal(used.between(3.0, 0.7), fresh.between(3.0, 0.7))


def test_a_picture_has_its_own_path_whatever_the_batch_and_the_draws() -> None:
    shape, cpu = (4, 8, 8), torch.device("cpu")
    together, alone = PictureNoise([Seeds(5), Seeds(6)], shape, cpu), PictureNoise([Seeds(6)], shape, cpu)
    together.draw()
    assert torch.equal(together.between(3.0, 1.0)[1], alone.between(3.0, 1.0)[0])
    assert not torch.equal(together.between(3.0, 1.0)[0], alone.between(3.0, 1.0)[0])
    assert (
        abs(float(torch.corrcoef(torch.stack([alone.draw().flatten(), alone.between(14.0, 9.0).flatten()]))[0, 1]))
        < 0.2
    )
