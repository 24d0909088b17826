"""Where voxels lie in the world: an index space and its affine to RAS+ millimetres."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from metseg.core.errors import InputError

Array = NDArray[np.float64]
_AXIS_CODES = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True, eq=False)
class Grid:
    """A box of voxels in the world.

    Args:
        shape: number of voxels along i, j, k; each at least 1.
        affine: 4×4, maps homogeneous voxel indices (i, j, k, 1), taken at voxel centres, to RAS+ millimetres.

    Raises:
        InputError: a shape that is not three positive integers, or an affine that is not finite, not
            invertible, or whose last row is not (0, 0, 0, 1).
    """

    shape: tuple[int, int, int]
    affine: Array

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"A grid needs three positive sizes, but has shape {tuple(self.shape)}.")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError(f"A grid needs a finite 4×4 affine, but has {affine.tolist()}.")
        if not np.array_equal(affine[3], (0, 0, 0, 1)):
            raise InputError(f"The last row of an affine must be (0, 0, 0, 1), but is {affine[3].tolist()}.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if min(lengths) <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
            raise InputError("The affine is singular: two voxel axes point the same way, or one has no length.")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def isotropic(
        cls, shape: tuple[int, int, int], spacing_mm: float = 1.0, origin_mm: ArrayLike = (0, 0, 0)
    ) -> "Grid":
        """Axis-aligned RAS+ grid with cubic voxels; ``origin_mm`` is the centre of voxel (0, 0, 0)."""
        affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
        affine[:3, 3] = origin_mm
        return cls(shape, affine)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along i, j, k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @cached_property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel (of the parallelepiped, if the axes are sheared)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @cached_property
    def direction(self) -> Array:
        """3×3; column a is the unit vector of voxel axis a in RAS+."""
        return np.asarray(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))

    @cached_property
    def axis_order(self) -> tuple[int, int, int]:
        """The voxel axis that lies nearest to each world axis: x, y, z. Every axis is used once."""
        cosines = np.abs(self.direction)
        orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        return max(orders, key=lambda order: sum(cosines[world, voxel] for world, voxel in enumerate(order)))

    @property
    def axial_axis(self) -> int:
        """The voxel axis nearest to superior: slices across it are (closest to) axial."""
        return self.axis_order[2]

    @cached_property
    def axis_codes(self) -> str:
        """Where each voxel axis points to, for people: ``"RAS"``, ``"LPS"``, ``"PIR"`` …"""
        world_of = {voxel: world for world, voxel in enumerate(self.axis_order)}
        return "".join(_AXIS_CODES[world_of[a]][int(self.direction[world_of[a], a] > 0)] for a in range(3))

    def to_world(self, ijk: ArrayLike) -> Array:
        """Voxel indices (…, 3), fractions allowed, to RAS+ millimetres (…, 3)."""
        return np.asarray(np.asarray(ijk, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_index(self, xyz_mm: ArrayLike) -> Array:
        """RAS+ millimetres (…, 3) to fractional voxel indices (…, 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(np.asarray(xyz_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3])

    def corners_mm(self) -> Float[np.ndarray, "8 3"]:
        """Centres of the eight corner voxels in RAS+ millimetres, in a fixed order."""
        return self.to_world(list(product(*((0, n - 1) for n in self.shape))))

    def distance_mm(self, other: "Grid") -> float:
        """Largest displacement of a corner voxel between two grids; infinite if their shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        return float(np.linalg.norm(self.corners_mm() - other.corners_mm(), axis=1).max())

    def matches(self, other: "Grid", atol_mm: float = 1e-3) -> bool:
        """Do both grids put every voxel at the same place, to within ``atol_mm``?"""
        return self.distance_mm(other) <= atol_mm

    def crop(self, start: Sequence[int], shape: tuple[int, int, int]) -> "Grid":
        """The grid of a sub-box that starts at voxel ``start`` (negative: beyond the edge)."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(start)
        return Grid(shape, affine)

    def __str__(self) -> str:
        sizes = "×".join(map(str, self.shape))
        spacing = "×".join(f"{s:.4g}" for s in self.spacing_mm)
        origin = ", ".join(f"{x:.1f}" for x in self.affine[:3, 3])
        return f"{sizes} voxels of {spacing} mm, {self.axis_codes}, first voxel at ({origin}) mm"
