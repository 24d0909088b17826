"""The mean over an image and its mirror images."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray


def mirrorings(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """All sets of the axes, the empty one first."""
    return [some for count in range(len(axes) + 1) for some in combinations(axes, count)]


def mirrored_mean(
    infer: Callable[[NDArray[np.float32]], NDArray[np.float32]], image: NDArray[np.float32], axes: Sequence[int]
) -> NDArray[np.float32]:
    """The mean of the passes over an image (channel, *axes) mirrored along all sets of the axes, each turned back."""
    sets = [tuple(axis + 1 for axis in some) for some in mirrorings(axes)]
    total = infer(image)
    for some in sets[1:]:
        total += np.flip(infer(np.flip(image, some)), some)
    total /= len(sets)
    return total
