"""What lies outside the brain is no lesion."""

from typing import Final

import cc3d
import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from metseg.core.grid import Grid
from metseg.engines.manifest import BrainRegion
from metseg.lesions.components import label_instances

_SMALLEST_PIECE: Final = 0.01  # of the largest


def fill_holes(mask: Bool[np.ndarray, "i j k"]) -> NDArray[np.bool_]:
    """The mask and all background that no path of shared faces joins to the edge of the volume."""
    background = cc3d.connected_components(~mask, connectivity=6, out_dtype=np.uint32)
    outside = np.zeros(int(background.max()) + 1, dtype=bool)
    for axis in range(3):
        for end in (0, -1):
            outside[np.unique(np.take(background, end, axis=axis))] = True
    return np.asarray(mask | ~outside[background])


def widen(mask: Bool[np.ndarray, "i j k"], grid: Grid, margin_mm: float) -> NDArray[np.bool_]:
    """The mask grown by ``margin_mm`` along each voxel axis (by a box, so further along diagonals)."""
    grown = mask.astype(np.uint8)
    for axis, spacing in enumerate(grid.spacing_mm):
        steps = round(margin_mm / spacing)
        if steps:
            grown = maximum_filter1d(grown, 2 * steps + 1, axis=axis, mode="constant")
    return grown.astype(bool)


def brain_region(probability: Float[np.ndarray, "i j k"], grid: Grid, options: BrainRegion) -> NDArray[np.bool_]:
    """Where lesions may be: the brain without crumbs, its holes filled, with a margin.

    Pieces of at least 1 % of the largest stay: thick slices can part the cerebellum from the rest. Filling holes keeps
    lesions that the brain output leaves out. Nothing at all where no voxel is brain.
    """
    pieces = label_instances(probability >= options.threshold)
    sizes = np.bincount(pieces.ravel())
    kept = sizes >= _SMALLEST_PIECE * sizes[1:].max(initial=1)
    kept[0] = False
    return widen(fill_holes(kept[pieces]), grid, options.margin_mm)
