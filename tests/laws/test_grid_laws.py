"""What holds for every grid, however it lies."""

import itertools

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes, io_orientation

from metseg.core.grid import Grid
from strategies import aligned_grids, grids, shapes

points = st.lists(st.tuples(*[st.floats(-20, 20)] * 3), min_size=1, max_size=5)
offsets = st.tuples(*[st.integers(-4, 12)] * 3)


@given(grids(), points)
def test_index_to_world_and_back(grid, ijk):
    np.testing.assert_allclose(grid.to_index(grid.to_world(ijk)), ijk, atol=1e-8)


@given(grids(), points)
def test_world_is_the_affine_times_the_index(grid, ijk):
    expected = [(grid.affine @ [*point, 1])[:3] for point in ijk]
    np.testing.assert_allclose(grid.to_world(ijk), expected, rtol=1e-12, atol=1e-9)


@given(grids())
def test_one_step_along_an_axis_is_one_spacing(grid):
    steps = grid.to_world(np.eye(3)) - grid.to_world((0, 0, 0))
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), grid.spacing_mm, rtol=1e-9)
    np.testing.assert_allclose(steps.T, grid.direction * grid.spacing_mm, atol=1e-9)
    np.testing.assert_allclose(grid.voxel_volume_mm3, np.prod(grid.spacing_mm), rtol=1e-9)


@given(grids())
def test_axis_order_is_a_permutation_and_the_best_one(grid):
    assert sorted(grid.axis_order) == [0, 1, 2]
    cosines = np.abs(grid.direction)
    totals = {order: cosines[[0, 1, 2], list(order)].sum() for order in itertools.permutations(range(3))}
    assert totals[grid.axis_order] >= max(totals.values()) - 1e-12
    assert grid.axial_axis == grid.axis_order[2]


@given(grids(tilt_degrees=30))
def test_axis_codes_are_those_of_nibabel(grid):
    # Past 45° of tilt the nearest axis is a matter of taste; nibabel goes axis by axis, we by the whole.
    assert grid.axis_codes == "".join(aff2axcodes(grid.affine))
    assert [grid.axis_order.index(axis) for axis in range(3)] == io_orientation(grid.affine)[:, 0].tolist()


@given(aligned_grids())
def test_axis_codes_name_the_way_each_axis_goes(grid):
    ways = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    np.testing.assert_allclose(grid.direction.T, [ways[code] for code in grid.axis_codes], atol=1e-12)


@given(grids(), offsets, shapes())
def test_a_crop_leaves_every_voxel_where_it_was(grid, start, shape):
    part = grid.crop(start, shape)
    assert part.shape == shape
    inside = list(itertools.product(*((0, n - 1) for n in shape)))
    np.testing.assert_allclose(part.to_world(inside), grid.to_world(np.add(inside, start)), atol=1e-9)
    np.testing.assert_array_equal(part.affine[:3, :3], grid.affine[:3, :3])


@given(grids(), offsets, offsets, shapes())
def test_a_crop_of_a_crop_is_a_crop(grid, first, second, shape):
    assert grid.crop(first, shape).crop(second, shape).matches(grid.crop(np.add(first, second).tolist(), shape), 1e-8)


@given(grids())
def test_cropping_back_gives_the_grid(grid):
    start = (2, -3, 5)
    back = [-s for s in start]
    assert grid.crop(start, (4, 4, 4)).crop(back, grid.shape).matches(grid, 1e-9)


@given(grids())
def test_corners_are_the_eight_outer_voxels(grid):
    corners = grid.to_index(grid.corners_mm())
    np.testing.assert_allclose(corners.min(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(corners.max(axis=0), np.subtract(grid.shape, 1), atol=1e-8)
    assert corners.shape == (8, 3)


@given(grids(), st.tuples(*[st.floats(-5, 5)] * 3))
def test_distance_is_how_far_a_grid_was_shifted(grid, shift):
    affine = grid.affine.copy()
    affine[:3, 3] += shift
    moved = Grid(grid.shape, affine)
    np.testing.assert_allclose(grid.distance_mm(moved), np.linalg.norm(shift), atol=1e-9)
    np.testing.assert_allclose(moved.distance_mm(grid), np.linalg.norm(shift), atol=1e-9)


@given(grids(), st.integers(0, 2), st.floats(0.01, 0.2))
def test_distance_is_that_of_the_corner_that_moves_most(grid, axis, stretch):
    assume(grid.shape[axis] > 1)
    affine = grid.affine.copy()
    affine[:3, axis] *= 1 + stretch
    far = (grid.shape[axis] - 1) * grid.spacing_mm[axis] * stretch
    np.testing.assert_allclose(grid.distance_mm(Grid(grid.shape, affine)), far, rtol=1e-6)


@given(grids())
def test_a_grid_matches_itself_and_no_other_shape(grid):
    i, j, k = grid.shape
    assert grid.matches(grid, atol_mm=0)
    assert grid.distance_mm(Grid((i + 1, j, k), grid.affine)) == float("inf")
