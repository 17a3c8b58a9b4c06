"""Figures about pictures: how near a reconstruction is, and how alike two sets of pictures are.

Pictures are uint8 here, (3, h, w) or (n, 3, h, w). What compares sets goes through torchmetrics on the features of a
judge (`webui.training.features`); nothing is fetched. The figures of two judges cannot be compared with each other.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from webui.errors import MissingTrainingData
from webui.pictures import SUFFIXES, read_picture
from webui.training.features import Judge, load_judge

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_CONSTANTS = (0.01, 0.03)
NEIGHBOURS = 3
"""Of precision and recall: Kynkäänniemi et al. 2019, section 5.1."""
JUDGED_TOGETHER = 32
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
INCEPTION_SPLITS = 10
SMALLEST_LOG_PROBABILITY = -40.0


def psnr(pictures: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(n,): peak signal-to-noise ratio in dB of uint8 pictures (n, 3, h, w); equal ones have 90 dB, not infinity."""
    error = ((pictures.double() - others.double()) / 255).pow(2).mean((1, 2, 3))
    return -10 * torch.log10(error + 1e-9)


def ssim(pictures: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(n,): structural similarity of uint8 pictures (n, 3, h, w), at most 1, mean over the colours.

    Wang et al. 2004, eq. 13, with its Gaussian window of 11 pixels and sigma 1.5, where it lies within the picture; it
    is narrower in pictures that are smaller than it.
    """
    side = min(SSIM_WINDOW, *pictures.shape[-2:])
    places = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    row = torch.exp(-places.pow(2) / (2 * SSIM_SIGMA**2))
    window = torch.outer(row, row) / row.sum() ** 2

    def blurred(values: torch.Tensor) -> torch.Tensor:
        kernel = window.to(values.device).expand(values.shape[1], 1, side, side)
        return F.conv2d(values, kernel, groups=values.shape[1])

    x, y = pictures.double() / 255, others.double() / 255
    mean_x, mean_y = blurred(x), blurred(y)
    spread_x, spread_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    together = blurred(x * y) - mean_x * mean_y
    first, second = (constant**2 for constant in SSIM_CONSTANTS)
    likeness = (2 * mean_x * mean_y + first) * (2 * together + second)
    return (likeness / ((mean_x**2 + mean_y**2 + first) * (spread_x + spread_y + second))).mean((1, 2, 3))


def folder_pictures(folder: Path) -> Iterator[torch.Tensor]:
    """Every picture below a folder, (3, h, w) uint8, in the order of the names. Raises `UnusablePicture`."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES:
                pixels = np.array(read_picture(Path(parent, name)))
                yield torch.from_numpy(pixels).permute(2, 0, 1)


def compare_folders(real: Path, generated: Path, features: Path | Judge, device: str = "cpu") -> dict[str, float]:
    """`compare_pictures` of two folders, with a judge or its file.

    Raises `CheckpointError` for the file, `UnusablePicture`, and `MissingTrainingData` for too few pictures.
    """
    judge = load_judge(features) if isinstance(features, Path) else features
    return compare_pictures(folder_pictures(real), folder_pictures(generated), judge, device)


def compare_pictures(
    real: Iterable[torch.Tensor], generated: Iterable[torch.Tensor], judge: Judge, device: str = "cpu"
) -> dict[str, float]:
    """FID, KID, precision and recall of generated pictures against real ones, and their Inception score.

    The pictures may differ in size. FID (Heusel et al. 2017) depends on how many there are: the literature uses
    50 000, below some thousand only KID (Bińkowski et al. 2018) is meaningful. The Inception score (Salimans et al.
    2016) needs a judge with classes. Same pictures, same figures. Raises `MissingTrainingData` for fewer than two.
    """
    if isinstance(judge, nn.Module):
        judge.to(device)
    real_features, _ = _judged(real, judge, device)
    fake_features, fake_logits = _judged(generated, judge, device)
    fewest = min(len(real_features), len(fake_features))
    if fewest < 2:
        raise MissingTrainingData(
            "There are {real} real and {generated} generated pictures. Comparing needs two of each.",
            real=len(real_features),
            generated=len(fake_features),
        )
    figures = {"real": float(len(real_features)), "generated": float(len(fake_features))}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # KID and the Inception score draw subsets
        figures |= _distances(real_features, fake_features, min(fewest, KID_SUBSET_SIZE))
        if fake_logits is not None:
            figures |= _inception_score(fake_logits)
    return figures | precision_and_recall(real_features, fake_features)


def _judged(
    pictures: Iterable[torch.Tensor], judge: Judge, device: str
) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
    """Features (n, d) and, when the judge knows classes, logits (n, classes) of uint8 pictures, on the CPU."""
    features, logits = [torch.zeros(0, 1)], []
    with torch.inference_mode():
        for batch in _batches(pictures):
            shown = batch.to(device).float() / 127.5 - 1
            features.append(judge.features(shown).float().cpu())
            guessed = judge.logits(shown)
            if guessed is not None:
                logits.append(guessed.float().cpu())
    found = torch.cat(features[1:]) if len(features) > 1 else features[0]
    return found, torch.cat(logits) if logits else None


def _batches(pictures: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Neighbours of one size together."""
    waiting: list[torch.Tensor] = []
    for picture in pictures:
        for each in picture.unsqueeze(0) if picture.ndim == 3 else picture:
            if waiting and (each.shape != waiting[0].shape or len(waiting) == JUDGED_TOGETHER):
                yield torch.stack(waiting)
                waiting = []
            waiting.append(each)
    if waiting:
        yield torch.stack(waiting)


class _Ready(nn.Module):
    """What torchmetrics takes for a network when the features are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def _distances(real: torch.Tensor, generated: torch.Tensor, subset_size: int) -> dict[str, float]:
    from torchmetrics.image.fid import FrechetInceptionDistance  # seconds, and only needed here
    from torchmetrics.image.kid import KernelInceptionDistance

    network = _Ready(real.shape[1])
    fid = FrechetInceptionDistance(feature=network)
    kid = KernelInceptionDistance(feature=network, subsets=KID_SUBSETS, subset_size=subset_size)
    for metric in (fid, kid):
        metric.update(real, real=True)
        metric.update(generated, real=False)
    mean, deviation = kid.compute()
    return {"fid": float(fid.compute()), "kid": float(mean), "kid_deviation": float(deviation)}


def _inception_score(logits: torch.Tensor) -> dict[str, float]:
    from torchmetrics.image.inception import InceptionScore

    metric = InceptionScore(feature=_Ready(logits.shape[1]), splits=min(INCEPTION_SPLITS, len(logits)))
    # A class that never occurs would make it 0 · ∞.
    metric.update(logits.log_softmax(1).clamp_min(SMALLEST_LOG_PROBABILITY))
    mean, deviation = metric.compute()
    return {"inception_score": float(mean), "inception_score_deviation": float(deviation)}


def precision_and_recall(real: torch.Tensor, generated: torch.Tensor) -> dict[str, float]:
    """Share of generated pictures that look real, and of real ones that could have been generated; features (n, d).

    Improved precision and recall, Kynkäänniemi et al. 2019 (arXiv:1904.06991), eq. 1: a picture belongs to a set when
    it is nearer to a member than that member's third neighbour. Recall falls when variety is lost.
    """
    return {"precision": _share_within(real, generated), "recall": _share_within(generated, real)}


def _share_within(members: torch.Tensor, asked: torch.Tensor) -> float:
    neighbours = min(NEIGHBOURS, len(members) - 1)
    radius = torch.cat(
        [torch.cdist(part, members).kthvalue(neighbours + 1).values for part in torch.split(members, 1000)]
    )  # the nearest is the member itself
    within = [(torch.cdist(part, members) <= radius).any(1) for part in torch.split(asked, 1000)]
    return float(torch.cat(within).float().mean())
