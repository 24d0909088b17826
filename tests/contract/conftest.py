"""What tests of engines share: an oblique, anisotropic phantom of two lesions."""

import numpy as np
import pytest

from metseg.core.grid import Grid
from metseg.testing.phantoms import Ellipsoid, make_phantom


@pytest.fixture(scope="module")
def grid():
    affine = np.array([[0, 0.1, 1.6, -20], [-0.9, 0.2, 0.1, 30], [-0.1, -1.1, 0.3, 12], [0, 0, 0, 1]])
    return Grid((31, 27, 15), affine)


@pytest.fixture(scope="module")
def phantom(grid):
    first, second = (tuple(grid.to_world(at).tolist()) for at in ((12, 12, 7), (20, 15, 8)))
    return make_phantom(grid, [Ellipsoid.sphere(first, 9.0), Ellipsoid.sphere(second, 6.0)])
