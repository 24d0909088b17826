"""Voxels as flat places in a box: few voxels of a head are lesion, so only those are looked at."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
Steps = tuple[tuple[int, int, int], ...]


def _steps(*lengths: int) -> Steps:
    """Steps to neighbours that differ in so many indices."""
    around = (-1, 0, 1)
    return tuple(step for step in product(around, around, around) if np.count_nonzero(step) in lengths)


FACES: Steps = _steps(1)
FACES_AND_EDGES: Steps = _steps(1, 2)


@dataclass(frozen=True)
class Box:
    """A box of voxels with an empty layer around it, so that every voxel has all its neighbours.

    A place is the index of a voxel in the flat array of the box (i, then j, then k).

    Args:
        shape: number of voxels along i, j, k, the empty layer included.
    """

    shape: tuple[int, int, int]

    def zeros(self, dtype: type[np.generic]) -> NDArray[Any]:
        """A flat array of the box."""
        return np.zeros(math.prod(self.shape), dtype=dtype)

    def step(self, step: tuple[int, int, int]) -> int:
        """What to add to a place to go ``step`` voxels along i, j, k."""
        return (step[0] * self.shape[1] + step[1]) * self.shape[2] + step[2]

    def indices(self, places: Places) -> NDArray[np.int64]:
        """Voxel indices (n, 3) in the box."""
        return np.stack(np.unravel_index(places, self.shape), axis=1)

    def clear_layer(self, flat: NDArray[Any]) -> None:
        """Empty the outermost layer of a flat array of the box."""
        array = flat.reshape(self.shape)
        for axis in range(3):
            np.moveaxis(array, axis, 0)[[0, -1]] = 0


@dataclass(frozen=True, eq=False)
class Voxels:
    """The non-zero voxels of an array: their places, increasing, and their values."""

    places: Places
    values: NDArray[Any]

    def of(self, labels: Iterable[int]) -> Places:
        """The places of some of the values."""
        return self.places[np.isin(self.values, list(labels))]


def _nonzero(array: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Indices (n, 3) and values of the non-zero voxels; read in the order in which they lie in memory."""
    reverse = array.flags.f_contiguous and not array.flags.c_contiguous
    flat = (array.T if reverse else array).ravel()
    places = np.flatnonzero(flat != 0)
    indices = np.stack(np.unravel_index(places, array.shape[::-1] if reverse else array.shape), axis=1)
    return indices[:, ::-1] if reverse else indices, flat[places]


def common_box(*arrays: NDArray[Any]) -> tuple[Box, list[Voxels]]:
    """The smallest box that holds the non-zero voxels of some arrays of one shape, and what neighbours them.

    Inside its empty layer it reaches two voxels further than they do, but never out of the volume: what is dilated
    once lies in the empty layer only where it lies out of the volume.
    """
    found = [_nonzero(array) for array in arrays]
    filled = [indices for indices, _ in found if len(indices)] or [np.zeros((1, 3), dtype=np.int64)]
    start = np.maximum(np.min([indices.min(axis=0) for indices in filled], axis=0) - 2, 0)
    stop = np.minimum(np.max([indices.max(axis=0) for indices in filled], axis=0) + 3, arrays[0].shape)
    i, j, k = (stop - start + 2).tolist()
    box = Box((i, j, k))
    voxels = []
    for indices, values in found:
        places = (indices - start + 1) @ np.array([j * k, k, 1])
        order = np.argsort(places, kind="stable")
        voxels.append(Voxels(places[order], values[order]))
    return box, voxels
