"""Checkpoints that see more than latents: inpainting ones a mask and a picture, instruct-pix2pix ones a picture."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.helpers import pictures, run
from tests.engine.helpers import request as from_words
from tests.engine.test_image_jobs import drawn, mask, noise, request, same
from webui.engine.beginning import beginning_of
from webui.engine.image_channels import blank_channels
from webui.engine.vae import encode, encode_pixels, to_pixels
from webui.requests import ImageToImage

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.engine.helpers import new_engine
    from tests.tiny import build_tiny_checkpoint

    folder: Path = tmp_path_factory.mktemp("seeing-models")
    for name, channels in {"inpainting": 5, "instructed": 4}.items():
        build_tiny_checkpoint(folder / "checkpoints" / name, image_channels=channels)
    return new_engine(folder)


def components_of(engine: Any, name: str) -> Any:
    return engine._models.get(engine._find(name))


def beginning(engine: Any, name: str, painted: Image.Image | None = None, **values: Any) -> Any:
    asked = request(checkpoint=name, **values)
    inputs = {"a" * 32: png(noise()), "b" * 32: png(painted or mask())}
    return beginning_of(asked, inputs, components_of(engine, name))


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def test_words_alone_see_everything_masked_and_grey(seeing: Any) -> None:
    parts = components_of(seeing, "inpainting")
    channels = blank_channels(parts, (4, 8, 8))
    assert channels is not None
    assert channels.shape == (1, 5, 8, 8)
    assert (channels[:, 0] == 1).all()
    assert torch.equal(channels[:, 1:], encode_pixels(parts.vae, torch.zeros(1, 3, 64, 64)))
    assert len(pictures(run(seeing, from_words(checkpoint="inpainting")))) == 1


def test_an_inpainting_checkpoint_sees_the_mask_and_the_picture_around_it(seeing: Any) -> None:
    channels = beginning(seeing, "inpainting", mask_blur=0).channels
    white = torch.from_numpy(np.asarray(mask(), dtype=np.float32) / 255)
    assert torch.equal(channels[0, 0], white[::8, ::8])
    around = to_pixels(noise()) * (1 - white)
    assert torch.equal(channels[:, 1:], encode_pixels(components_of(seeing, "inpainting").vae, around[None]))


def test_what_it_sees_changes_the_picture_and_a_batch_stays_that_of_its_seeds(seeing: Any) -> None:
    asked = request(checkpoint="inpainting", masked_content="latent noise", keep_untouched=True)
    first = drawn(seeing, asked)[0]
    assert not same(first, drawn(seeing, asked, Image.new("RGB", (64, 64), "white"))[0])
    batch = drawn(seeing, request(checkpoint="inpainting", batch_size=2))
    assert same(batch[1], drawn(seeing, request(checkpoint="inpainting", seed=12))[0])
    assert drawn(seeing, request(ImageToImage, checkpoint="inpainting"))[0].size == (64, 64)


def test_a_second_pass_with_an_inpainting_checkpoint_sees_its_own_size(seeing: Any) -> None:
    made = pictures(run(seeing, from_words(checkpoint="inpainting", hires=True, hires_scale=1.5)))
    assert Image.open(io.BytesIO(made[0])).size == (96, 96)


def test_an_instructed_checkpoint_sees_the_picture_unscaled(seeing: Any) -> None:
    parts = components_of(seeing, "instructed")
    asked = request(ImageToImage, checkpoint="instructed")
    channels = beginning_of(asked, {"a" * 32: png(noise())}, parts).channels
    assert channels is not None
    expected = encode(parts.vae, noise()) / parts.vae.config.scaling_factor
    assert torch.allclose(channels, expected, atol=1e-5)


def test_image_guidance_counts_for_an_instructed_checkpoint_alone(seeing: Any, engine: Any) -> None:
    def made(drawing: Any, **values: Any) -> Image.Image:
        return drawn(drawing, request(ImageToImage, **values))[0]

    strong = made(seeing, checkpoint="instructed", image_guidance_scale=3.0)
    assert not same(strong, made(seeing, checkpoint="instructed", image_guidance_scale=1.0))
    assert same(made(engine, image_guidance_scale=3.0), made(engine, image_guidance_scale=1.0))


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_image_guidance_is_the_equation_of_its_paper(seeing: Any, scale: float) -> None:
    """nothing + s_I (picture - nothing) + s_T (both - picture), from three separate calls of the network."""
    from webui.engine.passes import passes_of

    parts = components_of(seeing, "instructed")
    asked = request(ImageToImage, checkpoint="instructed", guidance_scale=scale, image_guidance_scale=1.7)
    begun = beginning_of(asked, {"a" * 32: png(noise())}, parts)
    (only,) = passes_of(asked, parts, begun, lambda _: parts, lambda *_: None)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    denoiser = only.denoiser(1)
    ours = denoiser(x, 1.5)
    said = only.prompts.at(1, 1)
    timestep = torch.tensor(parts.table.timestep(1.5))
    latents = x / (1 + 1.5**2) ** 0.5

    def network(text: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
        seen = torch.cat([latents, channels], dim=1)
        result: torch.Tensor = parts.unet(seen, timestep, encoder_hidden_states=text, return_dict=False)[0]
        return result

    assert begun.channels is not None
    assert said.uncond is not None
    nothing = network(said.uncond.hidden, torch.zeros_like(begun.channels))
    picture, both = (network(text.hidden, begun.channels) for text in (said.uncond, said.conds[0]))
    predicted = nothing + 1.7 * (picture - nothing) + scale * (both - picture)
    assert torch.allclose(ours, x - 1.5 * predicted, atol=1e-4)
