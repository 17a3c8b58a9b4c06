"""The normal noise that NVIDIA cards draw, computed anywhere: Philox 4×32-10 and Box and Muller's transform.

Salmon et al. 2011 (Parallel random numbers: as easy as 1, 2, 3), section 3.3; counter and key as torch.randn of CUDA
sets them for a small tensor.
"""

from typing import Any, TypeAlias

import numpy as np

Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
"""32 bit words, held in 64 bits so that a product keeps its upper half."""

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_UNIT = np.float32(2.0**-32)


def philox(counter: tuple[Words, Words, Words, Words], seed: int) -> tuple[Words, Words, Words, Words]:
    """Four random words for each counter of four words, under a key of 64 bits."""
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    first, second, third, fourth = counter
    for _ in range(ROUNDS):
        one, other = first * np.uint64(MULTIPLIERS[0]), third * np.uint64(MULTIPLIERS[1])
        first, third = other >> _HALF ^ second ^ np.uint64(key[0]), one >> _HALF ^ fourth ^ np.uint64(key[1])
        second, fourth = other & _LOW, one & _LOW
        key = [(word + step) & 0xFFFFFFFF for word, step in zip(key, WEYL, strict=True)]
    return first, second, third, fourth


def cuda_normal(count: int, seed: int, draw: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(count,) standard normal numbers, fp32: the `draw`-th draw, from 0, of the generator of that seed."""
    numbers = np.arange(count, dtype=np.uint64)
    nothing = np.zeros(count, dtype=np.uint64)
    words = philox((nothing + np.uint64(draw), nothing, numbers, nothing), seed)
    uniform = words[0].astype(np.float32) * _UNIT + _UNIT / 2
    turn = np.float32(2 * np.pi)
    angle = words[1].astype(np.float32) * (_UNIT * turn) + _UNIT * turn / 2
    normal: np.ndarray[Any, np.dtype[np.float32]] = np.sqrt(-2 * np.log(uniform)) * np.sin(angle)
    return normal.astype(np.float32)
