"""Resampling as nnU-Net does it, an axis at a time.

nnU-Net resizes with scikit-image, which is ``scipy.ndimage.zoom`` between outer faces, edge values going on. A spline
in three dimensions is one along each axis after the other, so each axis has a matrix: what ``zoom`` makes of the unit
vectors. Images whose slices are far apart are resized slice by slice, and then along the slow axis by themselves.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from metseg.core.options import Options
from metseg.preprocess.separable import apply_along

Order = Literal[0, 1, 2, 3, 4, 5]
# The prefilter of a spline reaches over the whole axis; this is what is left out of each weight.
_NEGLIGIBLE: Final = 1e-9


class Resampling(Options):
    """What a plan says of one of its three resampling functions.

    Args:
        order: of the spline; in the slices only, where they are resized by themselves.
        order_z: of the spline along the slow axis.
        separate_z: whether slices are resized by themselves; None: where spacings differ by more than ``ratio``.
        ratio: see ``separate_z``.
    """

    order: Order = 3
    order_z: Order = 0
    separate_z: bool | None = None
    ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 3.0

    def slow_axis(self, now_mm: Sequence[float], next_mm: Sequence[float]) -> int | None:
        """The axis that is resized by itself; None for none. Either spacing may ask for it, the present one first."""
        if self.separate_z is False:
            return None
        for spacing in (now_mm, next_mm):
            if self.separate_z or max(spacing) / min(spacing) > self.ratio:
                slowest = [axis for axis, mm in enumerate(spacing) if max(spacing) / mm == 1]
                return slowest[0] if len(slowest) == 1 else None
        return None


def planned_shape(shape: Sequence[int], now_mm: Sequence[float], next_mm: Sequence[float]) -> tuple[int, int, int]:
    """Voxels along each axis after resampling from one spacing to another."""
    i, j, k = (round(now / after * n) for n, now, after in zip(shape, now_mm, next_mm))
    return i, j, k


@lru_cache(maxsize=32)
def axis_weights(n_in: int, n_out: int, order: Order) -> NDArray[np.float32]:
    """Weights (out, in) that resize one axis by a spline, or by the nearest voxel (order 0)."""
    if order == 0:
        return np.asarray(np.eye(n_in, dtype=np.float32)[_holders(n_out, n_in)])
    weights = ndimage.zoom(np.eye(n_in), (n_out / n_in, 1), order=order, mode="nearest", grid_mode=True)
    weights[np.abs(weights) < _NEGLIGIBLE] = 0
    return np.asarray(weights, dtype=np.float32)


def _holders(n: int, n_other: int) -> NDArray[np.int64]:
    """Of ``n`` voxels along an axis, in which of ``n_other`` voxels between the same faces each centre lies."""
    places = np.floor(n_other / n * (np.arange(n) + 0.5)).astype(np.int64)
    return np.asarray(np.minimum(places, n_other - 1))


def orders(how: Resampling, slow: int | None) -> list[Order]:
    """Of the spline along each axis."""
    return [how.order_z if axis == slow else how.order for axis in range(3)]


def _cheapest_first(shape: Sequence[int], target: Sequence[int], slow: int | None) -> list[int]:
    """Axes whose size changes: the strongest reduction first, but the slow axis last, after the others were clipped."""
    changed = [axis for axis in range(3) if shape[axis] != target[axis]]
    return sorted(changed, key=lambda axis: (axis == slow, target[axis] / shape[axis]))


def _resize(
    array: NDArray[np.float32], target: Sequence[int], how: Resampling, slow: int | None
) -> NDArray[np.float32]:
    """One image (i, j, k); never beyond the range of the image, or of each slice where slices are resized alone."""
    along = orders(how, slow)
    others = tuple(axis for axis in range(3) if axis != slow)
    low, high = array.min(axis=others, keepdims=True), array.max(axis=others, keepdims=True)
    result = array
    axes = _cheapest_first(array.shape, target, slow)
    for axis in axes:
        if axis != slow:
            result = apply_along(result, axis_weights(result.shape[axis], target[axis], along[axis]), axis)
    if how.order > 1 and result is not array:
        result = np.clip(result, low, high, out=result)
    if slow in axes:
        result = apply_along(result, axis_weights(result.shape[slow], target[slow], along[slow]), slow)
    return result


def resample_image(
    channels: Float[np.ndarray, "channel i j k"], target: tuple[int, int, int], how: Resampling, slow: int | None
) -> NDArray[np.float32]:
    """Resize each channel.

    Args:
        channels: (channel, i, j, k).
        target: voxels afterwards.
        how: by which splines.
        slow: ``Resampling.slow_axis``.
    """
    if channels.shape[1:] == target:
        return channels
    result = np.empty((len(channels), *target), dtype=np.float32)
    for channel, resized in zip(channels, result):
        resized[...] = _resize(channel, target, how, slow)
    return result


def resample_labels(
    labels: Integer[np.ndarray, "i j k"], target: tuple[int, int, int], how: Resampling, slow: int | None
) -> NDArray[np.uint8]:
    """Resize a label map: at each voxel the label whose mask has the most there, the nearest one where several have."""
    if labels.shape == target:
        return labels.astype(np.uint8)
    nearest = Resampling(order=0, order_z=0)
    best = np.zeros(target, dtype=np.float32)
    winner = np.zeros(target, dtype=np.uint8)
    at = _resize(labels.astype(np.float32), target, nearest, slow).astype(np.uint8)
    for label in np.unique(labels):
        score = _resize((labels == label).astype(np.float32), target, how, slow)
        better = (score > best) | ((score == best) & (at == label))
        winner[better] = label
        np.maximum(best, score, out=best)
    return winner


def resample_mask(mask: Bool[np.ndarray, "i j k"], target: Sequence[int]) -> NDArray[np.bool_]:
    """Resize a mask to ``target`` voxels and lose none of it.

    Along an axis that gets finer, the nearest voxel; along one that gets coarser, each voxel that any voxel of the mask
    falls into.
    """
    result = np.asarray(mask)
    for axis, (n, after) in enumerate(zip(mask.shape, target, strict=True)):
        if after >= n:
            result = result.take(_holders(after, n), axis)
        else:
            first = np.searchsorted(_holders(n, after), np.arange(after))
            result = np.logical_or.reduceat(result, first, axis)
    return result
