"""Gives a picture the colours of another one: histograms in CIE Lab, brightness left as it is.

Pixels with numpy alone; which picture gives the colours is decided in `beginning`.
"""

from typing import Any, TypeAlias

import numpy as np
from PIL import Image

Planes: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
"""(height, width, 3)."""

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
"""Linear sRGB to XYZ (ITU-R BT.709 primaries, white D65)."""
_WHITE = _TO_XYZ.sum(1)
_LUMA = np.array([0.3, 0.59, 0.11])
"""Weights of brightness in the W3C's Compositing and Blending, section 10.2."""


def coloured_as(picture: Image.Image, model: Image.Image) -> Image.Image:
    """RGB `picture` with the histogram of `model` in each channel of Lab (8 bit, as AUTOMATIC1111), then back to its
    own brightness (the W3C's blend mode luminosity)."""
    own, wanted = (np.clip(to_lab(np.asarray(each) / 255).round(), 0, 255).astype(int) for each in (picture, model))
    matched = np.stack([_matched(own[..., n], wanted[..., n]) for n in range(3)], axis=-1)
    pixels = with_brightness(np.clip(from_lab(matched), 0, 1), np.asarray(picture) / 255 @ _LUMA)
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def _matched(levels: Any, model: Any) -> Planes:
    """Levels 0 to 255 moved so that as many lie below each as in `model` (histogram matching)."""
    below, below_model = (np.cumsum(np.bincount(each.ravel(), minlength=256)) / each.size for each in (levels, model))
    there = np.unique(model)
    moved: Planes = np.interp(below, below_model[there], there)[levels]
    return moved


def to_lab(pixels: Planes) -> Planes:
    """sRGB in [0, 1] to Lab in steps of 8 bits: L × 2.55, a + 128, b + 128."""
    linear = np.where(pixels > 0.04045, ((pixels + 0.055) / 1.055) ** 2.4, pixels / 12.92)
    xyz = linear @ _TO_XYZ.T / _WHITE
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([(116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128], axis=-1)


def from_lab(lab: Planes) -> Planes:
    """The inverse of `to_lab`; colours outside of sRGB are not cut."""
    y = (lab[..., 0] / 2.55 + 16) / 116
    root = np.stack([y + (lab[..., 1] - 128) / 500, y, y - (lab[..., 2] - 128) / 200], axis=-1)
    xyz = np.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29)) * _WHITE
    linear = np.maximum(xyz @ np.linalg.inv(_TO_XYZ).T, 0)
    pixels: Planes = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return pixels


def with_brightness(pixels: Planes, brightness: Any) -> Planes:
    """`pixels` moved along grey to (height, width) `brightness`, and towards it where a channel would leave [0, 1]."""
    moved = pixels + (brightness - pixels @ _LUMA)[..., None]
    middle = brightness[..., None]
    low, high = moved.min(-1, keepdims=True), moved.max(-1, keepdims=True)
    share = np.ones_like(low)
    np.divide(middle, middle - low, out=share, where=low < 0)
    share_high = np.ones_like(high)
    np.divide(1 - middle, high - middle, out=share_high, where=high > 1)
    kept: Planes = np.clip(middle + (moved - middle) * np.minimum(share, share_high), 0, 1)
    return kept
