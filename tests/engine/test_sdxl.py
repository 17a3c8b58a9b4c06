"""SDXL and its refiner: both text encoders, the whole text's vector and the sizes, against diffusers' own pipelines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.helpers import CPU, engine_of, passport_of, picture_of, request
from tests.tiny import build_tiny_refiner, build_tiny_sdxl
from webui.engine.loading import load_checkpoint
from webui.engine.prediction import GuidedDenoiser, time_ids
from webui.engine.text import PlannedPrompts, PromptEncoder
from webui.errors import CheckpointError
from webui.prompt.plan import plan
from webui.prompt.schedule import clock
from webui.prompt.weights import sections

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sdxl(tmp_path_factory.mktemp("xl") / "sdxl")


@pytest.fixture(scope="module")
def refiner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_refiner(tmp_path_factory.mktemp("xl") / "refiner")


def pipeline(folder: Path, kind: str = "StableDiffusionXLPipeline") -> Any:
    import diffusers

    made = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True, add_watermarker=False)
    made.set_progress_bar_config(disable=True)
    return made


def planned(encoder: PromptEncoder, prompt: str, negative: str | None) -> PlannedPrompts:
    opposite = None if negative is None else plan(negative, clock(4), is_negative=True)
    return PlannedPrompts(encoder, plan(prompt, clock(4)), opposite)


@pytest.mark.parametrize(("guidance_scale", "negative"), [(1.0, ""), (5.0, "a dog"), (5.0, "")])
def test_ddim_draws_the_pipelines_picture(sdxl: Path, guidance_scale: float, negative: str) -> None:
    """An empty negative prompt is zeros, which the pipeline makes of none."""
    wanted = request(
        checkpoint="sdxl", sampler="DDIM", num_inference_steps=10, guidance_scale=guidance_scale,
        negative_prompt=negative, height=96,
    )  # fmt: skip
    ours = picture_of(engine_of(sdxl), wanted)
    theirs = np.asarray(
        pipeline(sdxl)(
            wanted.prompt, negative_prompt=negative or None, num_inference_steps=10, width=64, height=96,
            guidance_scale=guidance_scale, generator=torch.Generator().manual_seed(wanted.seed),
        ).images[0]
    )  # fmt: skip
    difference = np.abs(ours - theirs.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    assert theirs.std() > 5, "the comparison means nothing on a blank picture"


@pytest.mark.parametrize("prompt", ["", "the red cat", "cat " * 75])
def test_a_prompt_is_encoded_as_the_pipeline_encodes_it(sdxl: Path, prompt: str) -> None:
    encoded = load_checkpoint(passport_of(sdxl), CPU, "SDPA").prompts.encode(sections(prompt))
    hidden, _, pooled, _ = pipeline(sdxl).encode_prompt(prompt, device="cpu", do_classifier_free_guidance=False)
    assert encoded.hidden.shape == (1, 77, 40)
    assert torch.equal(encoded.hidden, hidden)
    assert encoded.pooled is not None
    assert torch.equal(encoded.pooled, pooled)


def test_the_whole_texts_vector_is_of_the_first_chunk(sdxl: Path) -> None:
    encoder = load_checkpoint(passport_of(sdxl), CPU, "SDPA").prompts
    long, short = encoder.encode(sections("the cat BREAK the red")), encoder.encode(sections("the cat"))
    assert long.hidden.shape == (1, 154, 40)
    assert long.pooled is not None
    assert short.pooled is not None
    assert torch.allclose(long.pooled, short.pooled, atol=1e-5)


def test_the_prompt_language_holds_for_both_text_encoders(sdxl: Path) -> None:
    prompts = planned(
        load_checkpoint(passport_of(sdxl), CPU, "SDPA").prompts, "the [cat:(red:1.3):0.5] AND dog:0.5", ""
    )
    early, late = prompts.at(1, 2), prompts.at(4, 2)
    assert early.weights == (1.0, 0.5)
    assert not torch.equal(early.conds[0].hidden[..., :16], late.conds[0].hidden[..., :16])
    assert not torch.equal(early.conds[0].hidden[..., 16:], late.conds[0].hidden[..., 16:])
    assert early.conds[0].pooled is not None
    assert early.conds[0].pooled.shape == (2, 24)


def test_clip_skip_leaves_the_layer_before_the_last(sdxl: Path) -> None:
    encoder = load_checkpoint(passport_of(sdxl), CPU, "SDPA").prompts
    one, two = (encoder.encode(sections("the cat"), clip_skip=skip).hidden for skip in (1, 2))
    assert torch.equal(one, two)


def test_sdxl_is_told_height_before_width_and_its_refiner_a_score() -> None:
    assert time_ids((96, 64)) == (96, 64, 0, 0, 96, 64)
    assert time_ids((96, 64), 6.0) == (96, 64, 0, 0, 6.0)


def test_an_sdxl_checkpoint_is_known_as_one(sdxl: Path) -> None:
    assert load_checkpoint(passport_of(sdxl), CPU, "SDPA").table.is_sdxl


def test_two_tokenizers_must_know_the_same_words(sdxl: Path) -> None:
    towers = load_checkpoint(passport_of(sdxl), CPU, "SDPA").towers
    towers[1].tokenizer.add_tokens(["<new>"])
    with pytest.raises(CheckpointError, match="know different words"):
        PromptEncoder(towers, is_xl=True)


def test_the_refiner_predicts_what_the_pipelines_unet_predicts(refiner: Path) -> None:
    components = load_checkpoint(passport_of(refiner), CPU, "SDPA")
    assert components.scores_pictures
    denoiser = GuidedDenoiser(components, planned(components.prompts, "the red cat", "a dog"), 1, 4.0)
    x = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = denoiser(x, 1.0)
        theirs = pipeline(refiner, "StableDiffusionXLImg2ImgPipeline")
        hidden, no_hidden, pooled, no_pooled = theirs.encode_prompt(
            "the red cat", device="cpu", negative_prompt="a dog"
        )
        sizes = theirs._get_add_time_ids(
            (64, 96), (0, 0), (64, 96), 6.0, 2.5, (64, 96), (0, 0), (64, 96), torch.float32, 24
        )  # fmt: skip
        told = {"text_embeds": torch.cat([no_pooled, pooled]), "time_ids": torch.cat([sizes[1], sizes[0]])}
        timestep = components.table.timestep(1.0)
        noise = theirs.unet(
            torch.cat([x, x]) / 2**0.5, timestep, torch.cat([no_hidden, hidden]), added_cond_kwargs=told
        ).sample
    expected = x - (noise[:1] + 4.0 * (noise[1:] - noise[:1]))
    assert torch.allclose(ours, expected, atol=1e-5)


def test_the_refiner_draws(refiner: Path) -> None:
    assert picture_of(engine_of(refiner), request(checkpoint="refiner")).shape == (64, 64, 3)


def test_sdxls_decoder_is_kept_in_full_precision_unless_it_was_mended(sdxl: Path) -> None:
    from webui.engine.loading.parts import precision_of_vae

    assert precision_of_vae({}, torch.float16, is_xl=True) == torch.float32
    assert precision_of_vae({"force_upcast": False}, torch.float16, is_xl=True) == torch.float16
    assert precision_of_vae({}, torch.float16, is_xl=False) == torch.float16
