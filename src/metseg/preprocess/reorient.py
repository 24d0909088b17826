"""Turn the voxel axes to the nearest of RAS: exact, no interpolation."""

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from metseg.core.grid import Grid
from metseg.core.options import Options


def ras_grid(grid: Grid) -> tuple[Grid, tuple[int, int, int], tuple[int, ...]]:
    """The same voxels with axes in the order and sense nearest to right, anterior, superior.

    Returns:
        The grid; the old axis that each new axis was; the new axes that run backwards along the old ones.
    """
    order = grid.axis_order
    flipped = tuple(new for new, old in enumerate(order) if grid.direction[new, old] < 0)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, order]
    i, j, k = (grid.shape[old] for old in order)
    for axis in flipped:
        affine[:3, 3] += affine[:3, axis] * ((i, j, k)[axis] - 1)
        affine[:3, axis] *= -1
    return Grid((i, j, k), affine), order, flipped


class Reorient(Options):
    """Step: permute and flip voxel axes to the nearest of RAS."""

    name: Literal["reorient"] = "reorient"

    def apply(self, array: Float[np.ndarray, "*channel i j k"], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """The same voxels, reordered, and their grid."""
        turned, order, flipped = ras_grid(grid)
        lead = array.ndim - 3
        moved = array.transpose(*range(lead), *(lead + axis for axis in order))
        return np.ascontiguousarray(np.flip(moved, tuple(lead + axis for axis in flipped))), turned


def turned_back(array: Shaped[np.ndarray, "i j k"], grid: Grid) -> NDArray[Any]:
    """What ``Reorient`` made of an image on ``grid``, or labels found there, as it was before."""
    _, order, flipped = ras_grid(grid)
    return np.ascontiguousarray(np.flip(array, flipped).transpose(np.argsort(order)))
