"""How far a lesion reaches: in its largest axial slice, across that, and in any direction.

All lengths run between voxel corners, so that a box of voxels measures as the box it fills: a single voxel of 1 mm
has a longest diameter of √2 mm in its slice and of √3 mm in space. A digitised sphere measures up to about one voxel
diagonal too long for the same reason. The convex hull stands for the lesion: a line may leave a concave one.
Slices are cut across the voxel axis nearest to superior, as RANO-BM measures (Lin et al., Lancet Oncol 2015).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from metseg.core.grid import Grid

Array = NDArray[np.float64]
# Lengths that differ by less are the same: rounding must not decide between two slices.
_SAME = 1e-7
_PAIRWISE_POINTS = 48
_DIRECTIONS = 8


@dataclass(frozen=True)
class SliceDiameters:
    """The longest diameter in a slice, the longest one perpendicular to it in that slice, and the slice's index."""

    diameter_mm: float
    perpendicular_mm: float
    slice_index: int


def _hull(points: Array) -> Array:
    """The corners of the convex hull of points (n, d); of d = 2 in order around it."""
    return np.asarray(points[ConvexHull(points).vertices])


def longest_distance(points: Float[np.ndarray, "point axis"]) -> float:
    """The longest distance between two of the points."""
    if len(points) > _PAIRWISE_POINTS:
        points = _hull(points)
    return float(pdist(points).max())


def _longest_chord(polygon: Array, direction: Array) -> float:
    """The longest chord of a convex polygon (n, 2), corners in order, along a unit vector.

    The length of the chord is a concave, piecewise linear function of its place, so the longest one goes through a
    corner: the chords through all corners are measured, from where they cross the edges.
    """
    along, across = polygon @ direction, polygon @ (-direction[1], direction[0])
    along_next, across_next = np.roll(along, -1), np.roll(across, -1)
    step = across_next - across
    tolerance = _SAME * float(np.ptp(across))
    crossing = np.abs(step) > tolerance
    where = (across[:, None] - across[crossing]) / step[crossing]
    at = along[crossing] + where * (along_next - along)[crossing]
    inside = (where >= -_SAME) & (where <= 1 + _SAME)
    # An edge along the chord has no crossing, but its neighbours cross at its two ends.
    lengths = np.where(inside, at, -np.inf).max(axis=1) - np.where(inside, at, np.inf).min(axis=1)
    return float(lengths.max())


def polygon_diameters(polygon: Float[np.ndarray, "corner 2"]) -> tuple[float, float]:
    """Longest diameter of a convex polygon, corners in order, and the longest chord perpendicular to it.

    Of several longest diameters the one with the longest perpendicular is taken.
    """
    first, second = np.triu_indices(len(polygon), 1)
    between = polygon[second] - polygon[first]
    lengths = np.linalg.norm(between, axis=1)
    longest = float(lengths.max())
    ties = between[lengths >= longest * (1 - _SAME)] / longest
    return longest, max(_longest_chord(polygon, np.array((-y, x))) for x, y in ties)


@dataclass(frozen=True)
class _Extremes:
    """Where the voxels of each row (slice, a, ·) of a mask begin and end."""

    slices: NDArray[np.int64]
    rows: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]


def _row_extremes(mask: NDArray[np.bool_]) -> _Extremes:
    """Ends of all rows along the last axis: only they can be corners of a convex hull."""
    slices, rows = np.nonzero(mask.any(axis=2))
    occupied = mask[slices, rows]
    begins = occupied.argmax(axis=1)
    ends = mask.shape[2] - occupied[:, ::-1].argmax(axis=1)
    return _Extremes(slices, rows, begins, ends)


def _plane_axes(grid: Grid) -> tuple[int, int, int]:
    """The axial voxel axis, then the other two."""
    axial = grid.axial_axis
    first, second = (axis for axis in range(3) if axis != axial)
    return axial, first, second


