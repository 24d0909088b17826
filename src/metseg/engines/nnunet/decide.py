"""From logits on a stage's grid to labels on the image's, as if the logits had been resampled first.

Between voxels that all have one label, linear interpolation cannot make another: the logit that is the largest at each
of them is the largest in between. So a voxel is only computed where those around it differ, which is at the surface of
lesions and in almost no other place; full-size logits never exist.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.engines.nnunet.resample import Order, Resampling, axis_weights, orders, resample_image
from metseg.engines.nnunet.stage import NnunetModel
from metseg.preprocess.separable import apply_along

_MOST_REGIONS: Final = 64  # each is a bit of a number
_SLAB_VOXELS: Final = 4_000_000
# From this share of a slab on, interpolating all of it is faster than picking voxels.
_MANY: Final = 0.1


def decided(logits: Float[np.ndarray, "output ..."], model: NnunetModel) -> NDArray[np.uint8]:
    """The label of each voxel: that of the largest output, or of the last region that holds it."""
    if not model.regions:
        return label_of(_largest(logits), model)
    labels = np.zeros(logits.shape[1:], dtype=np.uint8)
    for value, region in zip(model.labels, logits, strict=True):
        labels[region > 0] = value
    return labels


def decided_on(
    logits: Float[np.ndarray, "output i j k"],
    target: tuple[int, int, int],
    how: Resampling,
    slow: int | None,
    model: NnunetModel,
) -> NDArray[np.uint8]:
    """Labels (i, j, k) on a grid of ``target`` voxels between the same outer faces.

    Args:
        logits: on the stage's grid.
        target: voxels afterwards.
        how: by which splines; all of the logits are resampled where one is more than linear.
        slow: ``Resampling.slow_axis``.
        model: what the outputs mean.
    """
    axes = [Axis(n, after, order) for n, after, order in zip(logits.shape[1:], target, orders(how, slow))]
    if not all(axis.linear for axis in axes) or (model.regions and len(logits) > _MOST_REGIONS):
        return decided(resample_image(logits, target, how, slow), model)
    coarse = states(logits, regions=model.regions)
    labels = np.empty(target, dtype=np.uint8)
    for rows in slabs(target):
        labels[rows] = _slab(logits, coarse, axes, rows, model)
    return labels


def slabs(shape: tuple[int, int, int]) -> Iterator[slice]:
    """Rows of a grid, some millions of voxels at a time."""
    step = max(1, _SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


class Axis:
    """Between which two voxels of one axis each target voxel lies, and how near it is to the second.

    Args:
        n_in: voxels of the stage.
        n_out: of the target.
        order: of the spline.
    """

    def __init__(self, n_in: int, n_out: int, order: Order) -> None:
        self.weights = axis_weights(n_in, n_out, order)
        used = self.weights != 0
        self.first = used.argmax(axis=1)
        self.last = n_in - 1 - used[:, ::-1].argmax(axis=1)
        self.linear = bool((self.last - self.first).max(initial=0) <= 1)
        self.same = n_in == n_out
        self.share = self.weights[np.arange(n_out), self.last]

    def needed(self, rows: slice) -> slice:
        """The stage's voxels that these target voxels lie between."""
        return slice(int(self.first[rows].min()), int(self.last[rows].max()) + 1)


def states(logits: Float[np.ndarray, "output ..."], *, regions: bool) -> NDArray[np.unsignedinteger]:
    """A number for what each voxel is: the output that is largest, or one bit for each region that holds it."""
    if not regions:
        return _largest(logits)
    bits = np.zeros(logits.shape[1:], dtype=np.uint8 if len(logits) <= 8 else np.uint64)
    for number, region in enumerate(logits):
        bits |= (region > 0).astype(bits.dtype) << bits.dtype.type(number)
    return bits


def _largest(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Which output is the largest, the first of equals: five times as fast as ``argmax`` over the first axis."""
    best = logits[0].copy()
    winner = np.zeros(best.shape, dtype=np.uint8)
    for number, output in enumerate(logits[1:], start=1):
        winner[output > best] = number
        np.maximum(best, output, out=best)
    return winner


def _slab(
    logits: NDArray[np.float32],
    coarse: NDArray[np.unsignedinteger],
    axes: Sequence[Axis],
    rows: slice,
    model: NnunetModel,
) -> NDArray[np.uint8]:
    """Labels of some rows of the target."""
    low, high = around(coarse, axes, rows)
    if low is high:
        return label_of(low, model)
    mixed = low != high
    if np.count_nonzero(mixed) > _MANY * mixed.size:
        needed = axes[0].needed(rows)
        return decided(_interpolated(logits[:, needed], axes, rows, needed), model)
    labels = label_of(low, model)
    flat = np.flatnonzero(mixed)
    i, j, k = np.unravel_index(flat, mixed.shape)
    labels.flat[flat] = decided(picked(logits, axes, (i + rows.start, j, k)), model)
    return labels


def around(
    coarse: NDArray[np.unsignedinteger], axes: Sequence[Axis], rows: slice
) -> tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]:
    """Bits that all of the voxels around each target voxel have, and those that any has; equal where they agree."""
    needed = axes[0].needed(rows)
    part = coarse[needed]
    shape = (rows.stop - rows.start, len(axes[1].first), len(axes[2].first))
    if (part == part.flat[0]).all():
        same = np.full(shape, part.flat[0], dtype=part.dtype)
        return same, same
    low, high = part, part
    for axis in (2, 1, 0):
        first, last = axes[axis].first, axes[axis].last
        if axis == 0:
            first, last = first[rows] - needed.start, last[rows] - needed.start
        elif axes[axis].same:
            continue
        low = low.take(first, axis) & low.take(last, axis)
        high = high.take(first, axis) | high.take(last, axis)
    return low, high


def label_of(states: NDArray[np.unsignedinteger], model: NnunetModel) -> NDArray[np.uint8]:
    """The label that each state stands for."""
    if not model.regions:
        if model.labels == tuple(range(len(model.labels))):
            return states.astype(np.uint8)
        table = np.zeros(256, dtype=np.uint8)
        table[: len(model.labels)] = model.labels
        return np.asarray(table[states])
    labels = np.zeros(states.shape, dtype=np.uint8)
    for number, value in enumerate(model.labels):
        labels[(states >> states.dtype.type(number)) & states.dtype.type(1) == 1] = value
    return labels


def _interpolated(logits: NDArray[np.float32], axes: Sequence[Axis], rows: slice, needed: slice) -> NDArray[np.float32]:
    """Logits of all voxels of some rows: (output, rows, j, k)."""
    slab = apply_along(logits, axes[0].weights[rows, needed], 1)
    for number, axis in enumerate(axes[1:], start=2):
        if not axis.same:
            slab = apply_along(slab, axis.weights, number)
    return slab


def picked(
    logits: NDArray[np.float32], axes: Sequence[Axis], where: tuple[NDArray[np.intp], ...]
) -> NDArray[np.float32]:
    """Logits of single voxels: (output, voxel)."""
    total = np.zeros((len(logits), len(where[0])), dtype=np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.ones(len(where[0]), dtype=np.float32)
        place = []
        for axis, index, upper in zip(axes, where, corner, strict=True):
            share = axis.share[index]
            # Where both neighbours are one voxel, its share is 1 and the lower corner counts for nothing.
            weight *= share if upper else 1 - share
            place.append((axis.last if upper else axis.first)[index])
        total += weight * logits[(slice(None), *place)]
    return total
