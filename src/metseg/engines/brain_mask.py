"""What lies outside the brain is no lesion."""

import cc3d
import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from metseg.core.grid import Grid
from metseg.engines.manifest import BrainMask
from metseg.lesions.components import label_instances


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


def brain_region(probability: Float[np.ndarray, "i j k"], grid: Grid, options: BrainMask) -> NDArray[np.bool_]:
    """Where lesions may be: the largest piece of brain, its holes filled, with a margin.

    Filling holes keeps lesions that the brain output leaves out. Nothing at all where no voxel is brain.
    """
    brain = label_instances(probability >= options.threshold) == 1
    return widen(fill_holes(brain), grid, options.margin_mm)
