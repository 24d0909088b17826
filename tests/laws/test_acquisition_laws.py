"""What a scan's voxels see of a scene: the same volume, at the same place in the world, whatever the protocol."""

from functools import cache

import numpy as np
import pytest

from metseg.synthesis.acquisition import Acquisition, Protocol, draw_ct_protocol, draw_mr_protocol
from metseg.synthesis.fields import smooth_field
from metseg.synthesis.scanner import slice_weights
from metseg.synthesis.shapes import draw_shape

SCENE = (44, 60, 52)
STRAIGHT, WHOLE = (0.0, 0.0, 0.0), (0.0, 0.0)
# Slices side by side, and pixels of 1 or ½ mm: these lose nothing.
CONSERVING = {
    "thin sagittal": Protocol(0, 1.0, 1.2, 0.0, STRAIGHT, WHOLE),
    "thick axial": Protocol(2, 1.0, 5.0, 0.0, STRAIGHT, WHOLE),
    "half a pixel": Protocol(2, 0.5, 3.0, 0.0, (8.0, -3.0, 2.0), WHOLE),
    "tilted coronal, cut": Protocol(1, 0.5, 2.0, 0.0, (-12.0, 6.0, 4.0), (0.1, 0.05)),
}
AWKWARD = {
    "0.8 mm": Protocol(2, 0.8, 0.95, 0.0, (3.0, 1.0, 2.0), WHOLE),
    "0.7 mm": Protocol(0, 0.7, 2.0, 0.0, (-8.0, 3.0, -2.0), WHOLE),
    "gap": Protocol(1, 0.6, 4.0, 0.8, (5.0, -4.0, 3.0), (0.0, 0.1)),
}
ALL = CONSERVING | AWKWARD


def of_all(protocols):
    return pytest.mark.parametrize("protocol", protocols.values(), ids=protocols.keys())


@cache
def lesion(seed, diameter, spread=2):
    rng = np.random.default_rng(seed)
    i, j, k = (int(n) for n in np.array((22, 30, 26)) + rng.integers(-spread, spread + 1, 3))
    return draw_shape(rng, SCENE, (i, j, k), diameter)


def centre_mm(fraction, box, grid):
    indices = np.argwhere(fraction > 0) + [s.start for s in box]
    return np.average(grid.to_world(indices), axis=0, weights=fraction[fraction > 0])


@of_all(CONSERVING)
@pytest.mark.parametrize("diameter", [2.0, 4.0, 12.0])
def test_the_volume_of_a_lesion_is_conserved(protocol, diameter):
    acquisition = Acquisition.of(SCENE, protocol)
    for seed in range(6):
        it = lesion(seed, diameter)
        seen_mm3 = acquisition.sees_box(it.filled, it.box).sum() * acquisition.grid.voxel_volume_mm3
        assert seen_mm3 == pytest.approx(it.filled.sum(), rel=1e-4)


@of_all(AWKWARD)
def test_the_volume_of_lesions_is_conserved_on_the_average_where_voxels_do_not_fit(protocol):
    acquisition = Acquisition.of(SCENE, protocol)
    drawn = [lesion(seed, 4.0, spread=7) for seed in range(60)]
    seen = [float(acquisition.sees_box(it.filled, it.box).sum()) for it in drawn]
    true = sum(float(it.filled.sum()) for it in drawn)
    assert sum(seen) * acquisition.grid.voxel_volume_mm3 == pytest.approx(true, rel=0.03)


@of_all({name: protocol for name, protocol in ALL.items() if name != "gap"})
def test_a_lesion_stays_at_its_place_in_the_world(protocol):
    acquisition = Acquisition.of(SCENE, protocol)
    for seed in range(6):
        it = lesion(seed, 15.0)
        seen = acquisition.sees_box(it.filled, it.box)
        before = centre_mm(it.filled, it.box, acquisition.scene)
        after = centre_mm(seen, acquisition.box(it.box), acquisition.grid)
        assert np.linalg.norm(after - before) < 0.1


