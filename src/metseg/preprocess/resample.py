"""Change the voxel size: linear interpolation upwards, a tent filter downwards."""

import math
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field

from metseg.core.grid import Grid
from metseg.core.options import Options
from metseg.preprocess.separable import apply_along, triangle_weights

Millimetres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# A spacing this near to the target, relatively, counts as the target: the image is left untouched along that axis.
_SAME_SPACING = 1e-3
# A field of view this little (in voxels) longer than a whole number of voxels needs no further voxel.
_SLACK = 1e-2


def resampled_grid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid with (about) the given spacing, same axes and same middle, that covers the whole field of view.

    An axis within 0.1 % of its target keeps its spacing and size.
    """
    factors = np.array([1.0, 1.0, 1.0])
    sizes = list(grid.shape)
    for axis, (n, now, target) in enumerate(zip(grid.shape, grid.spacing_mm, spacing_mm)):
        if abs(now - target) > _SAME_SPACING * target:
            factors[axis] = target / now
            sizes[axis] = max(1, math.ceil(n / factors[axis] - _SLACK))
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * factors
    middle_before, middle_after = (np.array(grid.shape) - 1) / 2, (np.array(sizes) - 1) / 2
    affine[:3, 3] = grid.to_world(middle_before) - affine[:3, :3] @ middle_after
    return Grid((sizes[0], sizes[1], sizes[2]), affine)


class Resample(Options):
    """Step: resample to a spacing along the image's own axes.

    Args:
        spacing_mm: wanted along i, j, k (so ``reorient`` comes first where they differ). Coarser voxels are
            interpolated linearly; finer ones are averaged by a triangular kernel of the output's width.
    """

    name: Literal["resample"] = "resample"
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] = (1.0, 1.0, 1.0)

    def apply(self, array: Float[np.ndarray, "*channel i j k"], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """The resampled image and its grid; the very same where the spacing is right already."""
        target = resampled_grid(grid, self.spacing_mm)
        result = array
        factors = [after / before for before, after in zip(grid.spacing_mm, target.spacing_mm)]
        # The strongest reduction first, so that the later ones have less to do.
        for axis in sorted(range(3), key=lambda a: target.shape[a] / grid.shape[a]):
            n_in, n_out = grid.shape[axis], target.shape[axis]
            if n_in == n_out and abs(factors[axis] - 1) <= _SAME_SPACING:
                continue
            positions = (n_in - 1) / 2 + (np.arange(n_out) - (n_out - 1) / 2) * factors[axis]
            weights = triangle_weights(positions, n_in, max(1.0, factors[axis]))
            result = apply_along(result, weights, axis - 3)
        return result, target
