"""Losses of the first stage: what they see, what they leave alone, and that players of the game learn."""

import pytest

pytestmark = pytest.mark.torch


def picture(seed=0, side=32):
    import torch
    import torch.nn.functional as F

    generator = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1, side, mode="bilinear")


def test_equal_pictures_cost_nothing_and_every_kind_of_damage_costs_something():
    import torch
    import torch.nn.functional as F

    from webui.training.losses import reconstruction_loss

    real = picture()
    assert float(reconstruction_loss(real, real)) == 0
    blurred = F.interpolate(F.avg_pool2d(real, 4), 32, mode="bilinear")
    for damaged in (real + 0.1, real + 0.1 * torch.randn(real.shape), real.roll(2, 3), blurred):
        assert float(reconstruction_loss(real, damaged)) > 0.01


def test_the_gradient_loss_sees_edges_and_not_shades():
    import torch

    from webui.training.losses import gradient_loss

    real = torch.zeros(1, 3, 8, 8)
    real[..., 4:] = 1
    assert float(gradient_loss(real, real + 0.3)) == pytest.approx(0, abs=1e-6)
    # One column of seven differences of 1 is missing, in one direction of two.
    assert float(gradient_loss(real, torch.zeros_like(real))) == pytest.approx(1 / 7)


def test_the_kl_term_is_the_divergence_of_torchs_own_distributions():
    import torch
    from torch.distributions import Normal, kl_divergence

    from webui.training.losses import kl_term

    mean, log_variance = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).mean()
    assert torch.allclose(kl_term(mean, log_variance), expected, rtol=1e-5)


def test_a_score_of_the_discriminator_depends_on_70_pixels_around_it():
    import torch

    from webui.training.losses import PatchDiscriminator

    network = PatchDiscriminator(8).eval()
    pictures = torch.randn(1, 3, 128, 128, requires_grad=True)
    scores = network(pictures)
    scores[0, 0, 7, 7].backward()
    seen = pictures.grad.abs().sum((0, 1))
    rows, columns = (int((seen.sum(axis) > 0).sum()) for axis in (0, 1))
    assert (rows, columns) == (70, 70)
    assert network(torch.zeros(1, 3, 32, 40)).shape == (1, 1, 2, 3)


def test_the_discriminator_learns_to_tell_and_the_hinge_is_content_beyond_one():
    import torch

    from webui.training.losses import PatchDiscriminator, adversarial_loss, discriminator_loss

    assert float(discriminator_loss(torch.tensor([1.0, 5.0]), torch.tensor([-1.0, -9.0]))) == 0
    assert float(discriminator_loss(torch.zeros(3), torch.zeros(3))) == 1
    assert float(adversarial_loss(torch.tensor([2.0, 4.0]))) == -3
    torch.manual_seed(0)
    network = PatchDiscriminator(8)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    smooth, noisy = picture(), picture() + 0.3 * torch.randn(2, 3, 32, 32)
    losses = []
    for _ in range(12):
        loss = discriminator_loss(network(smooth), network(noisy))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_the_adaptive_weight_makes_both_losses_pull_equally_hard():
    import torch

    from webui.training.losses import adaptive_weight

    layer = torch.nn.Linear(3, 3)
    out = layer(torch.randn(5, 3))
    likeness, adversarial = (out - 1).pow(2).mean(), 0.001 * out.mean()
    weight = adaptive_weight(likeness, adversarial, layer.weight)
    assert not weight.requires_grad
    (one,) = torch.autograd.grad(likeness, layer.weight, retain_graph=True)
    (other,) = torch.autograd.grad(weight * adversarial, layer.weight, retain_graph=True)
    assert float(one.norm()) == pytest.approx(float(other.norm()), rel=0.01)
    assert float(adaptive_weight(1e9 * likeness, adversarial, layer.weight)) == 10_000
