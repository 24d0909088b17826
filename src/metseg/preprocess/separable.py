"""Linear maps along one axis at a time: a weight matrix per axis, applied by blocked matrix products.

Interpolation and smoothing on parallel grids factor into three such maps. Each row of a weight matrix has few
neighbouring entries, so rows are taken in blocks and multiplied with just the stretch of input that they need.
"""

import math
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

_BLOCK: Final = 32
# Positions this near to a voxel centre are on it: rounding in affines must not blur an exact permutation.
_ON_VOXEL: Final = 1e-6


def linear_weights(
    positions: Float[np.ndarray, " out"], n_in: int, limits: tuple[float, float]
) -> Float[np.ndarray, "out in"]:
    """Weights of linear interpolation at fractional voxel indices.

    Beyond the centre of an edge voxel its value goes on; beyond the limits all weights are zero.

    Args:
        positions: of the output's voxels in the input.
        n_in: voxels of the input.
        limits: first and last position that counts, such as the outer faces (-0.5, n_in - 0.5).
    """
    nearest = np.round(positions)
    positions = np.where(np.abs(positions - nearest) < _ON_VOXEL, nearest, positions)
    inside = (positions >= limits[0] - _ON_VOXEL) & (positions <= limits[1] + _ON_VOXEL)
    place = np.clip(positions, 0, n_in - 1)
    below = np.minimum(place.astype(np.int64), max(n_in - 2, 0))
    weights = np.zeros((positions.size, n_in), dtype=np.float32)
    rows = np.arange(positions.size)
    weights[rows, below] = (1 - (place - below)) * inside
    if n_in > 1:
        weights[rows, below + 1] = (place - below) * inside
    return weights


def _centred(weights: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights times ``a + b·offset`` such that each row sums to 1 and its mean offset is 0."""
    zeroth, first, second = ((weights * offset**power).sum(axis=1, keepdims=True) for power in range(3))
    determinant = zeroth * second - first**2
    # A row with a single entry sits on its voxel: nothing to tilt.
    tiltable = determinant > _ON_VOXEL
    scale = np.where(tiltable, determinant, zeroth)
    return np.asarray(weights * (np.where(tiltable, second, 1) - np.where(tiltable, first, 0) * offset) / scale)


def triangle_weights(positions: Float[np.ndarray, " out"], n_in: int, half_width: float) -> Float[np.ndarray, "out in"]:
    """Weights of a triangular kernel at fractional voxel indices; each row sums to 1.

    With a half-width of 1 voxel this is linear interpolation; wider, it is a tent, which keeps finer detail than the
    output can show from aliasing. Its samples are tilted a little so that their mean lies at the position: a linear
    function stays what it is. At the edges, where the tent is cut off, it is only renormalised.
    """
    offset = np.arange(n_in) - positions[:, None]
    weights = np.maximum(1 - np.abs(offset) / half_width, 0)
    whole = (positions - half_width >= -1) & (positions + half_width <= n_in)
    weights[whole] = _centred(weights[whole], offset[whole])
    outside = weights.sum(axis=1) <= 0
    weights[outside, np.clip(np.round(positions[outside]).astype(np.int64), 0, n_in - 1)] = 1
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def apply_along(
    array: Float[np.ndarray, "..."], weights: Float[np.ndarray, "out in"], axis: int
) -> NDArray[np.float32]:
    """Apply a weight matrix (out, in) to one axis of an array; the axis then has ``out`` entries."""
    axis %= array.ndim
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    n_out, n_in = weights.shape
    # One matrix a leading index; for the last axis all leading indices make one matrix.
    source = array.reshape((math.prod(before), n_in, math.prod(after)) if after else (-1, n_in))
    result = np.zeros((len(source), n_out, *source.shape[2:]), dtype=np.float32)
    for start in range(0, n_out, _BLOCK):
        block = weights[start : start + _BLOCK]
        used = np.flatnonzero(block.any(axis=0))
        if used.size == 0:
            continue
        needed, rows = slice(int(used[0]), int(used[-1]) + 1), slice(start, start + len(block))
        if after:
            np.matmul(block[:, needed], source[:, needed], out=result[:, rows])
        else:
            np.matmul(source[:, needed], block[:, needed].T, out=result[:, rows])
    return result.reshape((*before, n_out, *after))
