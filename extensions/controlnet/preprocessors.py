"""The preprocessors by name, and the values that each of them has. What they do with a picture is told in `filters`.

Names and default values are those of AUTOMATIC1111's ControlNet extension where it has the same thing.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """One of the two numbers that a preprocessor may have."""

    label: str
    minimum: float
    maximum: float
    default: float


@dataclass(frozen=True)
class Preprocessor:
    """One way of making a control picture."""

    values: tuple[Value, ...] = ()
    needs_mask: bool = False
    """The masked part is cut out of the control picture, for ControlNets that inpaint."""

    def value(self, number: int, asked: float) -> float:
        """What was asked for, or the default for -1 and everything out of range; 0 when there is no such value."""
        if number >= len(self.values):
            return 0.0
        value = self.values[number]
        return asked if value.minimum <= asked <= value.maximum else value.default


_GAMMA = (Value("Gamma", 0.1, 2.0, 1.0),)

PREPROCESSORS: Mapping[str, Preprocessor] = {
    "none": Preprocessor(),
    "canny": Preprocessor((Value("Low threshold", 1, 255, 100), Value("High threshold", 1, 255, 200))),
    "softedge_gradient": Preprocessor((Value("Blur", 0.3, 10, 1.0),)),
    "lineart_standard": Preprocessor((Value("Gaussian sigma", 0.1, 32, 6.0), Value("Intensity", 0, 16, 8))),
    "scribble_xdog": Preprocessor((Value("XDoG threshold", 1, 64, 32),)),
    "threshold": Preprocessor((Value("Binarization threshold", 0, 255, 127),)),
    "invert": Preprocessor(),
    "blur_gaussian": Preprocessor((Value("Sigma", 0.01, 64, 9.0),)),
    "tile_resample": Preprocessor((Value("Down sampling rate", 1, 8, 1.0),)),
    "shuffle": Preprocessor(),
    "recolor_luminance": Preprocessor(_GAMMA),
    "recolor_intensity": Preprocessor(_GAMMA),
    "t2ia_color_grid": Preprocessor(),
    "inpaint_global_harmonious": Preprocessor(needs_mask=True),
}


def pixel_perfect(size: tuple[int, int], target: tuple[int, int], *, is_filled: bool) -> int:
    """The resolution at which one pixel of the control picture is one of the result; sizes are (width, height)."""
    ratios = [target[side] / size[side] for side in (0, 1)]
    return round((min(ratios) if is_filled else max(ratios)) * min(size))
