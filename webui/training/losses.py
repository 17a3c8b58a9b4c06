"""What a first stage is trained with: likeness of pictures, a discriminator that plays against it, regularisation.

Pictures are (n, 3, h, w) in [-1, 1]. Functions only, and one network; who calls them when is `autoencoder`'s. The
perceptual distance is `features.FeatureNetwork.distance`, the commitment loss of VQ diffusers' own.
"""

import torch
import torch.nn.functional as F
from torch import nn

LARGEST_ADAPTIVE_WEIGHT = 1e4
SCALES = 3


def reconstruction_loss(picture: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """L1 + 0.5 L2, plus gradients at three scales (edges) and averages (colour)."""
    loss = (picture - decoded).abs().mean() + 0.5 * (picture - decoded).pow(2).mean()
    for _ in range(SCALES):
        loss = loss + 0.5 * gradient_loss(picture, decoded)
        picture, decoded = F.avg_pool2d(picture, 2), F.avg_pool2d(decoded, 2)
        loss = loss + 0.2 * (picture - decoded).abs().mean()
    return loss


def gradient_loss(picture: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """L1 of the differences between neighbouring pixels, both directions added: edges that are lost or invented."""
    return torch.stack([(picture.diff(dim=axis) - decoded.diff(dim=axis)).abs().mean() for axis in (2, 3)]).sum()


def kl_term(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Divergence of N(mean, variance) from N(0, 1), mean over all latent elements.

    Kingma & Welling 2014, appendix B; Rombach et al. 2022, section 3.1, weigh it by 1e-6.
    """
    return 0.5 * (mean.pow(2) + log_variance.exp() - 1 - log_variance).mean()


class PatchDiscriminator(nn.Module):
    """Says for every patch of 70×70 pixels whether it is real: Isola et al. 2017, section 3.2 and appendix 6.1.2.

    Pictures from 24×24 pixels on. `channels` is the width of the first layer, 64 in the paper.
    """

    def __init__(self, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [min(2**level, 8) * channels for level in range(layers + 1)]
        modules: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            modules += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride, padding=1, bias=False),
                nn.BatchNorm2d(widths[level]),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*modules, nn.Conv2d(widths[-1], 1, 4, padding=1))
        for module in self.layers:  # appendix 6.2: normal, deviation 0.02
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 1, h', w'): above zero for real."""
        scores: torch.Tensor = self.layers(pictures)
        return scores


def discriminator_loss(real: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """Hinge loss of a discriminator's scores: Lim & Ye 2017 (arXiv:1705.02894), eq. 4, halved as VQGAN does."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + decoded).mean())


def adversarial_loss(decoded: torch.Tensor) -> torch.Tensor:
    """What the decoder wants of the scores of its pictures: to be taken for real; the generator's part of the same."""
    return -decoded.mean()


def adaptive_weight(likeness: torch.Tensor, adversarial: torch.Tensor, last: nn.Parameter) -> torch.Tensor:
    """How strongly the adversarial loss counts, so that both pull equally hard at the decoder's `last` layer.

    Esser et al. 2021 (arXiv:2012.09841), eq. 7. A number without gradient, at most 10 000.
    """
    (of_likeness,) = torch.autograd.grad(likeness, last, retain_graph=True)
    (of_adversarial,) = torch.autograd.grad(adversarial, last, retain_graph=True)
    weight = of_likeness.float().norm() / (of_adversarial.float().norm() + 1e-6)
    bounded: torch.Tensor = weight.clamp(max=LARGEST_ADAPTIVE_WEIGHT).detach()
    return bounded
