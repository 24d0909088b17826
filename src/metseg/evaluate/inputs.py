"""What the evaluator accepts as a mask, an instance map, a probability and a spacing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.lesions.components import Connectivity, label_instances


def check_shapes(**arrays: NDArray[Any] | None) -> None:
    """Make sure that the arrays have three axes and one shape.

    Raises:
        InputError: they do not; names them.
    """
    shapes = {name: array.shape for name, array in arrays.items() if array is not None}
    first = next(iter(shapes.values()))
    if len(first) != 3 or any(shape != first for shape in shapes.values()):
        told = ", ".join(f"{name} {'×'.join(map(str, shape))}" for name, shape in shapes.items())
        raise InputError(f"Arrays to compare need three axes and the same shape, but are: {told}.")


def as_grid(spacing_mm: tuple[float, float, float] | Grid, shape: tuple[int, ...]) -> Grid:
    """The grid; from a spacing, one whose axes i, j, k point to right, anterior and superior.

    Raises:
        InputError: a grid of another shape, or a spacing that is not positive.
    """
    if not isinstance(spacing_mm, Grid):
        if not all(spacing > 0 for spacing in spacing_mm):
            raise InputError(f"Voxel spacings must be positive, but are {spacing_mm}.")
        return Grid((shape[0], shape[1], shape[2]), np.diag([*spacing_mm, 1.0]))
    if spacing_mm.shape != shape:
        raise InputError(f"Arrays of shape {shape} do not fit a grid of {spacing_mm.shape}.")
    return spacing_mm


def as_instances(array: NDArray[Any], connectivity: Connectivity, name: str) -> NDArray[Any]:
    """An instance map: numbered components of a mask; unsigned whole numbers are taken as they are.

    Raises:
        InputError: neither bool nor unsigned.
    """
    if array.dtype == bool:
        return label_instances(array, connectivity)
    if array.dtype.kind == "u":
        return array
    raise InputError(
        f"The {name} must be a mask (bool) or an instance map (unsigned whole numbers), but is {array.dtype}.",
        hint="Compare with > 0 for a mask, or convert with astype('uint32').",
    )


def check_probability(probability: NDArray[Any]) -> None:
    """Make sure that probabilities are finite and in [0, 1].

    Raises:
        InputError: they are not.
    """
    # NaN fails both comparisons.
    if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
        raise InputError("Probabilities must lie between 0 and 1.", hint="Give probabilities, not logits.")
