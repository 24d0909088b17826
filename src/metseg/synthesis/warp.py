"""Turn, scale, mirror and bend a host: where the voxels of a scene lie in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.fields import Field, Shape, smooth_field
from metseg.synthesis.substances import Box


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a scene lies in its host.

    The middle of the scene lies at ``centre``.

    Args:
        coordinates: three arrays (i, j, k), host coordinates of the scene's voxels in millimetres.
        matrix: (3, 3), from a step in the scene (voxels) to one in the host, bending left out.
        centre: (3,), host coordinates of the scene's middle, bending left out.
    """

    coordinates: list[NDArray[np.float32]]
    matrix: NDArray[np.float64]
    centre: NDArray[np.float64]

    def voxel_of(self, place: tuple[float, float, float]) -> NDArray[np.float64]:
        """Where in the scene a place in the host lies, bending left out."""
        middle = (np.array(self.shape) - 1) / 2
        return np.asarray(np.linalg.solve(self.matrix, np.array(place) - self.centre) + middle)

    @property
    def shape(self) -> Shape:
        """Of the scene."""
        shape: Shape = self.coordinates[0].shape
        return shape


def sampling(
    rng: np.random.Generator, shape: Shape, centre: NDArray[np.float64], spacing_mm: float = 1.0, tilt_deg: float = 9.0
) -> Placement:
    """A scene of ``shape`` voxels about ``centre``, turned, scaled, mirrored and bent.

    Args:
        rng: source of chance.
        shape: of the scene, in voxels.
        centre: of the scene, in the host.
        spacing_mm: of the scene; hosts have 1 mm.
        tilt_deg: standard deviation of the turn about each axis.
    """
    a, b, c = rng.normal(0, np.deg2rad(tilt_deg), 3)
    turn = np.array([[1, -c, b], [c, 1, -a], [-b, a, 1]])
    q, r = np.linalg.qr(turn)
    matrix = q * np.sign(np.diag(r)) * rng.uniform(0.88, 1.13, 3) * (rng.choice((-1, 1)), 1, 1) * spacing_mm
    bend = np.float32(rng.uniform(0.5, 2.5))
    bends = [bend * smooth_field(rng, shape, rng.uniform(20, 50) / spacing_mm) for _ in range(3)]
    straight = _straight(shape, matrix, centre)
    return Placement([axis + bent for axis, bent in zip(straight, bends, strict=True)], matrix, centre)


def unbent(shape: Shape) -> Placement:
    """The host as it is: its own voxels."""
    matrix, centre = np.eye(3), (np.array(shape) - 1) / 2
    dense = [np.array(np.broadcast_to(axis, shape)) for axis in _straight(shape, matrix, centre)]
    return Placement(dense, matrix, centre)


def _straight(shape: Shape, matrix: NDArray[np.float64], centre: NDArray[np.float64]) -> list[Field]:
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape), indexing="ij", sparse=True)
    return [
        (row[0] * axes[0] + row[1] * axes[1] + row[2] * axes[2]).astype(np.float32) + np.float32(middle)
        for row, middle in zip(matrix, centre, strict=True)
    ]


def push_aside(placement: Placement, box: Box, depth: Field, radius: float, growth: float, movable: Field) -> None:
    """Let a lesion move what surrounds it (``placement`` changes in place): mass effect.

    A ball that grows in an incompressible medium moves what was at distance r₀ to r, r³ = r₀³ + growth · radius³. The
    movement fades over one and a half radii, and towards what cannot move.

    Args:
        placement: of the scene.
        box: of the lesion, with room around it.
        depth: (i, j, k) of the box, millimetres below the lesion's surface.
        radius: of the lesion in millimetres.
        growth: share of the lesion's volume that pushes instead of replacing, 0 … 1.
        movable: (i, j, k) of the box, how freely the tissue there can move, 0 … 1: not outside the skull.
    """
    middle = np.argwhere(depth == depth.max())[0]
    axes = np.meshgrid(
        *(np.arange(n, dtype=np.float32) - c for n, c in zip(depth.shape, middle, strict=True)),
        indexing="ij", sparse=True,
    )  # fmt: skip
    distance = np.maximum(radius - depth, 0.1)  # of the surface's own shape, not of a ball
    before = np.cbrt(np.maximum(distance**3 - growth * radius**3, 0))
    fading = np.clip(1 - (distance - radius) / (1.5 * radius), 0, 1) * movable
    move = (distance - before) * fading
    length = np.maximum(np.sqrt(axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2), 0.5)
    steps = [-move * axis / length for axis in axes]
    for row, coordinate in zip(placement.matrix, placement.coordinates, strict=True):
        coordinate[box] += (row[0] * steps[0] + row[1] * steps[1] + row[2] * steps[2]).astype(np.float32)


def nearest_tissues(host: NDArray[np.uint8], coordinates: list[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Host labels at the nearest voxel; beyond the host there is air."""
    index = [np.rint(axis).astype(np.int32) for axis in coordinates]
    inside = np.ones(index[0].shape, dtype=bool)
    for axis, size in zip(index, host.shape, strict=True):
        inside &= (axis >= 0) & (axis < size)
        np.clip(axis, 0, size - 1, out=axis)
    return np.where(inside, host[index[0], index[1], index[2]], 0).astype(np.uint8)
