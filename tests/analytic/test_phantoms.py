import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from metseg.core.grid import Grid
from metseg.testing.phantoms import Box, Ellipsoid, draw_fraction, draw_mask, make_phantom

TURN = Rotation.from_rotvec((20, -35, 50), degrees=True).as_matrix().T.tolist()


@pytest.fixture
def grid():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec((11, -17, 23), degrees=True).as_matrix() * (0.7, 1.1, 1.9)
    affine[:3, 3] = (-10, 20, 5)
    return Grid((40, 30, 20), affine)


@pytest.mark.parametrize("kind", ["ellipsoid", "box"])
def test_fractions_add_up_to_the_volume(grid, kind):
    centre = tuple(grid.to_world((19.3, 14.8, 9.6)).tolist())
    shape = Ellipsoid(centre, (5, 8, 6.5), TURN) if kind == "ellipsoid" else Box(centre, (9, 12, 7.5), TURN)
    fraction = draw_fraction(shape, grid)
    assert fraction.sum() * grid.voxel_volume_mm3 == pytest.approx(shape.volume_mm3, rel=0.004)
    assert draw_mask(shape, grid).sum() * grid.voxel_volume_mm3 == pytest.approx(shape.volume_mm3, rel=0.04)
    assert fraction.max() == 1
    weights = fraction / fraction.sum()
    middle = grid.to_world(np.argwhere(fraction > 0)).T @ weights[fraction > 0]
    assert middle == pytest.approx(centre, abs=0.03)


def test_a_shape_reaches_as_far_as_it_says():
    body = Ellipsoid((0, 0, 0), (5, 8, 6.5), TURN)
    rng = np.random.default_rng(0)
    points = rng.uniform(-9, 9, (200_000, 3))
    reached = np.abs(points[body.holds(points)]).max(axis=0)
    assert (reached <= body.reach_mm).all()
    assert reached == pytest.approx(body.reach_mm, rel=0.05)
    assert body.volume_mm3 == pytest.approx(4 / 3 * math.pi * 5 * 8 * 6.5)


def test_a_shape_outside_draws_nothing(grid):
    assert not draw_mask(Ellipsoid.sphere((500, 0, 0), 10), grid).any()


def test_a_phantom_is_what_it_says(grid):
    centre = tuple(grid.to_world((20, 15, 10)).tolist())
    phantom = make_phantom(grid, [Ellipsoid.sphere(centre, 8)], noise=1.0)
    image = phantom.study.images["t1c"].array
    assert np.median(image[phantom.truth.array == 1]) == pytest.approx(300, abs=5)
    assert image[20, 5, 10] == pytest.approx(100, abs=5)
    assert image[0, 0, 0] == 0
    again = make_phantom(grid, [Ellipsoid.sphere(centre, 8)], noise=1.0)
    assert np.array_equal(again.study.images["t1c"].array, image)
