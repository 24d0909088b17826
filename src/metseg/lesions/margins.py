"""Lesions grown by a margin in millimetres, finer than voxels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from metseg.core.grid import Grid

_FINE_MM: Final = 0.2
_ROUNDING_MM: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Grown:
    """A lesion with its margin, on the slices of its grid.

    Args:
        mask: (i, j, k) of a part of the grid; i and j are finer by ``finer``.
        start: the grid's voxel that the part begins with.
        finer: how many pixels of the mask one voxel has along i and j.
        grid: the lesion's.
    """

    mask: NDArray[np.bool_]
    start: tuple[int, int, int]
    finer: tuple[int, int]
    grid: Grid

    @property
    def volume_mm3(self) -> float:
        """Area on each slice times the distance between slices."""
        return float(np.count_nonzero(self.mask) * self.grid.voxel_volume_mm3 / math.prod(self.finer))


def grow(
    lesion: Bool[np.ndarray, "i j k"],
    start: tuple[int, int, int],
    grid: Grid,
    margin_mm: float,
    within: NDArray[np.bool_] | None = None,
) -> Grown:
    """All points on the slices of ``grid`` that lie at most ``margin_mm`` from a lesion, whatever the voxels' sizes.

    The lesion is the union of its voxels, faces included, and distances are Euclidean in space. Pixels are cut into
    parts of at most 0.2 mm; a part belongs where its centre does. Slices are as they are: where one's plane lies
    beyond the margin, it gets none.

    Args:
        lesion: its voxels in a box.
        start: the first voxel of the box.
        grid: where they lie; the axes at right angles.
        margin_mm: at least 0.
        within: (i, j, k) on the grid; what lies outside is cut off, but no voxel of the lesion itself.
    """
    reach = [math.ceil(margin_mm / mm) + 1 for mm in grid.spacing_mm]
    low = [max(0, first - n) for first, n in zip(start, reach)]
    high = [min(size, first + side + n) for size, first, side, n in zip(grid.shape, start, lesion.shape, reach)]
    box = np.zeros([b - a for a, b in zip(low, high)], dtype=bool)
    box[tuple(slice(s - a, s - a + n) for s, a, n in zip(start, low, lesion.shape))] = lesion
    parts = tuple(math.ceil(mm / _FINE_MM) for mm in grid.spacing_mm[:2])
    grown = _grown(box, (parts[0], parts[1]), grid, margin_mm)
    if within is not None:
        inside = within[tuple(slice(a, b) for a, b in zip(low, high))] | box
        grown &= _cut(inside, parts)
    return Grown(grown, (low[0], low[1], low[2]), (parts[0], parts[1]), grid)


def _grown(box: NDArray[np.bool_], parts: tuple[int, int], grid: Grid, margin_mm: float) -> NDArray[np.bool_]:
    """The parts of pixels whose centres lie within the margin.

    A point on slice k is as far from the lesion's voxels on slice l as it is in the plane and across it together; from
    slice to slice, as planes have few points and only slices within the margin matter.
    """
    # Points at the centres of parts and on their edges: the nearest point of a lesion's voxels to one of them is one.
    points_mm = [mm / (2 * n) for mm, n in zip(grid.spacing_mm, parts)]
    grown = _cut(box, parts)
    for own in np.flatnonzero(box.any(axis=(0, 1))).tolist():
        corners = _closed(_cut(box[:, :, own], (2 * parts[0], 2 * parts[1])))
        away_mm = np.asarray(distance_transform_edt(~corners, sampling=points_mm))[1::2, 1::2]
        for k in range(box.shape[2]):
            across_mm = max(0.0, abs(k - own) - 0.5) * grid.spacing_mm[2]
            if across_mm <= margin_mm:
                grown[:, :, k] |= away_mm <= math.sqrt(margin_mm**2 - across_mm**2) + _ROUNDING_MM
    return grown


def _cut(mask: NDArray[Any], parts: Sequence[int]) -> NDArray[Any]:
    """Each pixel in so many parts along the first axes."""
    for axis, count in enumerate(parts):
        mask = np.repeat(mask, count, axis=axis)
    return mask


def _closed(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The corners of cells, where they belong to one that is set."""
    for axis in range(2):
        first = np.pad(cells, [(0, int(a == axis)) for a in range(2)])
        cells = first | np.pad(cells, [(int(a == axis), 0) for a in range(2)])
    return cells