@of_all(ALL)
def test_small_lesions_stay_at_their_place_on_the_average(protocol):
    acquisition, off = Acquisition.of(SCENE, protocol), []
    for seed in range(60):
        it = lesion(seed, 4.0, spread=7)
        seen = acquisition.sees_box(it.filled, it.box)
        if seen.any():
            before = centre_mm(it.filled, it.box, acquisition.scene)
            off.append(centre_mm(seen, acquisition.box(it.box), acquisition.grid) - before)
    assert len(off) >= 58
    assert np.abs(np.mean(off, axis=0)).max() < 0.25


@of_all(ALL)
def test_each_voxel_shows_what_lies_where_its_grid_says(protocol):
    """Of an image of world coordinates each voxel sees its own, but for slices that end within a scene voxel."""
    acquisition = Acquisition.of(SCENE, protocol)
    world = acquisition.scene.to_world(np.moveaxis(np.indices(SCENE), 0, -1)).astype(np.float32)
    centres = acquisition.grid.to_world(np.moveaxis(np.indices(acquisition.grid.shape), 0, -1))
    inner = (slice(2, -2),) * 3
    for axis in range(3):
        seen = acquisition.sees(np.ascontiguousarray(world[..., axis]))
        assert np.abs((seen - centres[..., axis])[inner]).max() < 0.07


@of_all(ALL)
def test_a_box_is_seen_as_the_whole_is(protocol):
    acquisition = Acquisition.of(SCENE, protocol)
    for seed, box in enumerate((np.s_[10:22, 3:30, 20:33], np.s_[0:9, 50:60, 0:14], np.s_[40:44, 0:60, 51:52])):
        part = np.random.default_rng(seed).random([s.stop - s.start for s in box], dtype=np.float32)
        scene = np.zeros(SCENE, dtype=np.float32)
        scene[box] = part
        whole = acquisition.sees(scene)
        target = acquisition.box(box)
        np.testing.assert_allclose(acquisition.sees_box(part, box), whole[target], atol=1e-6)
        whole[target] = 0
        assert not whole.any()


def test_what_lies_outside_the_field_of_view_is_not_seen():
    acquisition = Acquisition.of(SCENE, Protocol(2, 0.5, 5.0, 0.0, STRAIGHT, (0.3, 0.0)))
    box = np.s_[10:20, 10:20, 2:12]
    seen = acquisition.sees_box(np.ones((10, 10, 10), dtype=np.float32), box)
    assert seen.size == 0
    assert np.zeros(acquisition.grid.shape)[acquisition.box(box)].shape == seen.shape


def test_a_lesion_in_a_gap_is_not_seen():
    acquisition = Acquisition.of(SCENE, Protocol(2, 1.0, 4.0, 4.0, STRAIGHT, WHOLE))
    box = np.s_[10:12, 10:12, 5:7]  # slices lie at 2 … 6 and 10 … 14 mm above the lower edge of voxel 0
    assert acquisition.scene.to_index(acquisition.grid.to_world((0, 0, 0)))[2] == pytest.approx(3.5)
    seen = acquisition.sees_box(np.ones((2, 2, 2), dtype=np.float32), box)
    assert seen.sum() * acquisition.grid.voxel_volume_mm3 == pytest.approx(2 * 2 * 1 * 8 / 4)  # half of it
    assert not acquisition.sees_box(np.ones((2, 2, 2), dtype=np.float32), np.s_[10:12, 10:12, 6:8]).any()


@of_all(ALL)
def test_spacing_is_that_of_the_protocol(protocol):
    acquisition = Acquisition.of(SCENE, protocol)
    expected = [protocol.in_plane_mm] * 3
    expected[protocol.slice_axis] = protocol.thickness_mm + protocol.gap_mm
    np.testing.assert_allclose(acquisition.grid.spacing_mm, expected, rtol=1e-9)
    assert acquisition.grid.axis_codes == "RAS"
    np.testing.assert_allclose(acquisition.grid.direction, acquisition.scene.direction, atol=1e-9)


@of_all(ALL)
def test_the_field_of_view_is_the_scene_less_what_is_cut_and_less_than_a_voxel(protocol):
    acquisition = Acquisition.of(SCENE, protocol)
    shape = np.array(acquisition.grid.shape)
    corners = acquisition.scene.to_index(acquisition.grid.to_world([(-0.5, -0.5, -0.5), shape - 0.5])) + 0.5
    wanted = np.array([(0, 0, 0), SCENE], dtype=float)
    wanted[:, 2] = protocol.cut[0] * SCENE[2], (1 - protocol.cut[1]) * SCENE[2]
    np.testing.assert_allclose(corners[0], wanted[0], atol=1e-9)
    left = wanted[1] - corners[1]
    assert (left > -1e-6).all()
    assert (left < np.array(acquisition.grid.spacing_mm) + 1e-6).all()


