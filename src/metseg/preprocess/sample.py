"""From the model's grid back to the study's: trilinear interpolation, slab by slab, fused with thresholding.

The value at a point is interpolated between the eight voxel centres around it. Between the centre of an edge voxel and
its outer face the edge voxel's value goes on; outside the source grid it is 0. Full-size probabilities exist only
where ``probability_on_grid`` is asked for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, map_coordinates

from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, ProbabilityMap, Volume
from metseg.preprocess.separable import apply_along, linear_weights

_SLAB_VOXELS: Final = 4_000_000
# Grids whose axes stray by less than this (in source voxels, over the whole target) count as parallel.
_PARALLEL: Final = 1e-4
_ROUNDING: Final = 1e-6
# More islands than this are looked at in one go.
_MOST_ISLANDS: Final = 256

Box = tuple[slice, slice, slice]
Slab = tuple[slice, NDArray[np.float32]]
Limits = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class _Source:
    """An array to interpolate in, and how far it counts: first and last position along each axis."""

    array: NDArray[np.float32]
    grid: Grid
    limits: Limits

    @classmethod
    def whole(cls, array: NDArray[np.float32], grid: Grid) -> "_Source":
        """All of an image, up to its outer faces."""
        i, j, k = ((-0.5, n - 0.5) for n in grid.shape)
        return cls(array, grid, (i, j, k))

    def crop(self, box: Box) -> "_Source":
        """A part of a whole image. It counts up to its outermost voxel centres, but to the image's faces."""
        part = self.array[box]
        i, j, k = (
            (-0.5 if s.start == 0 else 0.0, s.stop - s.start - (0.5 if s.stop == n else 1.0))
            for s, n in zip(box, self.grid.shape)
        )
        n_i, n_j, n_k = part.shape
        return _Source(part, self.grid.crop([s.start for s in box], (n_i, n_j, n_k)), (i, j, k))


