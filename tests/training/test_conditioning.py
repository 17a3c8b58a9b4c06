"""Conditions: classes and layouts as tokens, masks and small pictures beside the latents, and what stands for none."""

import pytest

pytestmark = pytest.mark.torch


def test_a_class_has_its_own_token_and_no_class_another():
    import torch

    from webui.engine.embedders import ClassEmbedder

    embedder = ClassEmbedder(classes=3, features=16)
    tokens = embedder(torch.tensor([0, 2, 2, embedder.null]))
    assert tokens.shape == (4, 1, 16)
    assert torch.equal(tokens[1], tokens[2])
    assert not torch.equal(tokens[0], tokens[1])
    assert not torch.equal(tokens[3], tokens[0])


def test_nothing_is_one_learned_token():
    import torch

    from webui.engine.embedders import NothingEmbedder

    tokens = NothingEmbedder(features=16)(torch.zeros(3))
    assert tokens.shape == (3, 1, 16)
    assert tokens.requires_grad


def test_a_layout_token_knows_label_and_place():
    import torch

    from webui.training.conditioning import LabelledBox, LayoutEmbedder, layout_rows

    torch.manual_seed(0)
    embedder = LayoutEmbedder(labels=2, features=16)
    boxes = [LabelledBox(0, 0.1, 0.1, 0.5, 0.5), LabelledBox(1, 0.1, 0.1, 0.5, 0.5), LabelledBox(0, 0.2, 0.1, 0.6, 0.5)]
    tokens = embedder(layout_rows([[box] for box in boxes], 3, embedder.null))
    assert tokens.shape == (3, 3, 16)
    assert not torch.allclose(tokens[0, 0], tokens[1, 0], atol=1e-2), "another label"
    assert not torch.allclose(tokens[0, 0], tokens[2, 0], atol=1e-2), "another place"
    nothing = embedder(layout_rows([()], 3, embedder.null))
    assert torch.equal(nothing[0], tokens[0, 1:2].expand(3, -1)), "an empty place and an empty layout are the same"


def test_of_too_many_boxes_the_largest_stay():
    from webui.training.conditioning import LabelledBox, layout_rows

    small, large = LabelledBox(1, 0.0, 0.0, 0.1, 0.1), LabelledBox(2, 0.0, 0.0, 0.9, 0.9)
    rows = layout_rows([[small, large], [small]], 1, 9)
    assert rows[0, 0].tolist() == pytest.approx([2, 0, 0, 0.9, 0.9])
    assert rows[1, 0, 0] == 1


def test_boxes_follow_the_picture_when_it_is_cut():
    from pathlib import Path

    import numpy as np
    import torch

    from webui.training.batches import Batch, Batches, Group
    from webui.training.data import Box, Example
    from webui.training.steering import ByLayout

    boxes = (
        Box(label="middle", left=0.25, top=0.0, right=0.75, bottom=1.0),
        Box(label="edge", left=0.0, top=0.0, right=0.2, bottom=1.0),
    )
    example = Example(path=Path("a.png"), size=(128, 64), boxes=boxes)
    batches = Batches([example], [Group((64, 64), [0], np.zeros((1, 4, 8, 8)))])
    rows = ByLayout(("edge", "middle"), 2, batches).condition(
        Batch([0], torch.zeros(1, 4, 8, 8), (64, 64), 0, [0]), torch.Generator()
    )
    assert rows.context[0, 0].tolist() == [1, 0, 0, 1, 1], "the middle half fills the square"
    assert rows.context[0, 1, 0] == 2, "what was cut off is no box any more"


def test_dropping_a_condition_leaves_the_picture_beside_the_latents():
    import torch

    from webui.training.conditioning import Condition

    full = Condition(
        torch.ones(2, 3, 4), torch.ones(2, 5), torch.ones(2, 6), torch.ones(2, 1, 8, 8), torch.tensor([1, 2])
    )
    null = Condition(torch.zeros(2, 3, 4), torch.zeros(2, 5), torch.zeros(2, 6))
    left = full.unless(torch.tensor([True, False]), null)
    assert left.context.mean((1, 2)).tolist() == [0, 1]
    assert left.pooled.mean(1).tolist() == [0, 1]
    for name in ("time_ids", "channels", "level"):
        assert torch.equal(getattr(left, name), getattr(full, name))
    numbers = Condition(torch.tensor([4, 5])).unless(torch.tensor([False, True]), Condition(torch.tensor([9, 9])))
    assert numbers.context.tolist() == [4, 9]