def test_the_middle_of_the_scene_is_the_worlds_origin_about_which_slices_are_tilted():
    acquisition = Acquisition.of(SCENE, CONSERVING["tilted coronal, cut"])
    np.testing.assert_allclose(acquisition.scene.to_world((21.5, 29.5, 25.5)), 0, atol=1e-9)
    about_x = Acquisition.of(SCENE, Protocol(2, 1.0, 1.0, 0.0, (30.0, 0.0, 0.0), WHOLE))
    np.testing.assert_allclose(about_x.grid.direction @ (0, 1, 0), (0, np.cos(np.pi / 6), 0.5), atol=1e-9)
    assert np.linalg.det(acquisition.grid.direction) == pytest.approx(1)


@of_all(ALL)
def test_an_even_image_stays_even(protocol):
    acquisition = Acquisition.of(SCENE, protocol)
    np.testing.assert_allclose(acquisition.sees(np.full(SCENE, -37.5, dtype=np.float32)), -37.5, rtol=1e-5)


def test_a_scan_of_the_scenes_own_voxels_is_the_scene():
    image = smooth_field(np.random.default_rng(2), SCENE, 1.5)
    np.testing.assert_allclose(
        Acquisition.of(SCENE, Protocol(2, 1.0, 1.0, 0.0, STRAIGHT, WHOLE)).sees(image), image, atol=1e-5
    )


@pytest.mark.parametrize("thickness", [0.4, 1.0, 1.3, 4.75])
def test_slice_weights_are_the_overlap_of_slices_and_voxels(thickness):
    size, fine = 23, 400
    centres = np.array([3.0, 7.37, 11.5, 16.81])
    weights = slice_weights(size, thickness, centres)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    points = (np.arange(size * fine) + 0.5) / fine - 0.5
    overlap = (np.abs(points[None] - centres[:, None]) < thickness / 2).reshape(4, size, fine).mean(axis=2)
    np.testing.assert_allclose(weights, overlap / thickness, atol=0.01)


def test_slices_at_the_edge_weigh_what_they_have():
    weights = slice_weights(10, 5.0, np.array([0.0, 9.4]))
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(weights[0, :4], np.array([1, 1, 1, 0]) / 3, atol=1e-12)


def test_mr_protocols_are_thin_or_thick_and_mostly_axial():
    protocols = [draw_mr_protocol(np.random.default_rng(seed)) for seed in range(600)]
    thin = [p for p in protocols if p.thickness_mm <= 1.5]
    thick = [p for p in protocols if p.thickness_mm > 1.5]
    assert len(thin) / 600 == pytest.approx(0.6, abs=0.06)
    assert all(p.thickness_mm >= 0.9 and 0.8 <= p.in_plane_mm <= 1.2 and p.gap_mm == 0 for p in thin)
    assert all(2 <= p.thickness_mm <= 6 and 0.5 <= p.in_plane_mm <= 1.0 for p in thick)
    assert all(0 <= p.gap_mm <= 0.2 * p.thickness_mm + 0.01 for p in thick)
    assert np.mean([p.slice_axis == 2 for p in protocols]) == pytest.approx(0.74, abs=0.06)
    assert np.mean([p.tilt_deg == (0, 0, 0) for p in protocols]) == pytest.approx(0.5, abs=0.07)
    assert all(0 <= p.cut[0] <= 0.3 and 0 <= p.cut[1] <= 0.12 for p in protocols)


def test_ct_protocols_are_axial_without_gap():
    protocols = [draw_ct_protocol(np.random.default_rng(seed)) for seed in range(300)]
    assert {p.slice_axis for p in protocols} == {2}
    assert {p.gap_mm for p in protocols} == {0.0}
    assert all(0.4 <= p.in_plane_mm <= 0.6 and 1 <= p.thickness_mm <= 5 for p in protocols)
    assert np.mean([p.thickness_mm >= 4 for p in protocols]) == pytest.approx(1 / 3, abs=0.08)