@dataclass(frozen=True)
class _IndexMap:
    """Affine map from target indices to fractional source indices."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    target_shape: tuple[int, int, int]

    @classmethod
    def between(cls, source: Grid, target: Grid) -> "_IndexMap":
        matrix = np.linalg.inv(source.affine) @ target.affine
        return cls(matrix[:3, :3], matrix[:3, 3], target.shape)

    def parallel_axes(self) -> tuple[int, int, int] | None:
        """The source axis along each target axis, or None where they are not parallel."""
        drift = np.abs(self.matrix) * (np.array(self.target_shape) - 1)
        along = np.abs(self.matrix).argmax(axis=0)
        drift[along, np.arange(3)] = 0
        if sorted(along) != [0, 1, 2] or drift.sum(axis=1).max() > _PARALLEL:
            return None
        i, j, k = along.tolist()
        return i, j, k


def _parallel_slabs(source: _Source, index: _IndexMap, axes: tuple[int, int, int], step: int) -> Iterator[Slab]:
    """Interpolation by one weight matrix per axis."""
    array = np.ascontiguousarray(source.array.transpose(axes))
    weights = [
        linear_weights(
            index.offset[own] + index.matrix[own, a] * np.arange(n), source.grid.shape[own], source.limits[own]
        )
        for a, (own, n) in enumerate(zip(axes, index.target_shape))
    ]
    for start in range(0, index.target_shape[0], step):
        rows = slice(start, min(start + step, index.target_shape[0]))
        slab = apply_along(array, weights[0][rows], 0)
        for axis in (1, 2):
            slab = apply_along(slab, weights[axis], axis)
        yield rows, slab


def _oblique_slabs(source: _Source, index: _IndexMap, step: int) -> Iterator[Slab]:
    """Interpolation at one point after the other."""
    _, n_j, n_k = index.target_shape
    for start in range(0, index.target_shape[0], step):
        rows = slice(start, min(start + step, index.target_shape[0]))
        i, j, k = np.ogrid[rows, :n_j, :n_k]
        places, inside = [], np.ones((rows.stop - start, n_j, n_k), dtype=bool)
        for axis, (first, last) in enumerate(source.limits):
            a, b, c = index.matrix[axis]
            place = a * i + b * j + c * k + index.offset[axis]
            inside &= (place >= first - _ROUNDING) & (place <= last + _ROUNDING)
            places.append(np.clip(place, 0, source.grid.shape[axis] - 1))
        slab = np.asarray(map_coordinates(source.array, places, output=np.float32, order=1, mode="nearest"))
        yield rows, slab * inside


def _slabs(source: _Source, target: Grid) -> Iterator[Slab]:
    """The target's values in slabs across its first axis: where each lies, and its values (rows, j, k)."""
    index = _IndexMap.between(source.grid, target)
    step = max(1, _SLAB_VOXELS // (target.shape[1] * target.shape[2]))
    axes = index.parallel_axes()
    if axes is None:
        return _oblique_slabs(source, index, step)
    return _parallel_slabs(source, index, axes, step)


def resample_volume(volume: Volume, target: Grid) -> Volume:
    """Interpolate an image to any grid; 0 outside the image."""
    result = np.empty(target.shape, dtype=np.float32)
    source = _Source.whole(np.asarray(volume.array, dtype=np.float32), volume.grid)
    for rows, slab in _slabs(source, target):
        result[rows] = slab
    return Volume(result, target)


def probability_on_grid(probability: ProbabilityMap, target: Grid, name: str = "lesion") -> Volume:
    """Probability of one class on another grid, float32; 0 outside the map."""
    return resample_volume(Volume(probability.of(name), probability.grid), target)


def _islands(mask: NDArray[np.bool_]) -> list[Box]:
    """Boxes that hold all of a mask: one around each of its components, or one around all where they are many."""
    components, n = cc3d.connected_components(mask, connectivity=26, out_dtype=np.uint32, return_N=True)
    if n > _MOST_ISLANDS:
        components = mask.view(np.uint8)
    return [(i, j, k) for i, j, k in find_objects(components)]


def _widened(box: Box, shape: tuple[int, int, int]) -> Box:
    """The box and one voxel more on each side, as far as the array reaches."""
    i, j, k = (slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(box, shape))
    return i, j, k


def _reach(source: Grid, target: Grid) -> Box | None:
    """The part of the target that may lie inside the source's outer faces; None where they do not meet."""
    faces = np.array(np.meshgrid(*((-0.5, n - 0.5) for n in source.shape))).reshape(3, -1).T
    places = target.to_index(source.to_world(faces))
    low = np.clip(np.floor(places.min(axis=0)), 0, target.shape).astype(int)
    high = np.clip(np.ceil(places.max(axis=0)) + 1, 0, target.shape).astype(int)
    if (high <= low).any():
        return None
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high))
    return i, j, k


def labels_on_grid(probability: ProbabilityMap, target: Grid, threshold: float, name: str = "lesion") -> LabelMap:
    """Where the interpolated probability of a class reaches a threshold, on another grid.

    Args:
        probability: on the model's grid.
        target: the study's grid.
        threshold: above 0; at or above it a voxel is labelled.
        name: of the class.

    Returns:
        uint8, 1 where labelled; the labels are ``{1: name}``. The same as ``probability_on_grid(…) >= threshold``,
        without ever holding it: interpolation never exceeds its neighbours, so only the surroundings of islands of
        voxels that reach the threshold are looked at.
    """
    labels = np.zeros(target.shape, dtype=np.uint8)
    whole = _Source.whole(probability.of(name), probability.grid)
    for island in _islands(whole.array >= threshold):
        source = whole.crop(_widened(island, whole.grid.shape))
        reach = _reach(source.grid, target)
        if reach is None:
            continue
        inner = labels[reach]
        n_i, n_j, n_k = inner.shape
        for rows, slab in _slabs(source, target.crop([s.start for s in reach], (n_i, n_j, n_k))):
            inner[rows] |= slab >= threshold
    return LabelMap(labels, target, {1: name})
