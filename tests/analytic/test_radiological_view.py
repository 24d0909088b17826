"""In every picture of every grid the patient's right is on the left, and front or top is up."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given

from conftest import oblique_affine
from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.report.view import PLANES, View
from strategies import grids

CODES = [
    "".join(code) for order in permutations(("LR", "PA", "IS")) for code in product(*order)
]  # all 48 ways to store a scan
STEPS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
# World axis along the picture's x, along its y, and through it.
WORLD = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}


def coded_grid(codes: str, spacing_mm=(0.7, 1.3, 4.0)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.array([STEPS[c] for c in codes], dtype=float).T * spacing_mm
    affine[:3, 3] = (-31.5, 12.25, 200)
    return Grid((6, 5, 4), affine)


def world_coordinate(grid: Grid, axis: int) -> np.ndarray:
    """A volume whose voxels hold how far right (0), front (1) or up (2) they lie, in mm."""
    return grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))[..., axis]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("codes", CODES)
def test_right_front_and_top_come_first_however_the_scan_is_stored(codes, plane):
    grid = coded_grid(codes)
    view = View(grid, plane)
    x, y, through = WORLD[plane]
    across = view.slice(world_coordinate(grid, x), 2)
    down = view.slice(world_coordinate(grid, y), 2)
    assert across.shape == view.shape
    np.testing.assert_allclose(np.diff(across, axis=1), -view.pixel_mm[0])
    np.testing.assert_allclose(np.diff(down, axis=0), -view.pixel_mm[1])
    assert np.ptp(view.slice(world_coordinate(grid, through), 2)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA"])
def test_a_mark_at_the_patients_right_front_is_at_the_pictures_top_left(codes):
    grid = coded_grid(codes)
    corners = grid.corners_mm()
    rightmost_front_top = np.rint(grid.to_index(corners.max(axis=0))).astype(int)
    volume = np.zeros(grid.shape)
    volume[tuple(rightmost_front_top)] = 1
    for plane in PLANES:
        view = View(grid, plane)
        picture = view.slice(volume, int(rightmost_front_top[view.axes[2]]))
        assert np.argwhere(picture == 1).tolist() == [[0, 0]]


def test_a_pir_grid_has_its_pixels_proportions():
    view = View(coded_grid("PIR", (0.7, 1.3, 4.0)), "sagittal")  # P 0.7 mm, I 1.3 mm, R 4 mm
    assert view.pixel_mm == pytest.approx((0.7, 1.3))
    assert view.shape == (5, 6)
    assert view.size_mm == pytest.approx((6 * 0.7, 5 * 1.3))
    assert view.slices == 4
    assert view.sides == ("A", "P", "S", "I")
    assert View(coded_grid("PIR"), "axial").pixel_mm == pytest.approx((4.0, 0.7))


@pytest.mark.parametrize(("codes", "ascending"), [("RAS", True), ("LPS", True), ("RAI", False)])
def test_ascending_says_whether_higher_numbers_are_higher_in_the_head(codes, ascending):
    assert View(coded_grid(codes), "axial").ascending is ascending


def test_an_oblique_picture_still_has_right_on_the_left():
    grid = Grid((13, 11, 7), oblique_affine())
    for plane in PLANES:
        view = View(grid, plane)
        x, y, _ = WORLD[plane]
        assert (np.diff(view.slice(world_coordinate(grid, x), 3), axis=1) < 0).all()
        assert (np.diff(view.slice(world_coordinate(grid, y), 3), axis=0) < 0).all()


@given(grids())
def test_a_voxel_lies_where_its_picture_coordinates_say(grid):
    volume = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    voxel = tuple(int(n * 0.7) for n in grid.shape)
    for plane in PLANES:
        view = View(grid, plane)
        column, row = np.floor(view.to_picture(voxel)).astype(int)
        index = voxel[view.axes[2]]
        assert view.slice(volume, index)[row, column] == volume[voxel]
        np.testing.assert_allclose(view.to_index(view.to_picture(voxel), index), voxel, atol=1e-9)
        np.testing.assert_allclose(view.to_picture(voxel) % 1, 0.5)


def test_a_slice_is_a_window_on_the_volume_not_a_copy():
    grid = coded_grid("PIR")
    volume = np.zeros(grid.shape)
    assert np.shares_memory(View(grid, "coronal").slice(volume, 0), volume)


def test_what_is_not_there_is_refused():
    grid = coded_grid("RAS")
    view = View(grid, "axial")
    with pytest.raises(InputError, match="axial slice 4: slices run from 0 to 3"):
        view.slice(np.zeros(grid.shape), 4)
    with pytest.raises(InputError, match="axial slice -1"):
        view.slice(np.zeros(grid.shape), -1)
    with pytest.raises(InputError, match="does not fit"):
        view.slice(np.zeros((6, 5, 5)), 0)


def test_an_unknown_plane_is_refused(any_types):
    with pytest.raises(InputError, match="'frontal'; known are axial, coronal, sagittal"):
        View(coded_grid("RAS"), "frontal")
