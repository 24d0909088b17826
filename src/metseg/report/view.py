"""Planes of any grid as a radiologist hangs them: patient's right on the picture's left, anterior or superior up."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float, Real
from numpy.typing import ArrayLike, NDArray

from metseg.core.errors import InputError
from metseg.core.grid import Grid

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: Final[tuple[Plane, ...]] = ("axial", "coronal", "sagittal")

# World axes (0 = R, 1 = A, 2 = S) that run along a picture's x and y, and through the picture.
_WORLD_AXES: Final[dict[Plane, tuple[int, int, int]]] = {
    "axial": (0, 1, 2),
    "coronal": (0, 2, 1),
    "sagittal": (1, 2, 0),
}
_SIDES: Final = (("R", "L"), ("A", "P"), ("S", "I"))


@dataclass(frozen=True, eq=False)
class View:
    """One plane of a grid, hung radiologically.

    Slices are taken along the voxel axis nearest to the plane's normal; nothing is resampled, so on an oblique grid
    the picture is as oblique as the scan. Picture coordinates (x, y) count pixels from the top left *corner*: the
    pixel in column c and row r covers c … c+1 and r … r+1, and its voxel's centre lies at (c + ½, r + ½).

    Args:
        grid: any grid: flipped, permuted, oblique.
        plane: which plane.

    Raises:
        InputError: no such plane.
    """

    grid: Grid
    plane: Plane

    def __post_init__(self) -> None:
        if self.plane not in PLANES:
            raise InputError(f"There is no plane called {self.plane!r}; known are {', '.join(PLANES)}.")

    @cached_property
    def axes(self) -> tuple[int, int, int]:
        """Voxel axes along the picture's x, along its y, and through it."""
        across, down, through = (self.grid.axis_order[world] for world in _WORLD_AXES[self.plane])
        return across, down, through

    @cached_property
    def _flips(self) -> tuple[bool, bool]:
        # In all three pictures R, A and S lie at the start of x or y: a voxel axis that points there is turned round.
        (world_x, world_y, _), (across, down, _) = _WORLD_AXES[self.plane], self.axes
        direction = self.grid.direction
        return bool(direction[world_x, across] > 0), bool(direction[world_y, down] > 0)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a picture."""
        across, down, _ = self.axes
        return self.grid.shape[down], self.grid.shape[across]

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Width and height of a pixel."""
        across, down, _ = self.axes
        return self.grid.spacing_mm[across], self.grid.spacing_mm[down]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of a picture."""
        (rows, columns), (width, height) = self.shape, self.pixel_mm
        return columns * width, rows * height

    @property
    def slices(self) -> int:
        """How many slices there are."""
        return self.grid.shape[self.axes[2]]

    @property
    def ascending(self) -> bool:
        """Does a higher slice number lie further to the patient's right, front or top?"""
        return bool(self.grid.direction[_WORLD_AXES[self.plane][2], self.axes[2]] > 0)

    @property
    def sides(self) -> tuple[str, str, str, str]:
        """Which way the patient lies: letters for the picture's left, right, top and bottom edge."""
        world_x, world_y, _ = _WORLD_AXES[self.plane]
        return (*_SIDES[world_x], *_SIDES[world_y])

    def slice(self, array: Real[np.ndarray, "i j k"], index: int) -> Real[np.ndarray, "rows columns"]:
        """Slice number ``index``, as a picture: a view of ``array``, nothing copied.

        Raises:
            InputError: an array of another shape than the grid, or a slice that is not there.
        """
        if array.shape != self.grid.shape:
            raise InputError(f"An array of shape {array.shape} does not fit a grid of {self.grid.shape}.")
        if not 0 <= index < self.slices:
            raise InputError(f"There is no {self.plane} slice {index}: slices run from 0 to {self.slices - 1}.")
        across, down, through = self.axes
        flip_x, flip_y = self._flips
        picture: NDArray[Any] = array.transpose(down, across, through)[:, :, index]
        return picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1]

    def to_picture(self, ijk: ArrayLike) -> Float[np.ndarray, "*batch 2"]:
        """Voxel indices (…, 3), fractions allowed, to picture coordinates (…, 2): x, y."""
        voxel = np.asarray(ijk, dtype=np.float64)
        across, down, _ = self.axes
        flip_x, flip_y = self._flips
        rows, columns = self.shape
        x, y = voxel[..., across] + 0.5, voxel[..., down] + 0.5
        return np.stack([columns - x if flip_x else x, rows - y if flip_y else y], axis=-1)

    def to_index(self, xy: ArrayLike, index: float) -> Float[np.ndarray, "*batch 3"]:
        """Picture coordinates (…, 2) on slice number ``index`` to voxel indices (…, 3)."""
        point = np.asarray(xy, dtype=np.float64)
        across, down, through = self.axes
        flip_x, flip_y = self._flips
        rows, columns = self.shape
        voxel = np.empty((*point.shape[:-1], 3))
        voxel[..., across] = (columns - point[..., 0] if flip_x else point[..., 0]) - 0.5
        voxel[..., down] = (rows - point[..., 1] if flip_y else point[..., 1]) - 0.5
        voxel[..., through] = index
        return voxel
