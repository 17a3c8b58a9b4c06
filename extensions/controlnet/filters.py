"""Control pictures made from pictures, by filters alone: lines, edges, tones, colours. Knows no networks.

Pictures are (height, width, 3) arrays of bytes, RGB. What the filters are called and the limits of their values are
told in `preprocessors`.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from .preprocessors import PREPROCESSORS

Picture: TypeAlias = NDArray[np.uint8]


def preprocess(name: str, picture: Picture, resolution: int, a: float = -1.0, b: float = -1.0) -> Picture:
    """The control picture, whose shorter side is `resolution`, both sides rounded to multiples of 64. What needs no
    looking at comes back as it was."""
    preprocessor = PREPROCESSORS[name]
    if name not in FILTERS:
        return picture
    return FILTERS[name](resized(picture, resolution), preprocessor.value(0, a), preprocessor.value(1, b))


def resized(picture: Picture, resolution: int) -> Picture:
    """With a shorter side of `resolution`, both sides rounded to multiples of 64."""
    height, width = picture.shape[:2]
    scale = resolution / min(height, width)
    size = tuple(max(64, round(side * scale / 64) * 64) for side in (width, height))
    how = cv2.INTER_LANCZOS4 if scale > 1 else cv2.INTER_AREA
    return _bytes(cv2.resize(picture, size, interpolation=how))


# Lines and edges.


def canny(picture: Picture, low: float, high: float) -> Picture:
    """Thin white edges on black: Canny 1986."""
    return _grey(cv2.Canny(picture, low, high))


def soft_edges(picture: Picture, blur: float, _: float) -> Picture:
    """Edges as bright as they are strong: the gradient of the blurred picture, its hundredth strongest pixel white."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), blur)
    across, down = (cv2.Scharr(smooth, cv2.CV_32F, *direction) for direction in ((1, 0), (0, 1)))
    strength = np.sqrt(across**2 + down**2).max(axis=2)
    return _grey(strength * (255 / max(float(np.percentile(strength, 99)), 1.0)))


def lineart(picture: Picture, blur: float, least: float) -> Picture:
    """White strokes where the picture is darker than its surroundings, evened out over light and dark drawings."""
    pixels = picture.astype(np.float32)
    darker = (cv2.GaussianBlur(pixels, (0, 0), blur) - pixels).min(axis=2).clip(0, 255)
    strokes = darker[darker > least]
    return _grey(darker * (127 / max(16.0, float(np.median(strokes)) if strokes.size else 0.0)))


def scribble(picture: Picture, threshold: float, _: float) -> Picture:
    """Broad strokes, black and white: the difference of two Gaussians, extended (Winnemöller et al. 2012)."""
    pixels = picture.astype(np.float32)
    narrow, broad = (cv2.GaussianBlur(pixels, (0, 0), blur) for blur in (0.5, 5.0))
    darker = (broad - narrow).min(axis=2).clip(0, 255)
    return _grey(np.where(2 * darker > threshold, 255, 0))


# Tones.


def threshold(picture: Picture, least: float, _: float) -> Picture:
    """White where every channel is above the threshold."""
    return _grey(np.where(picture.min(axis=2) > least, 255, 0))


def invert(picture: Picture, _: float, __: float) -> Picture:
    """For drawings with dark lines on white."""
    return _bytes(255 - picture)


def blur(picture: Picture, sigma: float, _: float) -> Picture:
    """Gaussian."""
    return _bytes(cv2.GaussianBlur(picture, (0, 0), sigma))


def tile(picture: Picture, rate: float, _: float) -> Picture:
    """The picture made coarser, so that its details are drawn anew."""
    height, width = picture.shape[:2]
    size = max(1, int(width / rate)), max(1, int(height / rate))
    return _bytes(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def luminance(picture: Picture, gamma: float, _: float) -> Picture:
    """How light each pixel is to the eye: L of CIELAB."""
    return _toned(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[:, :, 0], gamma)


def intensity(picture: Picture, gamma: float, _: float) -> Picture:
    """The strongest channel of each pixel: V of HSV."""
    return _toned(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[:, :, 2], gamma)


# Colours.


def colours(picture: Picture, _: float, __: float) -> Picture:
    """One colour for every 64 × 64 pixels."""
    height, width = picture.shape[:2]
    grid = cv2.resize(picture, (max(1, width // 64), max(1, height // 64)), interpolation=cv2.INTER_CUBIC)
    return _bytes(cv2.resize(grid, (width, height), interpolation=cv2.INTER_NEAREST))


def shuffle(picture: Picture, _: float, __: float) -> Picture:
    """The picture's colours and textures moved about smoothly; the same picture comes out the same way each time."""
    height, width = picture.shape[:2]
    random = np.random.default_rng(0)
    flow = [_smooth_noise(random, height, width) for _ in range(2)]
    across, down = (noise * (side - 1) for noise, side in zip(flow, (width, height), strict=True))
    return _bytes(cv2.remap(picture, across, down, cv2.INTER_LINEAR))


def _smooth_noise(random: np.random.Generator, height: int, width: int, waves: int = 4) -> NDArray[np.float32]:
    """(height, width) from 0 to 1, with about `waves` hills along the shorter side."""
    unit = min(height, width) / waves
    grid = random.random((int(height / unit) + 2, int(width / unit) + 2), dtype=np.float32)
    noise = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.asarray((noise - noise.min()) / max(float(np.ptp(noise)), 1e-6), dtype=np.float32)


def _toned(tones: NDArray[np.generic], gamma: float) -> Picture:
    return _grey((tones.astype(np.float32) / 255) ** gamma * 255)


def _grey(tones: NDArray[np.generic]) -> Picture:
    """(height, width) -> a picture of three equal channels."""
    return np.repeat(_bytes(tones)[:, :, None], 3, axis=2)


def _bytes(values: NDArray[np.generic]) -> Picture:
    return np.asarray(values.clip(0, 255), dtype=np.uint8)


FILTERS: Mapping[str, Callable[[Picture, float, float], Picture]] = {
    "canny": canny,
    "softedge_gradient": soft_edges,
    "lineart_standard": lineart,
    "scribble_xdog": scribble,
    "threshold": threshold,
    "invert": invert,
    "blur_gaussian": blur,
    "tile_resample": tile,
    "shuffle": shuffle,
    "recolor_luminance": luminance,
    "recolor_intensity": intensity,
    "t2ia_color_grid": colours,
}
"""Preprocessor -> what it does with a picture and its two values."""
