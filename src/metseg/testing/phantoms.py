"""Shapes of known volume and diameter, drawn on any grid with partial volume, and small studies made of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import LabelMap, Volume

Array = NDArray[np.float64]
Point = tuple[float, float, float]
_UPRIGHT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid in the world.

    Args:
        centre_mm: RAS+.
        radii_mm: half axes.
        axes: 3×3 orthonormal rows: the direction of each half axis in RAS+.
    """

    centre_mm: Point
    radii_mm: Point
    axes: Sequence[Sequence[float]] = field(default=_UPRIGHT)

    @classmethod
    def sphere(cls, centre_mm: Point, diameter_mm: float) -> "Ellipsoid":
        """A ball."""
        radius = diameter_mm / 2
        return cls(centre_mm, (radius, radius, radius))

    @property
    def volume_mm3(self) -> float:
        """4/3 π abc."""
        return 4 / 3 * math.pi * math.prod(self.radii_mm)

    @property
    def reach_mm(self) -> Array:
        """Half the sides of its bounding box along the world's axes."""
        return np.asarray(np.linalg.norm(np.asarray(self.axes) * np.asarray(self.radii_mm)[:, None], axis=0))

    def holds(self, points: Float[np.ndarray, "*n 3"]) -> NDArray[np.bool_]:
        """Which points, in RAS+ mm, lie inside."""
        local = (points - self.centre_mm) @ np.asarray(self.axes).T / self.radii_mm
        return np.asarray((local**2).sum(axis=-1) <= 1)


@dataclass(frozen=True)
class Box:
    """A solid box in the world.

    Args:
        centre_mm: RAS+.
        sides_mm: lengths of its edges.
        axes: 3×3 orthonormal rows: the direction of each edge in RAS+.
    """

    centre_mm: Point
    sides_mm: Point
    axes: Sequence[Sequence[float]] = field(default=_UPRIGHT)

    @property
    def volume_mm3(self) -> float:
        """Product of the sides."""
        return math.prod(self.sides_mm)

    @property
    def reach_mm(self) -> Array:
        """Half the sides of its bounding box along the world's axes."""
        return np.asarray(np.abs(np.asarray(self.axes) * np.asarray(self.sides_mm)[:, None]).sum(axis=0) / 2)

    def holds(self, points: Float[np.ndarray, "*n 3"]) -> NDArray[np.bool_]:
        """Which points, in RAS+ mm, lie inside."""
        local = np.abs((points - self.centre_mm) @ np.asarray(self.axes).T)
        return np.asarray((local <= np.asarray(self.sides_mm) / 2).all(axis=-1))


Shape = Ellipsoid | Box


def _drawn(shape: Shape, grid: Grid, share: Callable[[Array], Array]) -> NDArray[np.float32]:
    """``share`` of the voxels (points (i, j, k, 3) to (i, j, k)) that can meet a shape; 0 elsewhere."""
    result = np.zeros(grid.shape, dtype=np.float32)
    signs = np.array(np.meshgrid((-1, 1), (-1, 1), (-1, 1))).reshape(3, -1).T
    corners = grid.to_index(np.asarray(shape.centre_mm) + signs * shape.reach_mm)
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, grid.shape)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, 0, grid.shape)
    if (high > low).all():
        box = tuple(slice(a, b) for a, b in zip(low, high))
        indices = np.moveaxis(np.indices(high - low), 0, -1) + low
        result[box] = share(indices.astype(np.float64))
    return result


def draw_fraction(shape: Shape, grid: Grid, samples: int = 4) -> NDArray[np.float32]:
    """The fraction of each voxel that a shape fills, in [0, 1], from ``samples``³ points a voxel."""
    steps = (np.arange(samples) + 0.5) / samples - 0.5
    offsets = np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T

    def share(indices: Array) -> Array:
        inside = np.zeros(indices.shape[:-1])
        for offset in offsets:
            inside += shape.holds(grid.to_world(indices + offset))
        return inside / len(offsets)

    return _drawn(shape, grid, share)


def draw_mask(shape: Shape, grid: Grid) -> NDArray[np.bool_]:
    """The voxels whose centres lie in a shape."""
    return _drawn(shape, grid, lambda indices: shape.holds(grid.to_world(indices)).astype(np.float64)) > 0


@dataclass(frozen=True)
class Phantom:
    """A study and what is in it.

    Args:
        study: one ``t1c`` image.
        truth: 1, 2, 3 … for the lesions in the order they were given.
        lesions: their shapes.
    """

    study: Study
    truth: LabelMap
    lesions: tuple[Shape, ...]


def make_phantom(
    grid: Grid, lesions: Sequence[Shape], *, noise: float = 2.0, seed: int = 0, sequence: str = "t1c"
) -> Phantom:
    """A brain (an ellipsoid of intensity 100 that nearly fills the grid, in air of 0) with bright lesions (of 300).

    Args:
        grid: of the study.
        lesions: shapes inside the brain.
        noise: standard deviation of Gaussian noise inside the brain.
        seed: of the noise.
        sequence: name of the image.
    """
    middle = grid.to_world((np.array(grid.shape) - 1) / 2)
    x, y, z = middle.tolist()
    # Half axes along the voxel axes: the brain keeps clear of the edge on every grid.
    half = 0.45 * np.array(grid.shape) * grid.spacing_mm
    brain = Ellipsoid((x, y, z), (float(half[0]), float(half[1]), float(half[2])), axes=grid.direction.T.tolist())
    inside = draw_fraction(brain, grid, samples=2)
    image = 100 * inside
    truth = np.zeros(grid.shape, dtype=np.uint16)
    for number, lesion in enumerate(lesions, 1):
        fraction = draw_fraction(lesion, grid)
        image += fraction * (300 - image)
        truth[draw_mask(lesion, grid)] = number
    rng = np.random.default_rng(seed)
    image += noise * rng.standard_normal(grid.shape, dtype=np.float32) * (inside > 0)
    names = dict.fromkeys(range(1, len(lesions) + 1), "lesion")
    study = Study("phantom", {sequence: Volume(image.astype(np.float32), grid)}, skull_stripped=True)
    return Phantom(study, LabelMap(truth, grid, names), tuple(lesions))