def test_two_batches_follow_one_another():
    import torch

    from webui.training.conditioning import Condition

    both = Condition(torch.zeros(1, 2), level=torch.tensor([3])).followed_by(
        Condition(torch.ones(1, 2), level=torch.tensor([4]))
    )
    assert both.context.tolist() == [[0, 0], [1, 1]]
    assert both.level.tolist() == [3, 4]
    assert both.pooled is None


def test_masks_are_boxes_and_strokes_and_sometimes_everything():
    import torch

    from webui.training.conditioning import random_masks

    masks = random_masks(200, (48, 32), torch.Generator().manual_seed(0))
    assert masks.shape == (200, 1, 32, 48)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    shares = masks.mean((1, 2, 3))
    assert (shares > 0).all(), "there is always something to repaint"
    assert 0.15 < float((shares == 1).float().mean()) < 0.4
    assert 0.1 < float(shares[shares < 1].mean()) < 0.7
    assert torch.equal(masks, random_masks(200, (48, 32), torch.Generator().manual_seed(0)))


def test_the_mask_and_the_masked_picture_lie_as_stable_diffusion_takes_them():
    import torch

    from webui.training.conditioning import covered, inpainting_channels

    masks = torch.zeros(1, 1, 64, 64)
    masks[..., :32] = 1
    channels = inpainting_channels(masks, torch.full((1, 4, 8, 8), 7.0))
    assert channels.shape == (1, 5, 8, 8)
    assert channels[0, 0, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0], "first the mask, 1 = repaint"
    assert (channels[:, 1:] == 7).all()
    picture = covered(torch.ones(1, 3, 64, 64), masks)
    assert (picture[..., :32] == 0).all()
    assert (picture[..., 32:] == 1).all()


def test_a_small_picture_holds_the_means_and_gets_noise_by_its_level():
    import torch

    from webui.training.conditioning import MAX_NOISE_LEVEL, low_resolution, with_noise

    picture = torch.arange(16.0).view(1, 1, 4, 4).expand(1, 3, 4, 4)
    assert low_resolution(picture, (2, 2))[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    plain = torch.zeros(2, 3, 32, 32)
    noisy = with_noise(plain, torch.tensor([0, MAX_NOISE_LEVEL]), torch.Generator().manual_seed(0))
    assert noisy[0].std() < 0.02, "level 0 is as good as none"
    expected = (1 - (1 - torch.linspace(1e-4, 0.02, 1000)).cumprod(0)[MAX_NOISE_LEVEL]).sqrt()
    assert float(noisy[1].std()) == pytest.approx(float(expected), rel=0.1)


@pytest.fixture
def unet():
    from tests.tiny import _unet

    return _unet().eval()


def test_a_wider_input_changes_no_bit_at_first_and_then_counts(unet):
    import torch

    from webui.training.conditioning import Condition, Denoiser
    from webui.training.networks import widen_input

    denoiser, words = Denoiser(unet), torch.randn(1, 7, 16)
    latents, beside = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 8, 8)
    before = denoiser(latents, torch.tensor([5]), Condition(words))
    widen_input(unet, 9)
    assert unet.config.in_channels == 9
    after = denoiser(latents, torch.tensor([5]), Condition(words, channels=beside))
    assert torch.equal(after, before)
    after.sum().backward()
    assert unet.conv_in.weight.grad[:, 4:].abs().sum() > 0


def test_the_noise_level_changes_no_bit_at_first_and_then_counts(unet):
    import torch

    from webui.training.conditioning import Condition, Denoiser, take_noise_level

    denoiser, words, latents = Denoiser(unet), torch.randn(2, 7, 16), torch.randn(2, 4, 8, 8)
    before = denoiser(latents, torch.tensor([5, 5]), Condition(words))
    take_noise_level(unet)
    after = denoiser(latents, torch.tensor([5, 5]), Condition(words, level=torch.tensor([0, 40])))
    assert torch.equal(after, before)
    after.sum().backward()
    touched = unet.class_embedding.weight.grad.abs().sum(1).nonzero().flatten().tolist()
    assert touched == [0, 40]


def test_a_conditioner_survives_its_file(tmp_path):
    import torch

    from webui.engine.embedders import ClassEmbedder, NothingEmbedder
    from webui.training.conditioning import LayoutEmbedder

    for number, made in enumerate(
        (ClassEmbedder(classes=3, features=16), LayoutEmbedder(labels=2, features=16), NothingEmbedder(features=8))
    ):
        made.save_pretrained(tmp_path / str(number))
        again = type(made).from_pretrained(tmp_path / str(number), local_files_only=True)
        for name, weight in made.state_dict().items():
            assert torch.equal(again.state_dict()[name], weight)
