"""What the tests share: data beside the checkout, and small volumes in awkward places."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
from _pytest.doctest import DoctestModule
from hypothesis import settings
from scipy.spatial.transform import Rotation

from metseg.core.grid import Grid
from metseg.core.volume import Volume

ROOT = Path(__file__).resolve().parent.parent

# The same examples in every run: a test fails when the code changes, not when the dice do.
settings.register_profile("metseg", deadline=None, max_examples=30, derandomize=True, database=None)
settings.load_profile("metseg")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[Any], list[Any]]:
    """Tests hold no doctests: looking for them would make of a test file that cannot be imported a skipped one."""
    return [one for one in (yield) if not isinstance(one, DoctestModule)]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Callable[..., Path]:
    """Finds data beside the checkout: ``shared("data", "mets")``. The test is skipped where it is absent."""

    def find(*parts: str) -> Path:
        path = ROOT.parent.joinpath("shared", *parts)
        if not path.exists():
            pytest.skip(f"needs {'/'.join(('shared', *parts))}, which is not beside this checkout")
        return path

    return find


def oblique_affine(spacing_mm=(0.7, 1.1, 2.9), rotvec_degrees=(11, -17, 23), origin_mm=(-41.5, 63.25, -20.75)):
    """Affine of axes stored as P, I, R (none of them first in RAS order) and turned out of the world's planes."""
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], dtype=float)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(rotvec_degrees, degrees=True).as_matrix() @ axes * spacing_mm
    affine[:3, 3] = origin_mm
    return affine


@pytest.fixture
def oblique_grid() -> Grid:
    """Oblique, anisotropic (0.7×1.1×2.9 mm), non-cubic (13×11×7); its axes point to P, I and R."""
    return Grid((13, 11, 7), oblique_affine())


@pytest.fixture
def make_volume() -> Callable[..., Volume]:
    """Makes small volumes, oblique and anisotropic unless told otherwise, every voxel of another value.

    ``make_volume(shape=(13, 11, 7), dtype="float32", seed=0, **affine)``; see ``oblique_affine`` for the rest.
    """

    def make(shape=(13, 11, 7), dtype="float32", seed=0, **affine) -> Volume:
        values = np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape)
        return Volume(values.astype(dtype), Grid(shape, oblique_affine(**affine)))

    return make


@pytest.fixture
def oblique_volume(make_volume) -> Volume:
    """A float32 volume on ``oblique_grid``."""
    return make_volume()


@pytest.fixture
def blob_mask() -> Callable[..., np.ndarray]:
    """Makes ball masks in millimetres: ``blob_mask(grid, [((x, y, z), radius_mm), …])`` -> bool (i, j, k)."""

    def make(grid: Grid, balls) -> np.ndarray:
        points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
        near = [np.linalg.norm(points - centre, axis=-1) <= radius for centre, radius in balls]
        return np.logical_or.reduce(near)

    return make


@pytest.fixture
def any_types() -> Iterator[None]:
    """Lets a test hand metseg what its annotations forbid, to see metseg's own answer instead of the checker's."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