def _plane_coordinates(grid: Grid) -> Array:
    """2×2: takes index steps (a, b) in an axial plane to millimetres in that plane, keeping lengths and angles."""
    _, first, second = _plane_axes(grid)
    edges = grid.affine[:3, [first, second]]
    return np.asarray(np.linalg.cholesky(edges.T @ edges))


def diameters_in_slice(mask: Bool[np.ndarray, "i j k"], grid: Grid) -> SliceDiameters:
    """The slice with the longest diameter, and what it measures.

    Of slices with equally long diameters the one with the longer perpendicular is taken, then the most inferior.

    Args:
        mask: one lesion, not empty; a crop of the volume will do.
        grid: of the volume (only its affine's columns matter).

    Returns:
        Lengths in mm; the slice's index within ``mask``.
    """
    axial, first, second = _plane_axes(grid)
    ends = _row_extremes(mask.transpose(axial, first, second))
    to_plane = _plane_coordinates(grid)
    upwards = 1 if grid.affine[2, axial] > 0 else -1
    bounds = _slice_bounds(ends, mask.shape[axial], to_plane)
    corners = _row_corners(ends)
    best = SliceDiameters(0.0, 0.0, -1)
    for index in np.argsort(-bounds, kind="stable"):
        if bounds[index] < best.diameter_mm * (1 - _SAME) or bounds[index] == 0:
            break
        points = corners[:, ends.slices == index].reshape(-1, 2) @ to_plane
        found = SliceDiameters(*polygon_diameters(_hull(points)), int(index))
        best = max(best, found, key=lambda d: _rank(d, best, upwards))
    return best


def _rank(one: SliceDiameters, best: SliceDiameters, upwards: int) -> tuple[float, float, float]:
    """Sorts slices, those within rounding of ``best`` as its equals."""
    diameter, perpendicular = one.diameter_mm, one.perpendicular_mm
    if abs(diameter - best.diameter_mm) <= _SAME * diameter:
        diameter = best.diameter_mm
    if abs(perpendicular - best.perpendicular_mm) <= _SAME * perpendicular:
        perpendicular = best.perpendicular_mm
    return diameter, perpendicular, -upwards * one.slice_index


def _slice_bounds(ends: _Extremes, n_slices: int, to_plane: Array) -> Array:
    """An upper bound of each slice's diameter, at most 2 % above it; 0 for empty slices.

    A diameter lies within half a step of one of the directions, and is at most so much longer than the width there.
    """
    angles = np.arange(_DIRECTIONS) * (np.pi / _DIRECTIONS)
    along = _row_corners(ends) @ to_plane @ np.stack((np.cos(angles), np.sin(angles)))
    slices, starts = np.unique(ends.slices, return_index=True)
    widths = np.maximum.reduceat(along.max(axis=0), starts) - np.minimum.reduceat(along.min(axis=0), starts)
    bounds = np.zeros(n_slices)
    bounds[slices] = widths.max(axis=1) / np.cos(np.pi / (2 * _DIRECTIONS)) * (1 + _SAME)
    return bounds


def _row_corners(ends: _Extremes) -> NDArray[np.int64]:
    """The four in-plane corners of each row: (corner, row, 2)."""
    return np.array(
        [np.stack((ends.rows + step, edge), axis=1) for step in (0, 1) for edge in (ends.begins, ends.ends)]
    )


def diameter_in_space(mask: Bool[np.ndarray, "i j k"], grid: Grid) -> float:
    """The longest distance in mm between two corners of voxels of one lesion, in any direction.

    Args:
        mask: one lesion, not empty; a crop of the volume will do.
        grid: of the volume (only its affine's columns matter).
    """
    ends = _row_extremes(mask)
    corners = [
        np.stack((ends.slices + i, ends.rows + j, edge), axis=1)
        for i in (0, 1)
        for j in (0, 1)
        for edge in (ends.begins, ends.ends)
    ]
    return longest_distance(np.concatenate(corners) @ grid.affine[:3, :3].T)
