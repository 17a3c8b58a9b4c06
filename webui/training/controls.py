"""Control pictures made from pictures: edges as Canny draws them, and scribbles as a hand would draw those edges.

Knows neither networks nor files.
"""

import math

import torch
import torch.nn.functional as F

BLUR = 1.4
"""Standard deviation in pixels."""
WEAK, STRONG = 0.2, 0.5
"""Thresholds of the gradient of a grey picture in [0, 1]; a sharp step from black to white has about 3."""
LARGEST_SHIFT = 1 / 64
"""Of the shorter side: how far a scribble strays from the edge."""


@torch.no_grad()
def edges(pictures: torch.Tensor, weak: float = WEAK, strong: float = STRONG) -> torch.Tensor:
    """(n, 3, h, w) in [-1, 1] -> (n, 1, h, w), 1 on thin edges, else 0: Canny 1986, all three stages."""
    grey = (pictures * torch.tensor([0.299, 0.587, 0.114], device=pictures.device).view(1, 3, 1, 1)).sum(1, True)
    across, down = gradient(blurred(grey / 2 + 0.5))
    thin = thinned(across, down)
    return connected(thin >= weak, thin >= strong).float()


def blurred(pictures: torch.Tensor, sigma: float = BLUR) -> torch.Tensor:
    """Gaussian blur of (n, 1, h, w), borders continued."""
    radius = math.ceil(2 * sigma)
    line = torch.exp(-(torch.arange(-radius, radius + 1.0, device=pictures.device) ** 2) / (2 * sigma**2))
    line = line / line.sum()
    padded = F.pad(pictures, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))


def gradient(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sobel's derivatives of (n, 1, h, w), to the right and down."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=pictures.device).view(1, 1, 3, 3)
    padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernel), F.conv2d(padded, kernel.transpose(2, 3))


def thinned(across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Length of the gradient where it is a maximum along its own direction (one of four), elsewhere 0."""
    length = (across**2 + down**2).sqrt()
    padded = F.pad(length, (1, 1, 1, 1))
    height, width = length.shape[-2:]

    def neighbour(right: int, below: int) -> torch.Tensor:
        return padded[..., 1 + below : 1 + below + height, 1 + right : 1 + right + width]

    direction = (torch.atan2(down, across) / (math.pi / 4)).round().long() % 4
    is_maximum = torch.zeros_like(length, dtype=torch.bool)
    for number, (right, below) in enumerate(((1, 0), (1, 1), (0, 1), (-1, 1))):
        # ">" on one side only: of two equal neighbours one stays.
        highest = (length >= neighbour(right, below)) & (length > neighbour(-right, -below))
        is_maximum |= (direction == number) & highest
    return length * is_maximum


def connected(weak: torch.Tensor, strong: torch.Tensor) -> torch.Tensor:
    """Hysteresis: the weak places that hang together with a strong one, over corners too. Booleans (n, 1, h, w)."""
    found = strong
    while True:
        grown = (F.max_pool2d(found.float(), 3, 1, 1) > 0) & weak | strong
        if torch.equal(grown, found):
            return found
        found = grown


@torch.no_grad()
def scribbles(lines: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Edges (n, 1, h, w) drawn unsteadily with a thick pen: each strays smoothly and gets a width of 3 to 7 pixels."""
    count, _, height, width = lines.shape
    coarse = LARGEST_SHIFT * min(height, width) * torch.randn(count, 2, 5, 5, generator=generator).tanh()
    pixels = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    shift = pixels * 2 / torch.tensor([width, height])  # grid_sample counts a whole side as 2
    grid = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), [count, 1, height, width], align_corners=False) + shift
    radii = torch.randint(1, 4, (count,), generator=generator).tolist()
    thick = [
        F.max_pool2d(line.unsqueeze(0), 2 * radius + 1, 1, radius) for line, radius in zip(lines, radii, strict=True)
    ]
    moved = F.grid_sample(torch.cat(thick), grid.to(lines), align_corners=False)
    return (moved > 0.5).float()
