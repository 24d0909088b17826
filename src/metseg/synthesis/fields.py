"""Smooth random fields, made cheaply: white noise on a coarse lattice, raised by cubic B-splines."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Field = NDArray[np.float32]


def shape_of(array: NDArray[Any]) -> Shape:
    """The shape of an array known to have three axes."""
    i, j, k = array.shape
    return i, j, k


# Variance of a cubic B-spline sum of unit white noise, averaged over the lattice cell, along one axis.
_SPLINE_VARIANCE = 151 / 315


@lru_cache(maxsize=256)
def _spline_matrix(size: int, step: float) -> Field:
    """(size, knots): cubic B-spline weights at voxels 0 … size − 1 for knots ``step`` voxels apart."""
    position = np.arange(size) / step + 1.0
    knots = int(position[-1]) + 3
    distance = np.abs(position[:, None] - np.arange(knots)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def raise_lattice(lattice: Field, matrices: tuple[Field, Field, Field]) -> Field:
    """Knots (a, b, c) to voxels (i, j, k) by three matrix products."""
    a, b, c = matrices
    along_k = lattice @ c.T
    along_j = np.matmul(b, along_k)
    return np.ascontiguousarray(np.tensordot(a, along_j, axes=(1, 0)))


def smooth_field(rng: np.random.Generator, shape: Shape, correlation: float) -> Field:
    """A zero-mean, unit-variance random field (i, j, k), smooth over about ``correlation`` voxels."""
    matrices = tuple(_spline_matrix(n, max(correlation, 1.0)) for n in shape)
    lattice = rng.standard_normal([m.shape[1] for m in matrices], dtype=np.float32)
    field = raise_lattice(lattice, (matrices[0], matrices[1], matrices[2]))
    return field * np.float32(_SPLINE_VARIANCE**-1.5)


@lru_cache(maxsize=256)
def _gaussian_matrix(size: int, sigma: float) -> Field:
    """(size, size): a Gaussian blur, cut at 2.5 standard deviations; the edge voxel goes on outside."""
    reach = max(round(2.5 * sigma), 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    matrix = np.zeros((size, size))
    for offset, weight in zip(range(-reach, reach + 1), weights / weights.sum(), strict=True):
        np.add.at(matrix, (np.arange(size), np.clip(np.arange(size) + offset, 0, size - 1)), weight)
    return matrix.astype(np.float32)


def blurred(image: Field, sigma: float | tuple[float, float, float]) -> Field:
    """``image`` (i, j, k) blurred by a Gaussian of ``sigma`` voxels; by matrix products, which are fast."""
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma, sigma)
    matrices = tuple(_gaussian_matrix(n, round(s, 2)) for n, s in zip(image.shape, sigmas, strict=True))
    return raise_lattice(image, (matrices[0], matrices[1], matrices[2]))


def grown(mask: NDArray[np.bool_], steps: int = 1) -> NDArray[np.bool_]:
    """``mask`` (i, j, k) and what lies within ``steps`` faces of it."""
    wide = mask.copy()
    for _ in range(steps):
        before = wide.copy()
        for axis in range(3):
            lower, upper = [slice(None)] * 3, [slice(None)] * 3
            lower[axis], upper[axis] = slice(None, -1), slice(1, None)
            wide[tuple(lower)] |= before[tuple(upper)]
            wide[tuple(upper)] |= before[tuple(lower)]
    return wide


def shrunk(mask: NDArray[np.bool_], steps: int = 1) -> NDArray[np.bool_]:
    """``mask`` (i, j, k) without what lies within ``steps`` faces of its outside; the scene's edge is no outside."""
    return ~grown(~mask, steps)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, uniform in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
