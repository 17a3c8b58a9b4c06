"""The second pass: sizes, steps, upscalers, prompts of its own, and going on from anywhere in either pass."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Picture

from tests.engine.helpers import Signals, kinds, pictures, request, run
from webui.contract import Engine, Signal
from webui.engine.hires import enlarged, hires_shape
from webui.errors import InvalidRequest
from webui.events import Checkpoint, Done, Event, Failed, Progress
from webui.registry import LATENT_UPSCALERS
from webui.requests import TextToImage, build

pytestmark = pytest.mark.torch


def hires(**values: Any) -> TextToImage:
    return request(**({"hires": True, "sampler": "Euler a", "hires_scale": 1.5} | values))


def size_of(png: bytes) -> tuple[int, int]:
    return Picture.open(io.BytesIO(png)).size


def pixels(events: list[Event], number: int = 0) -> bytes:
    return Picture.open(io.BytesIO(pictures(events)[number])).tobytes()


def walked(events: list[Event]) -> list[tuple[str, int, int]]:
    return [
        (event.phase, event.step, event.total)
        for event in events
        if isinstance(event, Progress) and event.phase in ("sampling", "hires")
    ]


@pytest.mark.parametrize(
    ("values", "whole", "kept"),
    [
        ({"hires_scale": 2.0}, (1024, 1024), (1024, 1024)),
        ({"hires_width": 1024}, (1024, 1024), (1024, 1024)),
        ({"hires_height": 768, "width": 256}, (384, 768), (384, 768)),
        ({"hires_width": 1024, "hires_height": 768}, (1024, 1024), (1024, 768)),
        ({"hires_width": 768, "hires_height": 1024}, (1024, 1024), (768, 1024)),
    ],
)
def test_the_size_is_that_of_the_family(values: dict[str, Any], whole: tuple[int, int], kept: tuple[int, int]) -> None:
    wanted = TextToImage(**({"width": 512, "height": 512, "hires": True} | values))
    assert wanted.hires_sizes == (whole, kept)


def test_what_stands_over_is_cut_from_both_sides(engine: Any, models_dir: Any) -> None:
    components = engine._models.get(engine._find("epsilon"))
    wanted = hires(hires_width=128, hires_height=96, hires_upscaler="Latent (nearest)")
    latents = torch.arange(8.0)[None, None, :, None].expand(1, 4, 8, 8)
    larger = enlarged(latents, wanted, components, components, engine._upscalers).latents
    assert larger.shape[1:] == hires_shape(wanted, components) == (4, 12, 16)
    assert larger[0, 0, :, 0].tolist() == [float(row // 2) for row in range(2, 14)]


def test_the_passes_are_told_one_after_the_other(engine: Engine) -> None:
    events = run(engine, hires(hires_steps=3))
    assert walked(events) == [
        *(("sampling", step, 7) for step in range(1, 5)), *(("hires", step, 7) for step in range(5, 8))
    ]  # fmt: skip
    assert size_of(pictures(events)[0]) == (96, 96)


@pytest.mark.parametrize("strength", [0.3, 0.7, 1.0])
def test_it_makes_its_steps_whatever_the_strength(engine: Engine, strength: float) -> None:
    assert len(walked(run(engine, hires(hires_strength=strength)))) == 8


def test_without_strength_it_only_enlarges(engine: Engine) -> None:
    plain = Picture.open(io.BytesIO(pictures(run(engine, request(sampler="Euler a")))[0]))
    events = run(engine, hires(hires_strength=0.0, hires_upscaler="Nearest", hires_scale=2.0))
    assert len(walked(events)) == 4
    assert size_of(pictures(events)[0]) == (128, 128)
    assert pixels(events) != plain.resize((128, 128), Picture.Resampling.NEAREST).tobytes(), "it was encoded again"


def test_words_that_alternate_need_no_step_in_a_pass_without_any(engine: Engine) -> None:
    alternating = hires(hires_strength=0.0, hires_sampler="DPM adaptive", prompt="[cat|dog]")
    assert size_of(pictures(run(engine, alternating))[0]) == (96, 96)


@pytest.mark.parametrize("change", [
    {"hires_upscaler": "Latent (nearest-exact)"}, {"hires_upscaler": "Lanczos"}, {"hires_sampler": "DPM++ 2M"},
    {"hires_schedule": "Karras"}, {"hires_prompt": "a dog"}, {"hires_negative_prompt": "a dog"},
    {"hires_guidance_scale": 1.0}, {"hires_strength": 0.5}, {"hires_steps": 5},
])  # fmt: skip
def test_each_of_its_options_changes_the_picture(engine: Engine, change: dict[str, Any]) -> None:
    assert pixels(run(engine, hires(**change))) != pixels(run(engine, hires()))


def test_every_latent_upscaler_is_another(engine: Any) -> None:
    components = engine._models.get(engine._find("epsilon"))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    made = [
        enlarged(latents, hires(hires_upscaler=name, hires_scale=1.75), components, components, engine._upscalers)
        for name in LATENT_UPSCALERS
    ]
    assert len({each.latents.numpy().tobytes() for each in made}) >= 4


def test_an_edit_of_the_prompt_counts_on_over_both_passes(engine: Engine) -> None:
    """`[a:b:1.5]` changes in the middle of the second pass, `[a:b:6]` at its second step."""
    assert pixels(run(engine, hires(prompt="[the red cat:dog:1.5]"))) == pixels(
        run(engine, hires(prompt="the red cat", hires_prompt="[the red cat:dog:1.5]"))
    )
    assert pixels(run(engine, hires(prompt="[the red cat:dog:1.5]"))) != pixels(run(engine, hires()))
    assert pixels(run(engine, hires(prompt="[the red cat:dog:6]"))) == pixels(
        run(engine, hires(prompt="[the red cat:dog:1.5]"))
    )


def test_going_on_from_every_step_of_both_passes_gives_the_same_bytes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.engine.generation.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    wanted = hires(hires_upscaler="Lanczos", sampler="DPM++ 2M SDE", variation_strength=0.3, variation_seed=7)
    whole = run(engine, wanted)
    states = [event.state for event in whole if isinstance(event, Checkpoint)]
    assert len(states) == 1 + 4 + 4
    for step, state in enumerate(states):
        resumed = run(engine, wanted, state=state)
        assert pictures(resumed) == pictures(whole)
        assert [done for _, done, _ in walked(resumed)] == list(range(step + 1, 9))


def test_a_pause_in_the_second_pass_of_the_second_picture(engine: Engine) -> None:
    class Later(Signals):
        def see(self, event: Event) -> None:
            if isinstance(event, Progress) and (event.phase, event.picture, event.step) == ("hires", 1, 6):
                self._waiting = Signal.PAUSE

    wanted = hires(batch_size=2)
    first = run(engine, wanted, signals=Later({}))
    assert kinds(first)[-1] == "paused"
    state = [event.state for event in first if isinstance(event, Checkpoint)][-1]
    rest = run(engine, wanted, state=state)
    assert pictures(first) | pictures(rest) == pictures(run(engine, wanted))


def test_a_picture_of_a_batch_is_that_of_its_seed(engine: Engine) -> None:
    batch = run(engine, hires(batch_size=2, hires_upscaler="Lanczos"))
    assert pictures(batch)[1] == pictures(run(engine, hires(seed=12, hires_upscaler="Lanczos")))[0]


def test_the_first_pass_is_the_picture_without_hires(engine: Engine) -> None:
    plain = run(engine, request(sampler="Euler a"))
    assert pixels(run(engine, hires(hires_strength=0.0, hires_scale=1.0))) == pixels(plain)


def test_an_unknown_upscaler_is_refused_before_the_first_step(engine: Engine) -> None:
    events = run(engine, hires(hires_upscaler="Magic"))
    assert kinds(events)[-1] == "failed"
    assert walked(events) == []
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert "Latent (bicubic)" in str(failed.text)
    assert "Lanczos" in str(failed.text)


@pytest.mark.parametrize("values", [
    {"width": 2048, "height": 2048, "hires_scale": 4.0}, {"hires_width": 32}, {"hires_strength": 0.01},
])  # fmt: skip
def test_an_impossible_second_pass_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        build("txt2img", {"hires": True, **values})
    build("txt2img", {"hires": False, **values})


def test_another_checkpoint_draws_the_second_pass(engine: Engine) -> None:
    own, same, other = (run(engine, hires(hires_checkpoint=name)) for name in ("", "epsilon", "sample"))
    assert pixels(own) == pixels(same) != pixels(other)
    done = other[-1]
    assert isinstance(done, Done)
    assert "The checkpoint 'sample' drew the second pass." in [str(told) for told in done.receipt]
    unchanged = run(engine, hires(hires_strength=0.0, hires_upscaler="Lanczos", hires_checkpoint="sample"))
    assert pixels(unchanged) == pixels(run(engine, hires(hires_strength=0.0, hires_upscaler="Lanczos")))
    wrong = run(engine, hires(hires_checkpoint="nothing"))[-1]
    assert isinstance(wrong, Failed)
    assert "nothing" in str(wrong.text)


def test_a_refiner_takes_over_from_the_checkpoint_of_the_second_pass(engine: Engine) -> None:
    both = {"hires_checkpoint": "sample", "refiner": "v_prediction", "refiner_switch_at": 0.5}
    whole = run(engine, hires(**both))
    assert isinstance(whole[-1], Done)
    assert len({pixels(whole), pixels(run(engine, hires(hires_checkpoint="sample")))}) == 2


def test_a_checkpoint_of_another_family_takes_the_picture_and_not_the_latents(tmp_path: Path) -> None:
    from tests.engine.helpers import new_engine
    from tests.tiny import build_tiny_checkpoint, build_tiny_sdxl

    build_tiny_checkpoint(tmp_path / "checkpoints" / "epsilon")
    build_tiny_sdxl(tmp_path / "checkpoints" / "xl", seed=1)
    engine = new_engine(tmp_path)
    events = run(engine, hires(hires_checkpoint="xl", hires_upscaler="Lanczos"))
    assert isinstance(events[-1], Done)
    assert size_of(pictures(events)[0]) == (96, 96)
    refused = run(engine, hires(hires_checkpoint="xl", hires_upscaler="Latent"))[-1]
    assert isinstance(refused, Failed)
    assert "not a latent one" in str(refused.text)
