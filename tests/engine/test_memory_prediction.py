"""What the page says a picture will need is held against what it takes."""

import sys

import pytest

from webui.jobs.memory import need_of
from webui.library import Library
from webui.requests import build, to_values
from webui.settings import ROOT

pytestmark = pytest.mark.torch

FACTOR = 2.0
MODEL = "easel-emoji"


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("side", [256, 512])
def test_the_prediction_is_within_a_factor_of_two_of_the_peak(side: int) -> None:
    from webui.engine.bench_memory import measure_peak

    library = Library(ROOT / "models" / "checkpoints")
    passport = library.find(MODEL)
    peak, weights = measure_peak(ROOT / "models", passport, "cpu", side)
    asked = to_values(build("txt2img", {"checkpoint": MODEL, "width": side, "height": side}))
    need = need_of(asked, library, "cpu")
    assert need is not None
    assert need.weights == pytest.approx(weights, rel=0.05)
    assert need.bytes / FACTOR < peak < need.bytes * FACTOR


def test_a_larger_batch_and_a_second_pass_need_more() -> None:
    library = Library(ROOT / "models" / "checkpoints")

    def need(device: str, **values: object) -> int:
        found = need_of(to_values(build("txt2img", {"checkpoint": MODEL, **values})), library, device)
        assert found is not None
        return found.bytes

    assert need("cpu", width=512, height=512) > need("cpu", width=128, height=128)
    assert need("cpu", width=256, height=256, hires=True) == need("cpu", width=512, height=512)
    assert need("cuda:0") < need("cpu")
    assert need("cuda:0", batch_size=8, width=1024, height=1024) >= need("cuda:0", width=1024, height=1024)
    assert need_of({"checkpoint": "nothing"}, library, "cpu") is None
    assert need_of(to_values(build("upscale", {"image": "0" * 32})), library, "cpu") is None
