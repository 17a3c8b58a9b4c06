"""Upscalers: a file is known by its weights, tiles leave no seams, sizes come out exactly, jobs can be stopped."""

import io
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from tests.engine.helpers import upscalers_in
from tests.tiny_upscalers import LAYOUTS, build_tiny_compact, build_tiny_rrdb
from webui.contract import Job, Signal
from webui.engine import upscaling
from webui.engine.device import Device
from webui.engine.upscaling import passes
from webui.engine.upscaling.enlarger import Enlarger
from webui.engine.upscaling.files import load_enlarger
from webui.engine.upscaling.job import UpscaleJob
from webui.engine.upscaling.tiles import Tiling, enlarge
from webui.errors import CheckpointError, UnknownName
from webui.events import Cancelled, Done, Event, Paused, Progress
from webui.events import Image as ImageEvent
from webui.upscale_request import Upscale

pytestmark = pytest.mark.torch

CPU = Device(torch_device=torch.device("cpu"), name="CPU", dtype=torch.float32)
PIXELS = torch.rand((1, 3, 13, 18), generator=torch.Generator().manual_seed(5))
ID = "0" * 32


def picture(width: int = 60, height: int = 44) -> Image.Image:
    """Smooth colours with a few sharp edges."""
    across, down = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 4, height))
    waves = np.stack((np.sin(across), np.cos(down), np.sin(across + down)), axis=-1)
    waves[height // 3 : height // 2, width // 4 : width // 2] *= -1
    return Image.fromarray(((waves + 1) * 127.5).astype(np.uint8))


# Which network a file holds.


def test_the_three_layouts_of_esrgan_are_one_network(tmp_path: Path) -> None:
    files = [build_tiny_rrdb(tmp_path / f"{layout}.safetensors", layout=layout) for layout in LAYOUTS]
    enlargers = [load_enlarger(path, CPU) for path in files]
    assert {enlarger.scale for enlarger in enlargers} == {4}
    results = [enlarger(PIXELS) for enlarger in enlargers]
    assert results[0].shape == (1, 3, 52, 72)
    assert all(torch.equal(result, results[0]) for result in results)
    nearest = functional.interpolate(PIXELS, scale_factor=4.0)
    assert (results[0] - nearest).abs().mean() < 0.15, "the colours come through"


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
def test_the_scale_of_the_old_layout_is_in_its_keys(tmp_path: Path, doublings: int) -> None:
    path = build_tiny_rrdb(tmp_path / "x.safetensors", layout="old", doublings=doublings)
    enlarger = load_enlarger(path, CPU)
    assert enlarger.scale == 2**doublings
    assert enlarger(PIXELS).shape[2:] == (13 * 2**doublings, 18 * 2**doublings)


@pytest.mark.parametrize(("unshuffle", "scale"), [(2, 2), (4, 1)])
def test_pixel_unshuffle_makes_smaller_factors_of_any_size(tmp_path: Path, unshuffle: int, scale: int) -> None:
    enlarger = load_enlarger(build_tiny_rrdb(tmp_path / "x.safetensors", unshuffle=unshuffle), CPU)
    assert enlarger.scale == scale
    assert enlarger(PIXELS).shape[2:] == (13 * scale, 18 * scale), "13 divides by neither 2 nor 4"


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_compact_network_adds_to_nearest_neighbours(tmp_path: Path, scale: int) -> None:
    path = build_tiny_compact(tmp_path / "x.safetensors", scale=scale)
    enlarger = load_enlarger(path, CPU)
    assert (enlarger.scale, tuple(enlarger(PIXELS).shape)) == (scale, (1, 3, 13 * scale, 18 * scale))


def test_weights_of_trainers_come_out_of_their_wrapping(tmp_path: Path) -> None:
    path = build_tiny_compact(tmp_path / "x.pth", wrapping="params_ema")
    bare = build_tiny_compact(tmp_path / "y.safetensors").rename(tmp_path / "y.sft")
    assert torch.equal(load_enlarger(path, CPU)(PIXELS), load_enlarger(bare, CPU)(PIXELS))


def test_a_wrapping_of_itself_ends(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["params"] = endless
    torch.save(endless, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth.*(spandrel|no upscaler is known)"):
        load_enlarger(tmp_path / "x.pth", CPU)


def test_weights_are_found_beside_a_tensor_that_has_a_wrapping_s_name(tmp_path: Path) -> None:
    bare = build_tiny_compact(tmp_path / "y.safetensors")
    whole = build_tiny_compact(tmp_path / "x.pth", wrapping="model")
    torch.save({"params": torch.zeros(3), "state_dict": torch.load(whole)}, whole)
    assert torch.equal(load_enlarger(whole, CPU)(PIXELS), load_enlarger(bare, CPU)(PIXELS))


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (lambda: None).__class__ and open, ("canary",)


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Bomb(), protocol=2))
    (tmp_path / "canary").write_text("untouched")
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        load_enlarger(tmp_path / "x.pth", CPU)


def test_a_file_of_no_known_kind_says_what_would_read_it(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"layer.weight": torch.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x.safetensors.*(spandrel|no upscaler is known)"):
        load_enlarger(tmp_path / "x.safetensors", CPU)


def test_a_file_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = build_tiny_rrdb(tmp_path / "x.safetensors")
    tensors = load_file(path)
    del tensors["body.1.rdb2.conv3.weight"]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"x.safetensors.*lacks 1 of its weights"):
        load_enlarger(path, CPU)


# Tiles.


def whole(enlarger: Enlarger, image: Image.Image, tiling: Tiling) -> tuple[Image.Image, int]:
    """The enlarged picture, and how many tiles it took."""
    steps, count = enlarge(enlarger, image, tiling), 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration as end:
            return end.value, count


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


@pytest.mark.parametrize("overlap", [0, 8])
def test_tiles_leave_no_seams(tmp_path: Path, overlap: int) -> None:
    enlarger = load_enlarger(build_tiny_rrdb(tmp_path / "x.safetensors", doublings=1), CPU)
    image = picture()
    one, count = whole(enlarger, image, Tiling(0, 0))
    tiled, tiles = whole(enlarger, image, Tiling(24, overlap))
    assert (count, tiles, tiled.size) == (1, Tiling(24, overlap).count(image.size), (120, 88))
    assert tiles >= 6
    assert difference(one, tiled) <= 1


def test_tiles_without_context_would_leave_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail."""
    monkeypatch.setattr("webui.engine.upscaling.tiles.CONTEXT", 0)
    enlarger = load_enlarger(build_tiny_rrdb(tmp_path / "x.safetensors", doublings=1), CPU)
    image = picture()
    assert difference(whole(enlarger, image, Tiling(0, 0))[0], whole(enlarger, image, Tiling(24, 0))[0]) > 4


def test_tiles_cover_every_length_evenly() -> None:
    for length in range(1, 200):
        for tiling in (Tiling(16, 0), Tiling(16, 7), Tiling(17, 8), Tiling(64, 32)):
            starts, size = tiling.starts(length), tiling.size(length)
            assert (starts[0], starts[-1] + size) == (0, length)
            assert all(b - a <= size - tiling.overlap + 1 for a, b in itertools.pairwise(starts))


def test_where_memory_is_short_tiles_become_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_tiny_rrdb(tmp_path / "x.safetensors", doublings=1)
    upscalers, real = upscalers_in(tmp_path), Enlarger.__call__

    def small(self: Enlarger, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.shape[3] > 100:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, pixels)

    monkeypatch.setattr(Enlarger, "__call__", small)
    assert upscalers.upscale("x", picture(160, 40), (320, 80)).size == (320, 80)


def test_numbers_that_half_precision_cannot_hold_are_made_again_in_full(tmp_path: Path) -> None:
    network = torch.nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3)[:, :, None, None])

    class Overflowing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = network.to(x.dtype)(x * 70_000) / 70_000
            return result

    enlarger = Enlarger(Overflowing(), 1, 1, torch.device("cpu"), torch.float16)
    assert torch.allclose(enlarger(PIXELS), PIXELS, atol=1e-3)


# Sizes.


@pytest.mark.parametrize(
    ("before", "size", "scale", "expected"),
    [
        ((10, 10), (20, 20), 4, [(10, 10)]),
        ((10, 10), (80, 80), 4, [(10, 10), (40, 40)]),
        ((10, 10), (9, 9), 4, []),
        ((10, 10), (10, 10), 4, [(10, 10)]),
        ((10, 10), (20, 20), 1, [(10, 10)]),
        ((10, 10), (2000, 2000), 2, [(10, 10), (20, 20), (40, 40)]),
    ],
)
def test_a_network_runs_until_the_picture_is_large_enough(
    before: tuple[int, int], size: tuple[int, int], scale: int, expected: list[tuple[int, int]]
) -> None:
    assert passes(before, size, scale) == expected


def test_no_pass_makes_more_pixels_than_its_limit() -> None:
    sizes = passes((6000, 4000), (8000, 5333), 8)
    assert sizes == [(1000, 667)], "6000×8 by 4000×8 would be 1.5 billion pixels"
    assert all(width * height * 64 <= upscaling.MOST_PIXELS for width, height in sizes)


@pytest.mark.parametrize("name", ["None", "Lanczos", "Nearest", "x"])
@pytest.mark.parametrize("size", [(70, 33), (61, 170), (5, 5), (60, 44)])
def test_the_result_has_exactly_the_size(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    build_tiny_rrdb(tmp_path / "x.safetensors", doublings=1)
    told: list[tuple[int, int]] = []
    upscalers = upscalers_in(tmp_path)
    result = upscalers.upscale(name, picture(), size, lambda done, total: told.append((done, total)))
    assert (result.size, result.mode) == (size, "RGB")
    count = upscalers.tiles(name, (60, 44), size)
    assert told == [(number + 1, count) for number in range(count)]


def test_an_unknown_upscaler_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    build_tiny_rrdb(tmp_path / "mine.safetensors")
    with pytest.raises(UnknownName, match="Known: None, Lanczos, Nearest, mine"):
        upscalers_in(tmp_path).upscale("other", picture(), (70, 33))


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    upscalers = upscalers_in(tmp_path)
    build_tiny_rrdb(tmp_path / "x.safetensors", doublings=1)
    assert upscalers.tiles("x", (300, 300), (1200, 1200), Tiling(0, 0)) == 2
    build_tiny_rrdb(tmp_path / "x.safetensors", doublings=2)
    assert upscalers.tiles("x", (300, 300), (1200, 1200), Tiling(0, 0)) == 1


# Jobs.


def run(folder: Path, signals: Callable[[], Signal | None] = lambda: None, **values: Any) -> list[Event]:
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    request = Upscale(image=ID, **values)
    job = Job(id="job", request=request, inputs={ID: buffer.getvalue()})
    return list(UpscaleJob(job, request, upscalers_in(folder), signals).events())


def result_of(events: list[Event]) -> tuple[ImageEvent, Image.Image]:
    assert isinstance(events[-1], Done)
    (event,) = [event for event in events if isinstance(event, ImageEvent)]
    return event, Image.open(io.BytesIO(event.png))


def test_a_job_tells_every_tile_and_ends_with_the_picture_and_its_text(tmp_path: Path) -> None:
    build_tiny_rrdb(tmp_path / "x.safetensors", doublings=1)
    events = run(tmp_path, upscaler="x", scale=2.0, tile_size=32)
    tiles = [(event.step, event.total) for event in events if isinstance(event, Progress) and event.phase == "tiles"]
    assert tiles == [(number, len(tiles)) for number in range(1, len(tiles) + 1)]
    assert len(tiles) >= 4
    event, image = result_of(events)
    assert (event.width, event.height) == image.size == (120, 88)
    text = "Postprocess upscale by: 2, Postprocess upscaler: x"
    assert (event.parameters, image.info) == (text, {"postprocessing": text, "extras": text})


def test_a_second_upscaler_is_mixed_in(tmp_path: Path) -> None:
    one, other = (result_of(run(tmp_path, upscaler=name, scale=3.0))[1] for name in ("Nearest", "Lanczos"))
    event, both = result_of(
        run(tmp_path, upscaler="Nearest", second_upscaler="Lanczos", second_visibility=0.25, scale=3.0)
    )
    assert difference(both, Image.blend(one, other, 0.25)) == 0
    assert event.parameters.endswith("Postprocess upscaler: Nearest, Postprocess upscaler 2: Lanczos")


@pytest.mark.parametrize(
    ("values", "size", "text"),
    [
        ({"size_mode": "Scale to", "width": 90, "height": 90}, (90, 90),
         "Postprocess upscale to: 90x90, Postprocess crop to: 90x90, Postprocess upscaler: Lanczos"),
        ({"size_mode": "Scale to", "width": 90, "height": 90, "crop": False}, (123, 90),
         "Postprocess upscale to: 90x90, Postprocess upscaler: Lanczos"),
        ({"scale": 4.0, "max_side": 120}, (120, 88),
         "Postprocess upscale by: 4, Max side length: 120, Postprocess upscaler: Lanczos"),
        ({"upscaler": "None"}, (60, 44), ""),
    ],
)  # fmt: skip
def test_sizes_and_texts_are_those_of_automatic1111(
    tmp_path: Path, values: dict[str, Any], size: tuple[int, int], text: str
) -> None:
    event, image = result_of(run(tmp_path, **values))
    assert (image.size, event.parameters) == (size, text)


@pytest.mark.parametrize(("signal", "end"), [(Signal.CANCEL, Cancelled), (Signal.PAUSE, Paused), (Signal.SKIP, Done)])
def test_a_job_stops_between_two_tiles(tmp_path: Path, signal: Signal, end: type[Event]) -> None:
    build_tiny_rrdb(tmp_path / "x.safetensors", doublings=1)
    asked = iter([None, None, signal])
    events = run(tmp_path, lambda: next(asked), upscaler="x", scale=2.0, tile_size=32)
    assert [event.step for event in events if isinstance(event, Progress) and event.phase == "tiles"] == [1, 2]
    assert type(events[-1]) is end
    assert not any(isinstance(event, ImageEvent) for event in events)
