"""Left and right: the brain's own plane, on grids of every kind."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from conftest import oblique_affine
from metseg.core.grid import Grid
from metseg.core.lesion import LesionTable
from metseg.lesions.midline import find_midline, with_sides
from results import make_result

TURN = Rotation.from_rotvec((6, -9, 14), degrees=True).as_matrix()  # of the head in the scanner
CENTRE = np.array((31.0, -12.0, 44.0))
FLIPS = [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1)]


def head(world: np.ndarray) -> np.ndarray:
    """A brain: long, flat below, with a cerebellum behind; symmetrical in its own x = 0."""
    x, y, z = np.moveaxis((world - CENTRE) @ TURN, -1, 0)
    cerebrum = (np.abs(x) / 66) ** 2 + (y / 84) ** 2 + (z / 60) ** 2 < 1
    cerebellum = (x / 48) ** 2 + ((y + 45) / 32) ** 2 + ((z + 45) / 28) ** 2 < 1
    return (cerebrum & (z > -32)) | cerebellum


def grid_of(kind: str, flips=(1, 1, 1)) -> Grid:
    affine = np.diag([2.2, 2.0, 2.5, 1.0]) if kind == "straight" else oblique_affine(spacing_mm=(2.0, 2.2, 4.5))
    affine[:3, :3] = affine[:3, :3] * flips
    shape = (90, 100, 76) if kind == "straight" else (96, 92, 48)
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def mask_on(grid: Grid) -> np.ndarray:
    return head(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)))


@pytest.mark.parametrize(("kind", "flips"), [("straight", flips) for flips in FLIPS] + [("oblique", (1, 1, 1))])
def test_the_plane_is_the_heads_own_however_the_voxels_are_stored(kind, flips):
    grid = grid_of(kind, flips)
    midline = find_midline(mask_on(grid), grid)
    normal = TURN[:, 0]
    assert np.degrees(np.arccos(np.dot(midline.normal, normal))) < 1.5
    assert midline.distance_mm(CENTRE) == pytest.approx(0, abs=0.8)
    assert midline.overlap > 0.93
    assert midline.distance_mm(CENTRE + 40 * normal) == pytest.approx(40, abs=1.5)


def sided(midline, centres):
    result = make_result(
        Grid.isotropic((60, 60, 60), 4.0), [((5, 5, 5 + n), (6, 6, 6 + n)) for n in range(len(centres))]
    )
    lesions = [
        one.__class__(**{**one.__dict__, "centre_mm": tuple(centre)}) for one, centre in zip(result.lesions, centres)
    ]
    return [one.side for one in with_sides(LesionTable(tuple(lesions)), midline)]


def test_sides_are_told_beyond_five_millimetres_of_the_plane_only():
    grid = grid_of("straight")
    midline = find_midline(mask_on(grid), grid)
    centres = [CENTRE + TURN @ np.array(point) for point in ((30, 50, 20), (-30, -50, 20), (3, 60, 30), (-7, -60, 40))]
    assert sided(midline, centres) == ["right", "left", "midline", "left"]
    mirrored = grid_of("straight", (-1, 1, 1))  # the same voxels, stored as the mirror image of another patient
    other = find_midline(mask_on(grid), mirrored)
    there = [mirrored.to_world(grid.to_index(centre)) for centre in centres]
    assert sided(other, there) == ["left", "right", "midline", "right"]


def test_no_side_is_told_of_a_lopsided_mask_or_of_too_little():
    grid = grid_of("straight")
    whole = mask_on(grid)
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    x, y, z = np.moveaxis((world - CENTRE) @ TURN, -1, 0)
    lopsided = whole & ~((x > 0) & (y > 0)) & ~((x < 0) & (y < 0) & (z > 0))
    midline = find_midline(lopsided, grid)
    assert midline.overlap < 0.9
    assert sided(midline, [CENTRE + 40 * TURN[:, 0]]) == [None]
    assert find_midline(whole & (np.abs(y) < 2), grid) is None
    assert sided(None, [CENTRE]) == [None]
