"""Measure every lesion of an instance map."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from metseg.core.grid import Grid
from metseg.core.lesion import Lesion, LesionTable
from metseg.core.volume import LabelMap, Volume
from metseg.lesions.components import Foreground
from metseg.lesions.diameter import diameter_in_space, diameters_in_slice

CONFIDENCE_PERCENTILE = 95.0


@dataclass(frozen=True)
class _Voxels:
    """The voxels of one lesion, as indices (n, 3) into the volume; and the bounding box."""

    id: int
    indices: NDArray[np.int64]

    @property
    def start(self) -> NDArray[np.int64]:
        return np.asarray(self.indices.min(axis=0))

    @property
    def stop(self) -> NDArray[np.int64]:
        return np.asarray(self.indices.max(axis=0) + 1)

    def crop(self) -> NDArray[np.bool_]:
        """The lesion as a mask in its bounding box."""
        mask = np.zeros(self.stop - self.start, dtype=bool)
        mask[tuple((self.indices - self.start).T)] = True
        return mask


def _voxels_by_lesion(foreground: Foreground, table: NDArray[np.uint32]) -> list[_Voxels]:
    """The voxels of each lesion, by its new number."""
    values = table[foreground.values]
    places = foreground.places[np.argsort(values, kind="stable")]
    indices = np.stack(np.unravel_index(places, foreground.shape), axis=1)
    counts = np.bincount(values, minlength=1)[1:]
    return [_Voxels(n, part) for n, part in enumerate(np.split(indices, np.cumsum(counts)[:-1]), 1) if len(part)]


def _confidence(voxels: _Voxels, grid: Grid, probability: Volume) -> float:
    """The 95th percentile of the probability over the lesion's voxels: near its maximum, but not one voxel's noise."""
    if probability.grid is grid or probability.grid.matches(grid):
        values = probability.array[tuple(voxels.indices.T)]
    else:
        places = probability.grid.to_index(grid.to_world(voxels.indices)).T
        values = map_coordinates(probability.array, places, order=1, mode="nearest")
    return float(np.clip(np.percentile(values, CONFIDENCE_PERCENTILE), 0.0, 1.0))


def _measure(voxels: _Voxels, grid: Grid, probability: Volume | None) -> Lesion:
    mask = voxels.crop()
    in_slice = diameters_in_slice(mask, grid)
    centre = voxels.indices.mean(axis=0)
    start, stop = voxels.start.tolist(), voxels.stop.tolist()
    x, y, z = grid.to_world(centre).tolist()
    i, j, k = centre.tolist()
    return Lesion(
        id=voxels.id,
        volume_mm3=len(voxels.indices) * grid.voxel_volume_mm3,
        diameter_mm=in_slice.diameter_mm,
        perpendicular_mm=in_slice.perpendicular_mm,
        diameter_3d_mm=diameter_in_space(mask, grid),
        centre_mm=(x, y, z),
        centre_ijk=(i, j, k),
        slice_number=start[grid.axial_axis] + in_slice.slice_index,
        bbox_ijk=((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])),
        confidence=None if probability is None else _confidence(voxels, grid, probability),
    )


def measure_lesions(instances: LabelMap, probability: Volume | None = None) -> tuple[LabelMap, LesionTable]:
    """Number the lesions by decreasing size and measure each.

    Args:
        instances: one value a lesion; of any numbering.
        probability: of being lesion; on the same grid, or on any other that covers the lesions (the model's), where
            it is interpolated at the lesions' voxels only. Gives each lesion's confidence: the 95th percentile of
            the probability over its voxels.

    Returns:
        The instances renumbered from 1, largest first (of equals, the one met first in i, j, k), and the table.
        How each length is defined stands in ``metseg.lesions.diameter``.
    """
    foreground = Foreground.of(instances.array)
    table = foreground.order_by_size()
    voxels = _voxels_by_lesion(foreground, table)
    lesions = tuple(_measure(one, instances.grid, probability) for one in voxels)
    names = {int(table[old]): name for old, name in instances.labels.items() if old < table.size and table[old]}
    return LabelMap(foreground.renumbered(table), instances.grid, names), LesionTable(lesions)


def drop_unconfident(
    instances: LabelMap, lesions: LesionTable, min_confidence: float, others: Mapping[int, float] | None = None
) -> tuple[LabelMap, LesionTable]:
    """Remove the lesions whose confidence lies below ``min_confidence``, and number the others from 1 in their order.

    Args:
        instances: numbered as in ``lesions``.
        lesions: what ``measure_lesions`` gave; a lesion without a confidence stays.
        min_confidence: in [0, 1].
        others: what counts instead for some lesions, by their number.
    """
    least = others or {}
    kept = [n for n in lesions if n.confidence is None or n.confidence >= least.get(n.id, min_confidence)]
    if len(kept) == len(lesions):
        return instances, lesions
    table = np.zeros(len(lesions) + 1, dtype=np.uint32)
    table[[n.id for n in kept]] = np.arange(1, len(kept) + 1, dtype=np.uint32)
    names = {int(table[old]): name for old, name in instances.labels.items() if table[old]}
    renumbered = Foreground.of(instances.array).renumbered(table)
    return (
        LabelMap(renumbered, instances.grid, names),
        LesionTable(tuple(replace(n, id=int(table[n.id])) for n in kept)),
    )
