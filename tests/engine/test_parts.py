"""Devices, previews, prompts and attention, each on its own."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Picture

from tests.engine.helpers import pictures, request, run
from webui.contract import Engine
from webui.engine.attention import fastest_attention, xformers_works
from webui.engine.device import compute_threads, physical_cores, pick_device
from webui.engine.previews import fit_latent_rgb, previewer, read_latent_rgb
from webui.engine.seeds import PictureNoise, Seeds
from webui.errors import CannotStart, UnknownName
from webui.registry import PREVIEWS

pytestmark = pytest.mark.torch


@pytest.fixture
def vae(engine: Engine) -> Any:
    engine.warm_up("epsilon")
    return engine._models.loaded.vae  # type: ignore[attr-defined]


def test_auto_takes_the_cpu_where_there_is_no_card() -> None:
    device = pick_device("auto")
    if not torch.cuda.is_available():
        assert device.torch_device == torch.device("cpu")
        assert device.dtype == torch.float32
    assert device.name


def test_workers_take_the_cards_in_turn_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    for wanted in ("auto", "cuda"):
        assert [str(pick_device(wanted, worker).torch_device) for worker in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [str(pick_device("cuda:1", worker).torch_device) for worker in range(2)] == ["cuda:1", "cuda:1"]


@pytest.mark.parametrize("wanted", ["cuda:99", "tpu", "cuda:x", ""])
def test_a_device_that_is_not_there_is_refused_with_the_possible_ones(wanted: str) -> None:
    with pytest.raises(CannotStart, match="auto, cpu"):
        pick_device(wanted)


def test_hardware_threads_of_one_core_count_once(tmp_path: Path) -> None:
    first = min(os.sched_getaffinity(0))
    info = tmp_path / "cpuinfo"
    blocks = [f"processor\t: {first}\nphysical id\t: 0\ncore id\t: {core}" for core in (0, 0)]
    info.write_text("\n\n".join(blocks))
    assert physical_cores(info) == 1
    assert physical_cores(tmp_path / "absent") >= 1


def test_omp_num_threads_leaves_cores_to_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = physical_cores()
    for said, threads in (("1", 1), (str(cores + 1), cores), ("0", cores), ("", cores), ("2,1", cores)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert compute_threads() == threads


def test_the_cpu_uses_sdpa_and_xformers_is_never_imported_there() -> None:
    assert fastest_attention(torch.device("cpu")) == "SDPA"


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a card xformers may well work")
def test_an_xformers_that_does_not_work_is_found_out_in_another_process() -> None:
    assert not xformers_works(torch.device("cuda:0"))


def test_noise_belongs_to_the_seed_not_to_the_batch() -> None:
    shape, cpu = (4, 8, 8), torch.device("cpu")
    together = PictureNoise([Seeds(5), Seeds(6)], shape, cpu)
    alone = PictureNoise([Seeds(6)], shape, cpu)
    for _ in range(3):
        assert torch.equal(together.draw()[1:], alone.draw())
    assert torch.equal(
        PictureNoise([Seeds(5)], shape, cpu).draw()[0], torch.randn(shape, generator=torch.Generator().manual_seed(5))
    )


def test_saved_noise_goes_on_where_it_was() -> None:
    noise = PictureNoise([Seeds(5), Seeds(6)], (4, 2, 2), torch.device("cpu"))
    noise.draw()
    saved, expected = noise.save(), noise.draw()
    other = PictureNoise([Seeds(0), Seeds(0)], (4, 2, 2), torch.device("cpu"))
    other.restore(saved)
    assert torch.equal(other.draw(), expected)


@pytest.mark.parametrize("kind", PREVIEWS)
def test_every_preview_people_can_choose_is_implemented(vae: Any, kind: str) -> None:
    jpeg = previewer(kind, vae, fit_latent_rgb(vae, 4))(torch.randn(4, 8, 8))
    assert (jpeg is None) == (kind == "Off")
    if jpeg:
        assert Picture.open(io.BytesIO(jpeg)).size == (64, 64)


def test_the_small_decoder_of_a_checkpoint_is_used_and_a_broken_one_is_not(vae: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from webui.engine.preview_decoder import FILE, PreviewDecoder, read_preview_decoder

    device = torch.device("cpu")
    assert read_preview_decoder(tmp_path, 4, device) is None
    taught = PreviewDecoder(4, (8, 8))
    save_file(taught.state_dict(), tmp_path / FILE)
    found = read_preview_decoder(tmp_path, 4, device)
    assert found is not None
    latents = torch.randn(4, 8, 8)
    assert torch.equal(found(latents[None]), taught(latents[None]))
    linear = fit_latent_rgb(vae, 4)
    shown = [previewer(kind, vae, linear, found)(latents) for kind in ("Small", "Linear")]
    assert shown[0] != shown[1]
    assert previewer("Small", vae, linear, None)(latents) == shown[1]
    assert read_preview_decoder(tmp_path, 16, device) is None, "made for other latents"
    (tmp_path / FILE).write_bytes(b"no weights")
    assert read_preview_decoder(tmp_path, 4, device) is None


def test_an_unknown_preview_is_refused(vae: Any) -> None:
    with pytest.raises(UnknownName, match="Linear"):
        previewer("Sharp", vae, fit_latent_rgb(vae, 4))


def test_a_preview_of_a_large_picture_stays_small(vae: Any) -> None:
    jpeg = previewer("Linear", vae, fit_latent_rgb(vae, 4))(torch.randn(4, 64, 128))
    assert jpeg is not None
    assert Picture.open(io.BytesIO(jpeg)).size == (256, 128)


def test_a_failing_preview_does_not_harm_the_picture(engine: Engine, vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pictures(run(engine, request(preview="Off")))
    monkeypatch.setattr("webui.engine.previews._jpeg", lambda *_: 1 / 0)
    events = run(engine, request(preview="Linear"))
    assert pictures(events) == expected


def test_the_checkpoints_own_colours_are_used_when_they_fit(tmp_path: Path) -> None:
    path = tmp_path / "latent_rgb.json"
    assert read_latent_rgb(path, 4) is None
    path.write_text(json.dumps({"weight": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], "bias": [0, 0, 0.5]}))
    fit = read_latent_rgb(path, 4)
    assert fit is not None
    latents = torch.rand(4, 2, 2)
    torch.testing.assert_close(fit(latents)[2], latents[2] + 0.5)
    assert read_latent_rgb(path, 16) is None
    path.write_text("<html>")
    assert read_latent_rgb(path, 4) is None


def test_the_measured_colours_follow_the_decoder(tmp_path: Path) -> None:
    """A decoder that is linear is found exactly."""

    class LinearAutoencoder:
        dtype, device = torch.float32, torch.device("cpu")

        class config:  # noqa: N801
            scaling_factor, shift_factor, block_out_channels = 0.5, None, (1, 1)

        def encode(self, pixels: torch.Tensor) -> Any:
            small = torch.nn.functional.avg_pool2d(pixels, 2)
            latents = torch.cat([small, small.mean(1, keepdim=True) ** 2], 1)
            mode = type("Mode", (), {"mode": lambda self: latents})()
            return type("Encoded", (), {"latent_dist": mode})()

        def decode(self, latents: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
            return (torch.nn.functional.interpolate(latents[:, :3] * 2 + 0.25, scale_factor=2),)

    fit = fit_latent_rgb(LinearAutoencoder(), 4)
    torch.testing.assert_close(fit.weight[:3], torch.eye(3) * 4, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fit.bias, torch.full((3,), 0.25), atol=1e-4, rtol=1e-4)
