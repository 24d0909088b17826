"""Labels on another grid, each voxel with the label of the voxel nearest to its centre; and masks that lose nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from metseg.core.grid import Grid


def nearest_on_grid(labels: NDArray[Any], grid: Grid, target: Grid) -> NDArray[Any]:
    """Bring labels to another grid. Exact where both grids hold the same voxels in another order.

    Args:
        labels: (i, j, k) on ``grid``.
        grid: where they lie.
        target: where they are wanted; what lies outside ``grid`` is 0.

    Returns:
        Array of the target's shape and the labels' type.
    """
    matrix = np.linalg.inv(grid.affine) @ target.affine
    # Centres that fall half-way between two voxels, but for rounding, must all go the same way.
    matrix = np.round(matrix, 9)
    moved = affine_transform(
        labels, matrix[:3, :3], matrix[:3, 3], output_shape=target.shape, order=0, mode="grid-constant", cval=0
    )
    return np.asarray(moved, dtype=labels.dtype)


def carried_to_grid(labels: NDArray[Any], grid: Grid, target: Grid) -> NDArray[Any]:
    """As ``nearest_on_grid``, but what is small does not fall between the voxels of a coarser grid.

    Args:
        labels: (i, j, k) on ``grid``.
        grid: where they lie.
        target: where they are wanted.

    Returns:
        Array of the target's shape and the labels' type: the nearest label; where that is 0, that of any labelled
        voxel whose centre falls into the voxel.
    """
    result = nearest_on_grid(labels, grid, target)
    voxels = np.argwhere(labels)
    places = np.round(target.to_index(grid.to_world(voxels))).astype(np.int64)
    inside = ((places >= 0) & (places < target.shape)).all(axis=1)
    fallen, values = tuple(places[inside].T), labels[tuple(voxels[inside].T)]
    result[fallen] = np.where(result[fallen] == 0, values, result[fallen])
    return result
