"""An array and where it lies: images, label maps, probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.core.grid import Grid


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view of ``array``: a holder cannot be changed through it."""
    view = array.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, eq=False)
class Volume:
    """One scalar image.

    Args:
        array: (i, j, k), a real integer or float type; read-only from here on.
        grid: where the voxels lie; its shape is the array's.

    Raises:
        InputError: shapes that disagree, or an array that is not of real numbers.
    """

    array: NDArray[Any]
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise InputError(f"An array of shape {self.array.shape} does not fit a grid of {self.grid.shape}.")
        if self.array.dtype.kind not in "iuf":
            raise InputError(f"A volume needs real numbers, but its array is of type {self.array.dtype}.")
        object.__setattr__(self, "array", _frozen(self.array))


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One whole number a voxel, and what the numbers mean.

    Args:
        array: (i, j, k), of an unsigned integer type; 0 is background.
        grid: where the voxels lie.
        labels: name of each value but 0. Values in the array that have no name are allowed for instance maps.

    Raises:
        InputError: shapes that disagree, or an array that is not of unsigned integers.
    """

    array: NDArray[Any]
    grid: Grid
    labels: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise InputError(f"A label map of shape {self.array.shape} does not fit a grid of {self.grid.shape}.")
        if self.array.dtype.kind != "u":
            raise InputError(f"A label map needs unsigned whole numbers, but its array is of type {self.array.dtype}.")
        object.__setattr__(self, "array", _frozen(self.array))
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))


@dataclass(frozen=True, eq=False)
class ProbabilityMap:
    """A probability for each class at each voxel.

    Args:
        array: (class, i, j, k), float32, finite, in [0, 1].
        grid: where the voxels lie (the model's grid, not necessarily the study's).
        classes: name of each class along the first axis, background left out.
        decision: the model's own labels, on the study's grid, where it decides by more than a threshold.
        warnings: how it was made otherwise than asked for, a sentence each.
        skull_stripped: whether the skull was off the images already, as the engine found; None where it did not look.

    Raises:
        InputError: shapes that disagree, or another type than float32. The range is checked by
            ``metseg.testing.check_engine`` and by the pipeline, not at each construction.
    """

    array: NDArray[np.float32]
    grid: Grid
    classes: tuple[str, ...]
    decision: "LabelMap | None" = None
    warnings: tuple[str, ...] = ()
    skull_stripped: bool | None = None

    def __post_init__(self) -> None:
        if self.array.shape != (len(self.classes), *self.grid.shape):
            expected = (len(self.classes), *self.grid.shape)
            raise InputError(f"A probability map of shape {self.array.shape} should have shape {expected}.")
        if self.array.dtype != np.float32:
            raise InputError(f"A probability map must be float32, but is {self.array.dtype}.")
        object.__setattr__(self, "array", _frozen(self.array))

    def of(self, name: str) -> NDArray[np.float32]:
        """Probabilities (i, j, k) of the class called ``name``."""
        probabilities: NDArray[np.float32] = self.array[self.classes.index(name)]
        return probabilities
