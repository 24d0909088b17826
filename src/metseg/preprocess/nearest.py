"""Labels on another grid: each voxel gets the label of the voxel nearest to its centre."""

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
