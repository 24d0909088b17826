"""Connected components: from a mask to numbered lesions."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import cc3d
import numpy as np
from jaxtyping import Bool, UInt, UInt32
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from metseg.core.grid import Grid

Connectivity = Literal[6, 18, 26]


@dataclass(frozen=True)
class Foreground:
    """The voxels of an instance map that are not 0: their places in the flat array (i, then j, then k), and values.

    Few voxels of a head are lesion: whatever looks at these alone is quick.
    """

    places: NDArray[np.int64]
    values: NDArray[Any]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, instances: NDArray[Any]) -> "Foreground":
        """That of an array of whole numbers."""
        flat = instances.ravel()
        places = np.flatnonzero(flat != 0)
        return cls(places, flat[places], instances.shape)

    def sizes(self) -> NDArray[np.int64]:
        """Number of voxels of each value, by value."""
        return np.bincount(self.values, minlength=1)

    def order_by_size(self) -> NDArray[np.uint32]:
        """A table that renumbers values by decreasing size: ``table[old] == new``, and ``table[0] == 0``.

        Of values of equal size the one whose first voxel comes first has the lower number. Values that do not occur
        map to 0.
        """
        sizes = self.sizes()
        first = np.zeros(sizes.size, dtype=np.int64)
        # Of repeated indices the last assignment stands, so going backwards leaves each value's first voxel.
        first[self.values[::-1]] = self.places[::-1]
        present = np.flatnonzero(sizes)
        order = present[np.lexsort((first[present], -sizes[present]))]
        table = np.zeros(sizes.size, dtype=np.uint32)
        table[order] = np.arange(1, order.size + 1, dtype=np.uint32)
        return table

    def renumbered(self, table: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The instance map with ``table[value]`` for each value."""
        result = np.zeros(math.prod(self.shape), dtype=np.uint32)
        result[self.places] = table[self.values]
        return result.reshape(self.shape)


def label_instances(mask: Bool[np.ndarray, "i j k"], connectivity: Connectivity = 26) -> UInt32[np.ndarray, "i j k"]:
    """Number the connected components of a mask from 1, by decreasing size.

    Of components of equal size the one whose first voxel (in i, then j, then k) comes first has the lower number.

    Args:
        mask: foreground.
        connectivity: 26 (voxels that share a corner belong together), 18 (an edge) or 6 (a face).
    """
    box = find_objects(mask.view(np.uint8))
    result = np.zeros(mask.shape, dtype=np.uint32)
    if box:
        # cc3d may number in uint16, which overflows on noise; uint32 holds any volume that io lets in.
        inner = mask[box[0]]
        components = cc3d.connected_components(_thick(inner), connectivity=connectivity, out_dtype=np.uint32)
        foreground = Foreground.of(np.asarray(components)[tuple(map(slice, inner.shape))])
        result[box[0]] = foreground.renumbered(foreground.order_by_size())
    return result


def _thick(mask: Bool[np.ndarray, "i j k"]) -> NDArray[np.bool_]:
    """The mask with at least two voxels along each axis: cc3d 4.1 foresees too few components in some thinner ones."""
    return np.pad(mask, [(0, int(n == 1)) for n in mask.shape]) if 1 in mask.shape else mask


def drop_small(instances: UInt[np.ndarray, "i j k"], grid: Grid, min_volume_mm3: float) -> UInt32[np.ndarray, "i j k"]:
    """Remove instances smaller than ``min_volume_mm3`` and number the others from 1, by decreasing size."""
    foreground = Foreground.of(instances)
    table = foreground.order_by_size()
    # Numbered by size, those that go are the last ones, so no number is left out.
    table[foreground.sizes() * grid.voxel_volume_mm3 < min_volume_mm3] = 0
    return foreground.renumbered(table)
