"""Easel's own folders: drawn from a class's name or from nothing, over a KL or a VQ autoencoder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny
from tests.engine.helpers import engine_of, picture_of, request, run
from webui.engine.embedders import ClassEmbedder, NothingEmbedder
from webui.events import Failed

pytestmark = pytest.mark.torch

CLASSES = ("cat", "red dog", "house")


def build(folder: Path, embedder: Any, *, is_quantised: bool = False, **card: object) -> Path:
    from diffusers import VQModel

    def first_stage() -> Any:
        if not is_quantised:
            return tiny._vae()
        return VQModel(
            block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4, num_vq_embeddings=16,
            vq_embed_dim=4,
        )  # fmt: skip

    tiny._write_parts(folder, {"conditioner": embedder, "unet": tiny._unet, "vae": first_stage}, 0)
    tiny._write_scheduler(folder, "epsilon")
    tiny._write_index(folder, "EaselLatentDiffusionPipeline", conditioner=["webui.training.conditioning", "X"])
    (folder / "easel.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="module")
def by_class(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "classes"
    return build(folder, lambda: ClassEmbedder(classes=3, features=16), conditioning="class", classes=list(CLASSES))


def test_a_class_is_drawn_as_training_draws_it(by_class: Path) -> None:
    """The same latents by DDIM as the pictures that a training shows, from the class beside none."""
    from webui.training.checkpoint_folder import load_denoiser
    from webui.training.conditioning import Condition
    from webui.training.networks import load_first_stage
    from webui.training.objective import Objective, noise_config
    from webui.training.sampling import Model, Wish, sample

    wanted = request(prompt="Red dog", sampler="DDIM", num_inference_steps=5, guidance_scale=3.0)
    wish = Wish(
        condition=Condition(torch.tensor([1])), null=Condition(torch.tensor([3])), size=(64, 64), seeds=[wanted.seed],
        steps=5, guidance_scale=3.0,
    )  # fmt: skip
    config = {**noise_config("scaled_linear", "epsilon"), "steps_offset": 1, "timestep_spacing": "leading"}
    model = Model(
        predict=load_denoiser(by_class), first_stage=load_first_stage(by_class, "cpu"), objective=Objective(config)
    )
    theirs = np.asarray(sample(model, wish)[0]).astype(int)
    assert np.abs(picture_of(engine_of(by_class), wanted) - theirs).max() <= 1


def test_another_class_is_another_picture_and_none_is_allowed(by_class: Path) -> None:
    engine = engine_of(by_class)
    drawn = [picture_of(engine, request(prompt=text)) for text in ("cat", "house", "", "[cat:house:0.5]")]
    assert len({picture.tobytes() for picture in drawn}) == 4


def test_an_unknown_class_is_refused_with_the_list_of_the_known(by_class: Path) -> None:
    failed = run(engine_of(by_class), request(prompt="zebra"))[-1]
    assert isinstance(failed, Failed)
    assert str(failed.text) == "Unknown class 'zebra'. Known: cat, red dog, house."


def test_what_knows_nothing_draws_from_nothing(tmp_path: Path) -> None:
    engine = engine_of(build(tmp_path / "own", lambda: NothingEmbedder(features=16), is_quantised=True))
    assert picture_of(engine, request(prompt="")).std() > 1
    failed = run(engine, request(prompt="a cat"))[-1]
    assert isinstance(failed, Failed)
    assert "draws without words" in str(failed.text)


def test_a_list_of_classes_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    own = build(tmp_path / "own", lambda: ClassEmbedder(classes=3, features=16), classes=["cat", "red dog"])
    failed = run(engine_of(own), request(prompt=""))[-1]
    assert isinstance(failed, Failed)
    assert "easel.json names 2 classes and its conditioner knows 3" in str(failed.text)


def test_a_quantised_autoencoder_short_of_memory_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no tiles to decode in."""
    engine = engine_of(build(tmp_path / "own", lambda: NothingEmbedder(features=16), is_quantised=True))
    run(engine, request(prompt=""))
    components = engine._models.loaded
    assert components is not None

    def refuse(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(components.vae, "decode", refuse)
    failed = run(engine, request(prompt=""))[-1]
    assert isinstance(failed, Failed)
    assert failed.error == "OutOfMemory"
