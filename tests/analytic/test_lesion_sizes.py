"""Lesions of known size on awkward grids."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

import strategies
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.lesions.components import label_instances
from metseg.lesions.diameter import diameter_in_space, diameters_in_slice, longest_distance, polygon_diameters
from metseg.lesions.measure import measure_lesions
from metseg.testing.phantoms import Ellipsoid, draw_mask


def grid_of(shape, spacing_mm, rotvec_degrees=(0, 0, 0), origin_mm=(-31.0, 12.5, 7.25)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(rotvec_degrees, degrees=True).as_matrix() * spacing_mm
    affine[:3, 3] = origin_mm
    return Grid(shape, affine)


def measured(mask, grid, probability=None):
    return measure_lesions(LabelMap(label_instances(mask), grid), probability)


def test_a_single_voxel_measures_from_corner_to_corner():
    mask = np.zeros((5, 6, 7), dtype=bool)
    mask[2, 3, 4] = True
    _, table = measured(mask, Grid.isotropic(mask.shape))
    (lesion,) = table
    assert lesion.volume_mm3 == 1.0
    assert lesion.diameter_mm == pytest.approx(math.sqrt(2))
    assert lesion.perpendicular_mm == pytest.approx(math.sqrt(2))
    assert lesion.diameter_3d_mm == pytest.approx(math.sqrt(3))
    assert lesion.slice_number == 4
    assert lesion.centre_mm == (2.0, 3.0, 4.0)
    assert lesion.bbox_ijk == ((2, 3, 4), (3, 4, 5))
    assert lesion.confidence is None


def test_a_box_measures_as_the_box_it_fills():
    grid = grid_of((20, 21, 13), (0.7, 1.1, 2.9), (4, -7, 19))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[3:13, 5:12, 2:6] = True  # 7.0 × 7.7 × 11.6 mm
    _, (lesion,) = measured(mask, grid)
    assert lesion.volume_mm3 == pytest.approx(7.0 * 7.7 * 11.6)
    assert lesion.diameter_mm == pytest.approx(math.hypot(7.0, 7.7))
    # Perpendicular to a diagonal of a rectangle a × b the longest chord is as long as b·√(a²+b²)/a, a the longer side.
    assert lesion.perpendicular_mm == pytest.approx(7.0 / 7.7 * math.hypot(7.0, 7.7))
    assert lesion.diameter_3d_mm == pytest.approx(math.sqrt(7.0**2 + 7.7**2 + 11.6**2))
    assert lesion.centre_ijk == (7.5, 8.0, 3.5)
    assert lesion.centre_mm == pytest.approx(grid.to_world((7.5, 8.0, 3.5)).tolist())
    assert lesion.slice_number == 2  # all slices alike: the most inferior
    assert lesion.bbox_ijk == ((3, 5, 2), (13, 12, 6))


@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (0.5, 0.5, 3), (0.9, 0.45, 1.3)])
@pytest.mark.parametrize("diameter_mm", [6.0, 14.5, 25.0])
def test_a_sphere(spacing_mm, diameter_mm):
    shape = tuple(int(36 / s) for s in spacing_mm)
    grid = grid_of(shape, spacing_mm, (9, 5, -14), (0, 0, 0))
    centre = tuple(grid.to_world((np.array(shape) - 1) / 2 + (0.2, -0.3, 0.1)))
    ball = Ellipsoid.sphere(centre, diameter_mm)
    _, (lesion,) = measured(draw_mask(ball, grid), grid)
    in_plane, in_space = math.hypot(*spacing_mm[:2]), math.hypot(*spacing_mm)
    assert lesion.volume_mm3 == pytest.approx(ball.volume_mm3, rel=0.12)
    assert lesion.centre_mm == pytest.approx(centre, abs=0.35 * max(spacing_mm))
    # Voxels whose centres lie inside: corners reach up to half a voxel diagonal further at either end.
    cut = 2 * math.sqrt((diameter_mm / 2) ** 2 - (spacing_mm[2] / 2) ** 2)
    assert cut - in_plane <= lesion.diameter_mm <= diameter_mm + in_plane
    assert cut - 2 * in_plane <= lesion.perpendicular_mm <= lesion.diameter_mm + 1e-9
    assert diameter_mm - in_space <= lesion.diameter_3d_mm <= diameter_mm + in_space
    assert abs(lesion.slice_number - (shape[2] - 1) / 2) <= 1 + spacing_mm[2] / 2


def test_a_tilted_ellipsoid():
    grid = grid_of((70, 66, 60), (0.5, 0.5, 0.5), (0, 0, 0))
    turn = Rotation.from_rotvec((0, 0, 30), degrees=True).as_matrix()
    body = Ellipsoid(tuple(grid.to_world((34, 32, 30))), (14.0, 6.0, 9.0), turn.T.tolist())
    _, (lesion,) = measured(draw_mask(body, grid), grid)
    assert lesion.volume_mm3 == pytest.approx(body.volume_mm3, rel=0.01)
    assert lesion.diameter_mm == pytest.approx(28, abs=0.8)
    assert lesion.perpendicular_mm == pytest.approx(12, abs=0.8)
    assert lesion.diameter_3d_mm == pytest.approx(28, abs=1.0)
    assert lesion.slice_number == pytest.approx(30, abs=1)


def test_an_oblique_bar_lies_in_a_direction_no_axis_has():
    """A voxel line along (1, 2, 0): its corners are those of its two end voxels."""
    grid = Grid.isotropic((20, 24, 3))
    mask = np.zeros(grid.shape, dtype=bool)
    steps = np.arange(0, 9.01, 0.25)
    mask[(2 + steps).round().astype(int), (2 + 2 * steps).round().astype(int), 1] = True
    found = diameters_in_slice(mask, grid)
    assert found.diameter_mm == pytest.approx(math.hypot(10, 19))
    assert found.slice_index == 1


def test_known_polygons():
    longest, across = polygon_diameters(np.array([(0.0, 0.0), (4.0, -1.0), (10.0, 0.0), (6.0, 2.0)]))
    assert longest == pytest.approx(10)
    assert across == pytest.approx(8 / 3)  # at x = 6: from the edge (4,-1)-(10,0), at y = -2/3, up to 2
    square = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    assert polygon_diameters(square) == pytest.approx((math.sqrt(2), math.sqrt(2)))
    triangle = np.array([(0.0, 0.0), (8.0, 0.0), (4.0, 3.0)])
    assert polygon_diameters(triangle) == pytest.approx((8, 3))


def corners_of(mask):
    return np.unique((np.argwhere(mask)[:, None] + np.array(list(product((0, 1), repeat=3)))).reshape(-1, 3), axis=0)


@given(strategies.masks(strategies.grids(largest=6)))
def test_diameters_equal_those_by_brute_force(mask_and_grid):
    mask, grid = mask_and_grid
    assume(mask.any())
    edges = grid.affine[:3, :3]
    assert diameter_in_space(mask, grid) == pytest.approx(pdist(corners_of(mask) @ edges.T).max())
    axial = grid.axial_axis
    longest = []
    for n in range(mask.shape[axial]):
        one = np.zeros_like(mask)
        at = tuple(slice(n, n + 1) if axis == axial else slice(None) for axis in range(3))
        one[at] = mask[at]
        if one.any():
            corners = corners_of(one)
            longest.append(pdist(corners[corners[:, axial] == n] @ edges.T).max())
        else:
            longest.append(0.0)
    found = diameters_in_slice(mask, grid)
    assert found.diameter_mm == pytest.approx(max(longest))
    assert longest[found.slice_index] == pytest.approx(max(longest))
    assert 0 < found.perpendicular_mm <= found.diameter_mm * (1 + 1e-9)


@given(st.integers(0, 2**16), st.integers(49, 200))
def test_the_hull_keeps_the_longest_distance(seed, n):
    points = np.random.default_rng(seed).normal(size=(n, 3)) * (1, 3, 0.5)
    assert longest_distance(points) == pytest.approx(pdist(points).max())


def lesions_in_mm(mask, probability, grid):
    _, table = measured(mask, grid, Volume(probability, grid))
    upwards = grid.direction[:, grid.axial_axis] * np.sign(grid.direction[2, grid.axial_axis])
    keys = [
        (
            lesion.volume_mm3,
            lesion.diameter_mm,
            lesion.perpendicular_mm,
            lesion.diameter_3d_mm,
            *lesion.centre_mm,
            lesion.confidence,
            # The height of the slice, wherever it is counted from.
            float(grid.to_world(np.eye(3)[grid.axial_axis] * lesion.slice_number) @ upwards),
        )
        for lesion in table
    ]
    return np.array(sorted(keys))


def test_permuted_and_flipped_axes_give_the_same_millimetres():
    grid = grid_of((39, 25, 12), (0.7, 1.1, 2.9), (11, -17, 9))
    rng = np.random.default_rng(5)
    probability = rng.random(grid.shape).astype(np.float32)
    mask = np.zeros(grid.shape, dtype=bool)
    for _ in range(6):
        centre = grid.to_world(rng.uniform(2, np.array(grid.shape) - 3))
        mask |= draw_mask(Ellipsoid(tuple(centre), tuple(rng.uniform(2, 5, 3))), grid)
    expected = lesions_in_mm(mask, probability, grid)
    assert len(expected) > 2
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        affine = grid.affine.copy()
        affine[:3, :3] = grid.affine[:3, order]
        flips = tuple(axis for axis, sign in enumerate(signs) if sign < 0)
        shape = tuple(grid.shape[axis] for axis in order)
        for axis in flips:
            affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
            affine[:3, axis] *= -1
        turned = [np.flip(array.transpose(order), flips) for array in (mask, probability)]
        assert lesions_in_mm(*turned, Grid(shape, affine)) == pytest.approx(expected, rel=1e-7, abs=1e-6)


def test_confidence_is_the_95th_percentile_and_may_come_from_another_grid():
    fine = grid_of((24, 20, 18), (0.5, 0.6, 0.7), (8, -3, 12), (3, 2, 1))
    mask = np.zeros(fine.shape, dtype=bool)
    mask[10:14, 8:12, 6:10] = True
    mask[2, 2, 2] = True

    def plane(grid):
        points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
        return Volume((0.02 * points @ (1.0, -0.5, 0.8) + 0.4).astype(np.float32), grid)

    own = plane(fine)
    _, here = measured(mask, fine, own)
    assert here.lesions[0].confidence == pytest.approx(np.percentile(own.array[10:14, 8:12, 6:10], 95), abs=1e-6)
    assert here.lesions[1].confidence == pytest.approx(own.array[2, 2, 2])
    coarse = grid_of((24, 24, 24), (1.3, 1.1, 0.9), (0, 0, 0), (-8, -8, -8))
    _, there = measured(mask, fine, plane(coarse))
    assert [lesion.confidence for lesion in there] == pytest.approx([one.confidence for one in here], abs=1e-5)


def test_instances_are_renumbered_largest_first_with_their_names(oblique_grid):
    array = np.zeros(oblique_grid.shape, dtype=np.uint16)
    array[1, 1, 1], array[5:8, 5, 5], array[10, 2:4, 0] = 4, 9, 2
    instances, table = measure_lesions(LabelMap(array, oblique_grid, {4: "a", 9: "b", 2: "c"}))
    assert (instances.array[1, 1, 1], instances.array[6, 5, 5], instances.array[10, 3, 0]) == (3, 1, 2)
    assert dict(instances.labels) == {1: "b", 2: "c", 3: "a"}
    voxel = oblique_grid.voxel_volume_mm3
    assert [lesion.volume_mm3 for lesion in table] == pytest.approx([3 * voxel, 2 * voxel, voxel])
    # The axes of this grid point to P, I, R: slices are cut across j, and of equal ones the highest j lies lowest.
    assert [lesion.slice_number for lesion in table] == [5, 3, 1]


def test_no_lesions(oblique_grid):
    instances, table = measure_lesions(LabelMap(np.zeros(oblique_grid.shape, dtype=np.uint8), oblique_grid))
    assert len(table) == 0
    assert not instances.array.any()
