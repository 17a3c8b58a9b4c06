"""The whole engine against diffusers' StableDiffusionPipeline on the same checkpoint and noise."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from tests.engine.helpers import pictures, request, run
from webui.contract import Engine
from webui.engine.text import PromptEncoder, Tower
from webui.prompt.weights import sections

pytestmark = pytest.mark.torch


def pipeline(folder: Path):  # type: ignore[no-untyped-def]  # diffusers is not typed
    from diffusers import StableDiffusionPipeline

    made = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize("checkpoint", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_ddim_draws_the_pipelines_picture(
    engine: Engine, models_dir: Path, checkpoint: str, guidance_scale: float
) -> None:
    """Eight bit levels may differ by one where a value lies at the edge between two."""
    wanted = request(
        checkpoint=checkpoint, sampler="DDIM", num_inference_steps=10, guidance_scale=guidance_scale,
        negative_prompt="a dog", height=96,
    )  # fmt: skip
    ours = np.asarray(Picture.open(io.BytesIO(pictures(run(engine, wanted))[0]))).astype(int)
    theirs = pipeline(models_dir / "checkpoints" / checkpoint)(
        wanted.prompt, negative_prompt=wanted.negative_prompt, num_inference_steps=10, width=64, height=96,
        guidance_scale=guidance_scale, generator=torch.Generator().manual_seed(wanted.seed),
    ).images[0]  # fmt: skip
    difference = np.abs(ours - np.asarray(theirs).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    assert np.asarray(theirs).std() > 5, "the comparison means nothing on a blank picture"


@pytest.mark.parametrize("prompt", ["", "the red cat", "Ein Café, 東京 🐼!", "cat " * 75])
def test_a_prompt_is_encoded_as_the_pipeline_encodes_it(models_dir: Path, prompt: str) -> None:
    theirs = pipeline(models_dir / "checkpoints" / "epsilon")
    expected, _ = theirs.encode_prompt(prompt, "cpu", 1, do_classifier_free_guidance=False)
    encoded = PromptEncoder([Tower(theirs.tokenizer, theirs.text_encoder)]).encode(sections(prompt)).hidden
    assert encoded.shape == (1, 77, 16)
    assert torch.equal(encoded, expected)
