import numpy as np
import pytest

from metseg.core.errors import InputError
from metseg.core.grid import Grid


def test_oblique_grid_by_hand():
    # Axes P, I, R with 2, 3 and 5 mm: (1, 1, 1) is 5 mm to the right, 2 mm back, 3 mm down from the origin.
    affine = [[0, 0, 5, -10], [-2, 0, 0, 20], [0, -3, 0, 30], [0, 0, 0, 1]]
    grid = Grid((4, 6, 8), np.array(affine, dtype=float))
    assert grid.axis_codes == "PIR"
    assert grid.axis_order == (2, 0, 1)
    assert grid.axial_axis == 1
    assert grid.spacing_mm == (2, 3, 5)
    assert grid.voxel_volume_mm3 == pytest.approx(30)
    assert grid.to_world((1, 1, 1)).tolist() == [-5, 18, 27]
    assert grid.to_index((-5, 18, 27)).tolist() == pytest.approx([1, 1, 1])
    assert grid.corners_mm()[0].tolist() == [-10, 20, 30]
    assert grid.corners_mm()[-1].tolist() == [25, 14, 15]


def test_isotropic_places_its_first_voxel():
    grid = Grid.isotropic((3, 4, 5), 2.0, (10, -20, 30))
    assert grid.to_world((1, 2, 0)).tolist() == [12, -16, 30]
    assert (grid.axis_codes, grid.spacing_mm) == ("RAS", (2, 2, 2))


def test_two_axes_nearest_to_the_same_direction_are_still_told_apart():
    # Sheared: axes 0 and 1 both lie nearest to x; the order must use every axis once.
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0.8, 0], [0.1, 0.6, 0], [0, 0, 1]])
    assert Grid((2, 3, 4), affine).axis_order == (0, 1, 2)


def test_volume_of_a_sheared_voxel_is_that_of_the_parallelepiped():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[0, 1] = 1.5
    assert Grid((2, 2, 2), affine).voxel_volume_mm3 == pytest.approx(8)


def test_to_world_takes_one_point_or_many(oblique_grid):
    many = oblique_grid.to_world(np.ones((4, 5, 3)))
    assert many.shape == (4, 5, 3)
    np.testing.assert_allclose(many[2, 3], oblique_grid.to_world([1, 1, 1]))


def test_matches_within_a_tolerance(oblique_grid):
    affine = oblique_grid.affine.copy()
    affine[2, 3] += 0.01
    moved = Grid(oblique_grid.shape, affine)
    assert not oblique_grid.matches(moved)
    assert oblique_grid.matches(moved, atol_mm=0.011)


def test_a_grid_cannot_be_changed(oblique_grid):
    with pytest.raises(ValueError, match="read-only"):
        oblique_grid.affine[0, 0] = 1
    with pytest.raises(AttributeError):
        oblique_grid.shape = (1, 1, 1)


def test_a_grid_keeps_its_own_affine():
    affine = np.eye(4)
    grid = Grid((2, 3, 4), affine)
    affine[0, 3] = 99
    assert grid.affine[0, 3] == 0


@pytest.mark.usefixtures("any_types")
def test_numbers_of_numpy_become_plain_ones():
    grid = Grid(tuple(np.array([2, 3, 4])), np.eye(4, dtype=np.float32))
    assert [type(n) for n in grid.shape] == [int] * 3
    assert grid.affine.dtype == np.float64


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5), (0, 3, 4), (-1, 3, 4)])
@pytest.mark.usefixtures("any_types")
def test_a_shape_must_be_three_positive_numbers(shape):
    with pytest.raises(InputError, match="three positive sizes"):
        Grid(shape, np.eye(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:3], "finite 4×4"),
        (lambda a: a * np.nan, "finite 4×4"),
        (lambda a: a + np.array([[0, 0, 0, 0]] * 3 + [[0, 0, 0, 1]]), "last row"),
        (lambda a: a * [0, 1, 1, 1], "singular"),
        (lambda a: a[:, [0, 0, 2, 3]], "singular"),
    ],
)
def test_an_affine_must_place_voxels(change, message, oblique_grid):
    with pytest.raises(InputError, match=message):
        Grid((2, 3, 4), change(oblique_grid.affine.copy()))


def test_a_grid_says_where_it_is():
    text = str(Grid.isotropic((3, 4, 5), 1.5, (-10, 20.04, 3)))
    assert text == "3×4×5 voxels of 1.5×1.5×1.5 mm, RAS, first voxel at (-10.0, 20.0, 3.0) mm"
