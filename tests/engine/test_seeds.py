"""First noise: variations, noise of another size, and the noise of NVIDIA cards."""

import numpy as np
import pytest
import torch

from tests.engine.helpers import pictures, request, run
from webui.contract import Engine
from webui.engine.philox import cuda_normal
from webui.engine.seeds import SOURCES, PictureNoise, Seeds, slerp
from webui.registry import CHOICES
from webui.requests import resolve

pytestmark = pytest.mark.torch

SHAPE, CPU = (4, 8, 8), torch.device("cpu")


def test_the_noise_of_nvidia_cards_is_that_of_torch() -> None:
    """Vectors of the reference: seed 0 in shape (3, 4), and the first four of seeds 1 and 42."""
    expected = [
        [-0.92466, -0.42534, -2.64385, 0.14518], [-0.12087, -0.57973, -0.62285, -0.32839],
        [-1.07454, -0.36314, -1.67105, 2.26550],
    ]  # fmt: skip
    assert cuda_normal(12, 0, 0).reshape(3, 4) == pytest.approx(np.array(expected), abs=1e-5)
    assert cuda_normal(4, 1, 0) == pytest.approx([-0.29628, 2.67645, -0.14085, -0.84410], abs=1e-5)
    assert cuda_normal(4, 42, 0) == pytest.approx([0.19402, 2.16137, -0.17205, 0.84906], abs=1e-5)


def test_a_second_draw_goes_on() -> None:
    source = SOURCES["NV"](0)
    source.draw((6,))
    assert source.draw((2,)).tolist() == pytest.approx([0.18083, -0.55226], abs=1e-5)


def test_every_noise_source_people_can_choose_is_implemented() -> None:
    assert list(SOURCES) == list(CHOICES["noise_source"])


@pytest.mark.parametrize("source", SOURCES)
def test_saved_noise_goes_on_where_it_was_whatever_its_source(source: str) -> None:
    noise = PictureNoise([Seeds(5), Seeds(6, 3, 0.5)], SHAPE, CPU, source)
    noise.first()
    saved, expected = noise.save(), noise.draw()
    other = PictureNoise([Seeds(0), Seeds(0)], SHAPE, CPU, source)
    other.restore(saved)
    assert torch.equal(other.draw(), expected)


@pytest.mark.parametrize("seeds", [Seeds(6, 3, 0.5), Seeds(6, area=(4, 12)), Seeds(6, 3, 0.2, (16, 6))])
def test_first_noise_belongs_to_the_picture(seeds: Seeds) -> None:
    together = PictureNoise([Seeds(5), seeds], SHAPE, CPU)
    alone = PictureNoise([seeds], SHAPE, CPU)
    assert torch.equal(together.first()[1:], alone.first())
    assert torch.equal(together.draw()[1:], alone.draw())


def test_a_variation_lies_between_the_two_noises() -> None:
    low, high = (PictureNoise([Seeds(seed)], SHAPE, CPU).first()[0] for seed in (1, 2))
    varied = PictureNoise([Seeds(1, 2, 0.4)], SHAPE, CPU).first()[0]
    assert torch.equal(varied, slerp(low, high, 0.4))
    assert torch.allclose(PictureNoise([Seeds(1, 2, 1.0)], SHAPE, CPU).first()[0], high, atol=1e-5)
    assert torch.allclose(slerp(low, high, 1e-9), low, atol=1e-5)
    assert abs(float(slerp(low, high, 0.5).std()) - 1) < 0.15, "the noise keeps its strength"
    assert torch.allclose(slerp(low, low, 0.3), low)


@pytest.mark.parametrize(("area", "rows", "columns"), [
    ((4, 6), slice(2, 6), slice(1, 7)), ((16, 16), slice(0, 8), slice(0, 8)), ((4, 12), slice(2, 6), slice(0, 8)),
])  # fmt: skip
def test_noise_of_another_size_lies_in_the_middle(area: tuple[int, int], rows: slice, columns: slice) -> None:
    own = PictureNoise([Seeds(3)], SHAPE, CPU).first()[0]
    small = PictureNoise([Seeds(3)], (4, *area), CPU).first()[0]
    made = PictureNoise([Seeds(3, area=area)], SHAPE, CPU).first()[0]
    top, left = max(0, (area[0] - 8) // 2), max(0, (area[1] - 8) // 2)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    assert torch.equal(made[:, rows, columns], small[:, top : top + height, left : left + width])
    outside = torch.ones_like(own, dtype=torch.bool)
    outside[:, rows, columns] = False
    assert torch.equal(made[outside], own[outside])


def test_a_variation_counts_its_own_seed_up_and_keeps_the_pictures() -> None:
    wanted = request(variation_strength=0.5, variation_seed=7, batch_size=2, batch_count=2, seed=100)
    assert [wanted.seed_of(picture) for picture in range(4)] == [100] * 4
    assert [wanted.variation_seed_of(picture) for picture in range(4)] == [7, 8, 9, 10]
    plain = request(batch_size=2, batch_count=2, seed=100)
    assert [plain.seed_of(picture) for picture in range(4)] == [100, 101, 102, 103]
    assert resolve(request(variation_strength=0.5)).variation_seed >= 0
    assert resolve(request()).variation_seed == -1


def test_the_pictures_of_a_batch_are_those_of_their_seeds_alone(engine: Engine) -> None:
    values = {"variation_strength": 0.5, "seed_resize_width": 48, "seed_resize_height": 96, "noise_source": "NV"}
    batch = pictures(run(engine, request(**values, variation_seed=7, batch_size=2, sampler="Euler a")))
    alone = pictures(run(engine, request(**values, variation_seed=8, sampler="Euler a")))
    assert batch[1] == alone[0]
    assert len({batch[0], batch[1], *pictures(run(engine, request(sampler="Euler a"))).values()}) == 3
