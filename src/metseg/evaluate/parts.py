"""The instances of a map, each with its size, box, centroid and voxels: what is looked at instead of the volume."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from metseg.lesions.components import Foreground


@dataclass(frozen=True, eq=False)
class Parts:
    """The instances of one map, in the order of their numbers.

    Args:
        ids: their numbers in the map.
        voxels: how many voxels each has.
        start: first voxel of each bounding box.
        stop: one past its last voxel.
        centroid: mean voxel index.
        indices: of all voxels, those of one instance together.
        offsets: where in ``indices`` each instance begins.
    """

    ids: Int[np.ndarray, " part"]
    voxels: Int[np.ndarray, " part"]
    start: Int[np.ndarray, "part 3"]
    stop: Int[np.ndarray, "part 3"]
    centroid: Float[np.ndarray, "part 3"]
    indices: Int[np.ndarray, "voxel 3"]
    offsets: Int[np.ndarray, " part"]

    @classmethod
    def of(cls, instances: NDArray[Any]) -> "Parts":
        """Those of an instance map (i, j, k), 0 for background."""
        foreground = Foreground.of(instances)
        ids, inverse, voxels = np.unique(foreground.values, return_inverse=True, return_counts=True)
        places = foreground.places[np.argsort(inverse, kind="stable")]
        indices = np.stack(np.unravel_index(places, foreground.shape), axis=1).astype(np.int64)
        offsets = np.cumsum(voxels) - voxels
        if not len(ids):
            none = np.zeros((0, 3), dtype=np.int64)
            return cls(ids.astype(np.int64), voxels, none, none, none.astype(float), indices, offsets)
        return cls(
            ids=ids.astype(np.int64),
            voxels=voxels,
            start=np.minimum.reduceat(indices, offsets),
            stop=np.maximum.reduceat(indices, offsets) + 1,
            centroid=np.add.reduceat(indices, offsets) / voxels[:, None],
            indices=indices,
            offsets=offsets,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def places(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Which part each number belongs to; all numbers must occur."""
        return np.searchsorted(self.ids, ids)

    def values(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """What an array on the same grid holds at the voxels of each part."""
        everywhere = array[tuple(self.indices.T)]
        return np.split(everywhere, self.offsets[1:]) if len(self) else []
