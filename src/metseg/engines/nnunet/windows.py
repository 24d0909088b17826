"""Where nnU-Net's windows lie, and how much each voxel of a window counts."""

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Place = tuple[slice, ...]


def window_starts(size: Sequence[int], window: Sequence[int], step: float = 0.5) -> list[list[int]]:
    """First voxels of the windows along each axis: evenly spread, at most ``step`` windows apart.

    Args:
        size: of the image, nowhere smaller than the window.
        window: its size.
        step: of its size, in (0, 1].
    """
    starts = []
    for n, width in zip(size, window, strict=True):
        count = int(np.ceil((n - width) / (width * step))) + 1
        apart = (n - width) / max(count - 1, 1)
        starts.append([int(np.round(apart * number)) for number in range(count)])
    return starts


def windows(size: Sequence[int], window: Sequence[int], step: float = 0.5) -> Iterator[Place]:
    """The windows, the last axis fastest. A window of one axis less than the image lies in one slice of the first."""
    flat = len(size) - len(window)
    slices = [[slice(n, n + 1) for n in range(size[0])]] if flat else []
    rest = [
        [slice(start, start + width) for start in starts]
        for starts, width in zip(window_starts(size[flat:], window, step), window, strict=True)
    ]
    return product(*slices, *rest)


def importance(window: Sequence[int]) -> NDArray[np.float32]:
    """A Gaussian of a standard deviation of an eighth of the window, 1 in the middle: (i, j, k), or (j, k)."""
    axes = []
    for n in window:
        middle = np.zeros(n)
        middle[n // 2] = 1
        bell = gaussian_filter1d(middle, n / 8, mode="constant")
        axes.append(bell / bell.max())
    return np.asarray(reduce(np.multiply.outer, axes), dtype=np.float32)


def padding(size: Sequence[int], window: Sequence[int]) -> list[tuple[int, int]]:
    """Voxels to add before and after each axis so that the window fits."""
    flat = len(size) - len(window)
    missing = [0] * flat + [max(0, width - n) for n, width in zip(size[flat:], window, strict=True)]
    return [(n // 2, n - n // 2) for n in missing]
