"""Surfaces whose areas and distances can be worked out by hand, and the odd cases."""

import math

import numpy as np
import pytest

from metseg.core.errors import InputError
from metseg.evaluate import surface
from metseg.evaluate.distances import BorderDistances, ElementDistances
from metseg.evaluate.elements import element_areas
from metseg.evaluate.pair import check_spacing

SPACING = (0.7, 1.1, 2.9)


def box_mask(*slices, shape=(14, 12, 10)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[slices] = True
    return mask


def elements(mask, other, spacing=SPACING) -> ElementDistances:
    pair = surface.region_pair(other, mask, spacing)
    return pair.element_distances(*pair.everything)


def test_one_voxel_has_eight_triangles():
    one = box_mask(3, 4, 5)
    x, y, z = SPACING
    triangle = math.hypot(y * z, x * z, x * y) / 8
    assert elements(one, one).areas_reference == pytest.approx([triangle] * 8)


def test_the_area_of_a_box():
    a, b, c = 4, 3, 2
    x, y, z = SPACING
    box = box_mask(np.s_[2 : 2 + a], np.s_[5 : 5 + b], np.s_[1 : 1 + c])
    faces = 2 * ((a - 1) * (b - 1) * x * y + (a - 1) * (c - 1) * x * z + (b - 1) * (c - 1) * y * z)
    bevels = 4 * ((a - 1) * x * math.hypot(y, z) + (b - 1) * y * math.hypot(x, z) + (c - 1) * z * math.hypot(x, y)) / 2
    corners = math.hypot(y * z, x * z, x * y)
    assert elements(box, box).areas == pytest.approx([faces + bevels + corners] * 2)


def test_areas_of_what_is_filled_and_of_what_is_empty_agree():
    areas = element_areas(SPACING)
    assert (areas[0], areas[255]) == (0, 0)
    assert np.array_equal(areas, areas[::-1])
    assert (areas[1:255] > 0).all()
    # The marching-cubes surface between two layers of voxels is flat.
    assert areas[0b00001111] == pytest.approx(1.1 * 2.9)
    assert areas[0b00110011] == pytest.approx(0.7 * 2.9)
    assert areas[0b01010101] == pytest.approx(0.7 * 1.1)


@pytest.mark.parametrize(("axis", "length"), list(enumerate(SPACING)))
def test_a_shift_is_the_distance(axis, length):
    one, other = box_mask(6, 6, 2), np.roll(box_mask(6, 6, 2), 4, axis)
    # Of eight corners each way half are 3 and half are 4 voxels away from the other's nearest.
    assert surface.hd95(one, other, SPACING) == pytest.approx(4 * length)
    assert surface.hd100(one, other, SPACING) == pytest.approx(4 * length)
    assert surface.pooled_hd95(one, other, SPACING) == pytest.approx(4 * length)
    assert elements(one, other).means() == pytest.approx([3.5 * length] * 2)
    assert surface.element_nsd(one, other, SPACING, 3 * length + 1e-9) == pytest.approx(0.5)
    assert surface.border_nsd(one, other, SPACING, 4 * length + 1e-9) == pytest.approx(1.0)


def test_border_voxels_by_hand():
    cube, core = box_mask(np.s_[2:5], np.s_[2:5], np.s_[2:5]), box_mask(3, 3, 3)
    # 26 border voxels: 6 at 1 mm, 12 at √2, 8 at √3; and one, 1 mm from the nearest of them.
    assert surface.border_nsd(cube, core, (1, 1, 1), 1.0) == pytest.approx((6 / 26 + 1) / 2)
    pooled = np.percentile([1] * 7 + [2**0.5] * 12 + [3**0.5] * 8, 95)
    assert surface.pooled_hd95(cube, core, (1, 1, 1)) == pytest.approx(pooled)


def test_a_mask_at_the_edge_of_the_volume_is_closed():
    edge, inside = box_mask(np.s_[:3], np.s_[:2], np.s_[-2:]), box_mask(np.s_[4:7], np.s_[4:6], np.s_[4:6])
    assert elements(edge, edge).areas == pytest.approx(elements(inside, inside).areas)
    full = np.ones((3, 2, 2), dtype=bool)
    assert elements(full, full).areas == pytest.approx(elements(edge, edge).areas)


def test_empty_masks():
    one, none = box_mask(3, 3, 3), np.zeros((14, 12, 10), dtype=bool)
    for distance in (surface.hd95, surface.hd100, surface.pooled_hd95):
        assert math.isnan(distance(none, none, SPACING))
        assert distance(one, none, SPACING) == distance(none, one, SPACING) == math.inf
    for nsd in (surface.element_nsd, surface.border_nsd):
        assert math.isnan(nsd(none, none, SPACING, 1.0))
        assert nsd(one, none, SPACING, 1.0) == nsd(none, one, SPACING, 1.0) == 0.0
    block = surface.surface_block(none, none, SPACING)
    assert (block["hd95"], block["hd100"], block["voxels_ref"]) == (math.inf, math.inf, 0)
    assert all(math.isnan(block[name]) for name in ("voxel_dice", "nsd_1mm", "avg_surface_distance_ref_to_pred"))


def test_95_percent_of_an_area_reached_exactly():
    distances, areas = np.arange(20.0), np.full(20, 0.3)
    nothing = np.zeros(0)
    one = ElementDistances.sort((distances[::-1], areas), (distances, areas))
    shares = np.cumsum(areas) / np.sum(areas)
    assert one.hausdorff(95) == distances[np.searchsorted(shares, 0.95)]
    assert one.hausdorff(100) == 19
    assert ElementDistances(nothing, nothing, nothing, nothing).hausdorff(95) == math.inf


def test_the_added_term_keeps_a_perfect_lesion_below_one():
    perfect = BorderDistances(np.zeros(5), np.zeros(7))
    assert perfect.nsd(0.5) == 1.0
    assert perfect.nsd(0.5, added=1e-8) == pytest.approx(0.999999995, rel=1e-12)


@pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, -1, 1), (1, math.nan, 1), (1, math.inf, 1)])
def test_a_bad_spacing_is_refused(spacing):
    with pytest.raises(InputError, match="three positive lengths"):
        check_spacing(spacing)
