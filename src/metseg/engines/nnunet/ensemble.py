"""Several nnU-Net models as one, as nnU-Net ensembles configurations: the mean of their probabilities decides.

nnU-Net brings the logits of each model to the image's grid, makes them probabilities there and takes the mean. Where
all voxels around a place, in all models, have one label, no mean can have another; so, as in ``decide``, only the other
places are computed, and full-size probabilities never exist.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metseg.engines.nnunet.decide import Axis, around, decided, label_of, picked, slabs, states
from metseg.engines.nnunet.resample import Resampling, orders, resample_image
from metseg.engines.nnunet.stage import NnunetModel

_LINEAR = Resampling(order=1)


@dataclass(frozen=True, eq=False)
class Member:
    """What one model says.

    Args:
        logits: (output, i, j, k), on its last stage's grid.
        how: by which splines they come to the image's grid.
        slow: ``Resampling.slow_axis``.
    """

    logits: NDArray[np.float32]
    how: Resampling
    slow: int | None


def decided_together(members: Sequence[Member], target: tuple[int, int, int], model: NnunetModel) -> NDArray[np.uint8]:
    """Labels (i, j, k) by the mean of the members' probabilities, on a grid between the same outer faces.

    Args:
        members: with the same outputs.
        target: voxels afterwards.
        model: what the outputs mean.
    """
    parts = [_Part.of(member, target, model) for member in members]
    labels = np.empty(target, dtype=np.uint8)
    for rows in slabs(target):
        labels[rows] = _slab(parts, rows, model)
    return labels


def mean_shares(members: Sequence[Member], model: NnunetModel) -> NDArray[np.float32]:
    """Mean probabilities (output, i, j, k) on the grid of the first member, linear in between for the others."""
    first, *others = members
    total = shares(first.logits, regions=model.regions)
    i, j, k = first.logits.shape[1:]
    for member in others:
        total += resample_image(shares(member.logits, regions=model.regions), (i, j, k), _LINEAR, None)
    total /= len(members)
    return total


def shares(logits: NDArray[np.float32], *, regions: bool) -> NDArray[np.float32]:
    """Logits (output, …) as probabilities: each region by itself, or labels that share one voxel."""
    if regions:
        return np.asarray(1 / (1 + np.exp(-logits)))
    odds = np.exp(logits - logits.max(axis=0))
    return np.asarray(odds / odds.sum(axis=0))


@dataclass(frozen=True, eq=False)
class _Part:
    """A member, and where between its voxels those of the target lie."""

    logits: NDArray[np.float32]
    states: NDArray[np.unsignedinteger]
    axes: Sequence[Axis]

    @classmethod
    def of(cls, member: Member, target: tuple[int, int, int], model: NnunetModel) -> "_Part":
        logits, splines = member.logits, orders(member.how, member.slow)
        axes = [Axis(n, after, order) for n, after, order in zip(logits.shape[1:], target, splines, strict=True)]
        if not all(axis.linear for axis in axes):
            logits = resample_image(logits, target, member.how, member.slow)
            axes = [Axis(n, n, 1) for n in target]
        return cls(logits, states(logits, regions=model.regions), axes)


def _slab(parts: Sequence[_Part], rows: slice, model: NnunetModel) -> NDArray[np.uint8]:
    """Labels of some rows of the target."""
    pairs = [around(part.states, part.axes, rows) for part in parts]
    low, high = pairs[0]
    for lower, higher in pairs[1:]:
        low, high = low & lower, high | higher
    labels = label_of(low, model)
    flat = np.flatnonzero(low != high)
    i, j, k = np.unravel_index(flat, low.shape)
    total = np.zeros((len(model.labels), len(flat)), dtype=np.float32)
    for part in parts:
        total += shares(picked(part.logits, part.axes, (i + rows.start, j, k)), regions=model.regions)
    mean = total / len(parts)
    labels.flat[flat] = decided(mean - 0.5 if model.regions else mean, model)
    return labels
