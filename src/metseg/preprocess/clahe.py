"""Contrast-limited adaptive histogram equalisation (CLAHE), slice by slice or in 3D, in tiles of equal millimetres.

Each tile's cumulative histogram is the map of its intensities; between the tiles' middles the maps are interpolated
linearly (Pizer et al. 1987, "Adaptive histogram equalization and its variations"). Histograms are clipped first, so
that no map is steeper than a limit: noise in even regions is not blown up (Zuiderveld 1994, "Contrast limited adaptive
histogram equalization"). What is cut off is spread evenly under the limit, exactly, so that a tile that holds nothing,
or next to nothing, leaves intensities as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field, field_validator

from metseg.core.grid import Grid
from metseg.core.options import Options

# Spacings within this of the largest count as the largest, relatively.
_AS_THICK: Final = 1e-2
_AT_ONCE: Final = 1 << 22
Percent = Annotated[float, Field(ge=0, le=100)]


class Clahe(Options):
    """Step: CLAHE of each channel by itself. The grid stays as it is.

    Intensities are equalised between two percentiles of the foreground, and stay between them; those beyond stay what
    they are. CT is windowed first (``steps.check_order``).

    Args:
        kind: ``"3d"``, or ``"2d"``: each slice by itself, across the axis of ``slice_axis``.
        tile_mm: about the edge of a tile; an axis is cut into the whole number of tiles that comes nearest.
        clip_limit: how steep a tile's map may be: 1 changes nothing, 2 at most doubles a contrast.
        bins: of the histograms.
        percentiles: of the foreground, between which intensities are equalised.
        keep_zero: voxels of exactly 0 are background: they stay 0, and count nowhere.
    """

    name: Literal["clahe"] = "clahe"
    kind: Literal["2d", "3d"] = "3d"
    tile_mm: Annotated[float, Field(ge=10, allow_inf_nan=False)] = 30.0
    clip_limit: Annotated[float, Field(ge=1, le=1e6)] = 2.5
    bins: Annotated[int, Field(ge=2, le=4096)] = 256
    percentiles: tuple[Percent, Percent] = (0.1, 99.9)
    keep_zero: bool = True

    @field_validator("percentiles")
    @classmethod
    def _percentiles_rise(cls, percentiles: tuple[float, float]) -> tuple[float, float]:
        if percentiles[0] >= percentiles[1]:
            raise ValueError("the second percentile should be larger than the first")
        return percentiles

    def apply(self, array: Float[np.ndarray, "*channel i j k"], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """The equalised image, on the same grid."""
        result = np.array(array, dtype=np.float32, order="C")
        for channel in result.reshape(-1, *grid.shape):
            self._equalise(channel, grid)
        return result, grid

    def _equalise(self, image: NDArray[np.float32], grid: Grid) -> None:
        """One channel, in its place."""
        inside = image != 0 if self.keep_zero else np.ones(image.shape, dtype=bool)
        if not inside.any():
            return
        low, high = (float(value) for value in np.percentile(image[inside], self.percentiles))
        # Equal but for rounding, or too far apart for single precision to tell the bins: there is nothing to equalise.
        if not np.isfinite(high - low) or high - low <= np.finfo(np.float32).eps * max(abs(low), abs(high)):
            return
        across = slice_axis(grid) if self.kind == "2d" else None
        axes = [
            _Axis(n, n if axis == across else round(n * spacing / self.tile_mm))
            for axis, (n, spacing) in enumerate(zip(grid.shape, grid.spacing_mm))
        ]
        scale = _Scale(low, high, self.bins)
        _apply(image, inside, axes, scale, _maps(image, inside, axes, scale, self.clip_limit))


def slice_axis(grid: Grid) -> int:
    """The voxel axis across the slices: of the largest spacing; of equals, the one nearest to superior-inferior."""
    thick = [axis for axis, mm in enumerate(grid.spacing_mm) if mm >= (1 - _AS_THICK) * max(grid.spacing_mm)]
    return next(axis for axis in reversed(grid.axis_order) if axis in thick)


class _Axis:
    """How an axis is cut into tiles, and between which two of them each voxel lies.

    Args:
        n: voxels.
        tiles: about so many.
    """

    def __init__(self, n: int, tiles: int) -> None:
        self.tiles = min(max(tiles, 1), n)
        self.edges = np.floor(np.linspace(0, n, self.tiles + 1) + 0.5).astype(np.int64)
        self.of_voxel = np.repeat(np.arange(self.tiles), np.diff(self.edges))
        middles = (self.edges[:-1] + self.edges[1:] - 1) / 2
        place = np.interp(np.arange(n), middles, np.arange(self.tiles))
        self.first = place.astype(np.int64)
        self.last = np.minimum(self.first + 1, self.tiles - 1)
        self.share = (place - self.first).astype(np.float32)
        self.blends = bool(self.share.any())  # not where each voxel is a tile, or there is one tile


@dataclass(frozen=True)
class _Scale:
    """Intensities as fractional bins."""

    low: float
    high: float
    bins: int

    @property
    def width(self) -> float:
        """Of a bin."""
        return (self.high - self.low) / self.bins

    def place(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """0 … bins; beyond for what lies beyond."""
        return np.asarray((values.astype(np.float64) - self.low) / self.width)


def _slabs(first: int, last: int, plane: int) -> list[slice]:
    """Rows of at most ``_AT_ONCE`` voxels."""
    step = max(1, _AT_ONCE // plane)
    return [slice(start, min(start + step, last)) for start in range(first, last, step)]


def _maps(
    image: NDArray[np.float32], inside: NDArray[np.bool_], axes: Sequence[_Axis], scale: _Scale, clip_limit: float
) -> NDArray[np.float32]:
    """By how many bins each tile moves each edge of a bin: (tile i, tile j, tile k, bin + 1), 0 at both ends."""
    across, row, column = axes
    tile_of_plane = row.of_voxel[:, None] * column.tiles + column.of_voxel
    found = np.zeros((across.tiles, row.tiles * column.tiles, scale.bins + 1), dtype=np.float32)
    for tile, moved in enumerate(found):
        counts = np.zeros(row.tiles * column.tiles * scale.bins, dtype=np.int64)
        for rows in _slabs(int(across.edges[tile]), int(across.edges[tile + 1]), tile_of_plane.size):
            held = inside[rows]
            bins = np.clip(scale.place(image[rows][held]), 0, scale.bins - 1).astype(np.int64)
            tiles = np.broadcast_to(tile_of_plane, held.shape)[held]
            counts += np.bincount(tiles * scale.bins + bins, minlength=counts.size)
        clipped = _clipped(counts.reshape(-1, scale.bins).astype(np.float64), clip_limit)
        moved[:, 1:] = np.cumsum(clipped, axis=1) - np.arange(1, scale.bins + 1)
    return found.reshape(across.tiles, row.tiles, column.tiles, -1)


def _clipped(counts: Float[np.ndarray, "tile bin"], limit: float) -> NDArray[np.float64]:
    """Histograms with a mean of 1 a bin and nowhere more than ``limit``; what is cut off is spread over the others.

    That is ``min(h + r, limit)`` with the one ``r`` that keeps the sum. Sorted, the m smallest bins being below the
    limit, the sum is linear in ``r``; the true sum is the least of these lines, so that ``r`` is their largest root.
    """
    tiles, bins = counts.shape
    total = counts.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, counts * bins / np.maximum(total, 1), 1.0)
    below = np.arange(1, bins + 1)
    roots = (bins - (bins - below) * limit - np.cumsum(np.sort(shares, axis=1), axis=1)) / below
    return np.asarray(np.minimum(shares + np.maximum(roots.max(axis=1), 0).reshape(tiles, 1), limit))


def _apply(
    image: NDArray[np.float32],
    inside: NDArray[np.bool_],
    axes: Sequence[_Axis],
    scale: _Scale,
    maps: NDArray[np.float32],
) -> None:
    """Move each voxel that is inside by what the maps around it say, in its place."""
    across, row, column = axes
    for i, plane in enumerate(image):
        here = maps[across.first[i]]
        if across.share[i]:
            here = here + across.share[i] * (maps[across.last[i]] - here)
        place = scale.place(plane)
        within = inside[i] & (place > 0) & (place < scale.bins)
        j, k = np.nonzero(within)
        edge = place[within].astype(np.int64)
        part = (place[within] - edge).astype(np.float32)
        moved = np.zeros(len(j), dtype=np.float32)
        for tile_j, share_j in _corners(row, j):
            for tile_k, share_k in _corners(column, k):
                at = here[tile_j, tile_k, edge]
                moved += share_j * share_k * (at + part * (here[tile_j, tile_k, edge + 1] - at))
        plane[within] += moved * np.float32(scale.width)


def _corners(axis: _Axis, voxels: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The tiles on both sides of voxels, and how much each counts."""
    share = axis.share[voxels]
    if not axis.blends:
        return [(axis.first[voxels], 1 - share)]
    return [(axis.first[voxels], 1 - share), (axis.last[voxels], share)]
