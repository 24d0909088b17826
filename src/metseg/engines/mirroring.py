"""Passes over an image and its mirror images."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mirroring = Literal["none", "gated", "all"]
Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def mirrorings(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """All sets of the axes, the empty one first."""
    return [some for count in range(len(axes) + 1) for some in combinations(axes, count)]


def mirroring_rounds(axes: Sequence[int]) -> list[list[tuple[int, ...]]]:
    """All sets of the axes but the empty one, in rounds that each double the number of passes; opposites together."""
    order: list[tuple[int, ...]] = []
    for some in mirrorings(axes):
        if some not in order:
            order += [some, tuple(axis for axis in axes if axis not in some)]
    return [order[2**n : 2 ** (n + 1)] for n in range(len(axes))]


def mirrored_sum(infer: Infer, image: NDArray[np.float32], sets: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
    """The sum of the passes over an image (channel, *axes) mirrored along each set of axes, each turned back."""
    total: NDArray[np.float32] | None = None
    for some in sets:
        axes = tuple(axis + 1 for axis in some)
        found = np.flip(infer(np.flip(image, axes)), axes)
        if total is None:
            total = found
        else:
            total += found
    if total is None:
        raise ValueError("There is no pass to add up.")
    return total


def mirrored_mean(infer: Infer, image: NDArray[np.float32], axes: Sequence[int]) -> NDArray[np.float32]:
    """The mean of the passes over an image (channel, *axes) mirrored along all sets of the axes, each turned back."""
    sets = mirrorings(axes)
    total = mirrored_sum(infer, image, sets)
    total /= len(sets)
    return total
