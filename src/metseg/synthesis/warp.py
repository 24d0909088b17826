"""Turn, scale, mirror and bend a host: where the voxels of a scene lie in it."""

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.fields import Shape, smooth_field


def sampling(
    rng: np.random.Generator, shape: Shape, centre: NDArray[np.float64], spacing_mm: float = 1.0, tilt_deg: float = 9.0
) -> list[NDArray[np.float32]]:
    """Host coordinates (3 × (i, j, k), in millimetres) of a scene's voxels about ``centre``.

    Args:
        rng: source of chance.
        shape: of the scene, in voxels.
        centre: of the scene, in the host.
        spacing_mm: of the scene; hosts have 1 mm.
        tilt_deg: standard deviation of the turn about each axis.
    """
    a, b, c = rng.normal(0, np.deg2rad(tilt_deg), 3)
    turn = np.array([[1, -c, b], [c, 1, -a], [-b, a, 1]])
    q, _ = np.linalg.qr(turn)
    matrix = q * np.sign(np.diag(q)) * rng.uniform(0.88, 1.13, 3) * (rng.choice((-1, 1)), 1, 1) * spacing_mm
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape), indexing="ij", sparse=True)
    bend = rng.uniform(0.5, 2.5)
    return [
        (row[0] * axes[0] + row[1] * axes[1] + row[2] * axes[2]).astype(np.float32)
        + np.float32(middle)
        + np.float32(bend) * smooth_field(rng, shape, rng.uniform(20, 50) / spacing_mm)
        for row, middle in zip(matrix, centre, strict=True)
    ]


def nearest_tissues(host: NDArray[np.uint8], coordinates: list[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Host labels at the nearest voxel; beyond the host there is air."""
    index = [np.rint(axis).astype(np.int32) for axis in coordinates]
    inside = np.ones(index[0].shape, dtype=bool)
    for axis, size in zip(index, host.shape, strict=True):
        inside &= (axis >= 0) & (axis < size)
        np.clip(axis, 0, size - 1, out=axis)
    return np.where(inside, host[index[0], index[1], index[2]], 0).astype(np.uint8)
