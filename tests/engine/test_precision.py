"""NaN and lack of memory: healed in full precision or tiles, else said in a sentence, never a black picture."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.helpers import Signals, kinds, new_engine, pictures, request, run, upscalers_in
from tests.engine.test_image_jobs import events as image_events
from tests.engine.test_image_jobs import mask, noise
from tests.engine.test_image_jobs import request as from_picture
from webui.contract import Engine, Signal
from webui.engine.device import Device
from webui.engine.engine import PictureEngine
from webui.engine.vae import decode
from webui.events import Checkpoint, Done, Failed, Warning
from webui.library import Library
from webui.requests import ImageToImage

pytestmark = pytest.mark.torch


@pytest.fixture
def half_engine(models_dir: Path) -> PictureEngine:
    """An engine in fp16, as on a graphics card, on the CPU."""
    device = Device(torch_device=torch.device("cpu"), name="CPU in halves", dtype=torch.float16)
    upscalers = upscalers_in(models_dir / "upscalers", device)
    made = PictureEngine(Library(models_dir / "checkpoints"), device, "SDPA", upscalers=upscalers)
    made.warm_up("epsilon")
    return made


@pytest.fixture
def overflowing(half_engine: PictureEngine) -> Any:
    """The UNet of `half_engine`, with activations that fp16 cannot hold and the next normalisation brings back."""
    components = half_engine._models.loaded
    assert components is not None
    components.unet.conv_in.weight.mul_(60_000)
    components.unet.conv_in.weight.clamp_(-60_000, 60_000)
    return components.unet


def test_a_step_that_is_not_a_number_is_redone_in_full_precision(half_engine: PictureEngine, overflowing: Any) -> None:
    weights = {name: weight.clone() for name, weight in overflowing.state_dict().items()}
    events = run(half_engine, request())
    assert [str(event.text) for event in events if isinstance(event, Warning)] == [
        "Half precision gave no numbers, so the picture was drawn in full precision."
    ]
    assert list(pictures(events)) == [0]
    assert overflowing.dtype == torch.float16, "the model's own precision comes back after the picture"
    assert all(torch.equal(weight, weights[name]) for name, weight in overflowing.state_dict().items())


def test_a_paused_full_precision_run_goes_on_in_full_precision(half_engine: PictureEngine, overflowing: Any) -> None:
    wanted = request(sampler="Euler a")
    paused = run(half_engine, wanted, signals=Signals({(0, 2): Signal.PAUSE}))
    state = [event.state for event in paused if isinstance(event, Checkpoint)][-1]
    assert pictures(run(half_engine, wanted, state=state)) == pictures(run(half_engine, wanted))


def test_a_model_that_gives_no_numbers_at_all_fails_in_a_sentence(models_dir: Path) -> None:
    engine = new_engine(models_dir)
    engine.warm_up("epsilon")
    components = engine._models.loaded
    assert components is not None
    components.unet.conv_out.bias.fill_(float("nan"))
    failed = run(engine, request())[-1]
    assert isinstance(failed, Failed)
    assert "not a number at step 1 of 4" in str(failed.text)
    assert "image" not in kinds(run(engine, request()))


def test_a_decoder_that_gives_no_numbers_fails_in_a_sentence(models_dir: Path) -> None:
    engine = new_engine(models_dir)
    engine.warm_up("epsilon")
    components = engine._models.loaded
    assert components is not None
    components.vae.decoder.conv_out.bias.fill_(float("nan"))
    events = run(engine, request(preview="Full"))
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert "decoder" in str(failed.text)
    assert "image" not in kinds(events)


def test_a_decoder_that_overflows_in_half_precision_is_used_in_full(half_engine: PictureEngine) -> None:
    components = half_engine._models.loaded
    assert components is not None
    vae = components.vae
    vae.decoder.conv_in.weight.mul_(1e6).clamp_(-60_000, 60_000)
    decoded = decode(vae, torch.randn(4, 8, 8) * 50)
    assert str(decoded.warning) == "The picture was decoded in full precision, because half gave no numbers."
    assert vae.dtype == torch.float16


def test_a_decoder_without_memory_works_in_tiles(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    run(engine, request())
    components = engine._models.loaded  # type: ignore[attr-defined]
    plain = components.vae.decode

    def short_of_memory(latents: torch.Tensor, **options: Any) -> Any:
        if not components.vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(latents, **options)

    monkeypatch.setattr(components.vae, "decode", short_of_memory)
    events = run(engine, request())
    assert [str(event.text) for event in events if isinstance(event, Warning)] == [
        "The picture was decoded in tiles, because memory was short."
    ]
    assert list(pictures(events)) == [0]
    assert not components.vae.use_tiling


@pytest.mark.parametrize("way", ["picture", "hires"])
def test_an_encoder_without_memory_works_in_tiles(engine: Engine, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    run(engine, request())
    components = engine._models.loaded  # type: ignore[attr-defined]
    plain = components.vae.encode

    def short_of_memory(pixels: torch.Tensor) -> Any:
        if not components.vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(pixels)

    monkeypatch.setattr(components.vae, "encode", short_of_memory)
    if way == "picture":
        asked = from_picture(ImageToImage, width=96, height=96)
        events = image_events(engine, asked, noise((96, 96)), mask())
    else:
        events = run(engine, request(hires=True, hires_scale=1.5, hires_upscaler="Lanczos"))
    done = events[-1]
    assert isinstance(done, Done), done
    assert "The picture was encoded in tiles, because memory was short." in [str(told) for told in done.receipt]
    assert list(pictures(events)) == [0]
    assert not components.vae.use_tiling


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_lack_of_memory_fails_with_the_size_and_the_engine_lives_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    run(engine, request())
    components = engine._models.loaded  # type: ignore[attr-defined]

    def refuse(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(components.unet, "forward", refuse)
        failed = run(engine, request(width=128))[-1]
    assert isinstance(failed, Failed)
    assert failed.error == "OutOfMemory"
    assert "128×64" in str(failed.text)
    assert list(pictures(run(engine, request()))) == [0]


def test_faults_of_the_program_are_not_dressed_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    run(engine, request())
    components = engine._models.loaded  # type: ignore[attr-defined]

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(components.unet, "forward", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        run(engine, request())
