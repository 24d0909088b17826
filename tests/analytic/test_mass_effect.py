"""Scenes lie in their hosts where they say, and a ball that grows moves tissue as an incompressible medium does."""

import numpy as np
import pytest

from metseg.synthesis.warp import Placement, nearest_tissues, push_aside, sampling, unbent

SHAPE = (56, 64, 48)
BOX = np.s_[4:50, 10:60, 2:46]
LESION = np.array((26, 35, 24))
RADIUS = 8.0
MIDDLE = np.array((70.0, 85.5, 91.25))  # of the scene, in the host


def straight(seed, spacing_mm=1.0):
    """A placement turned, scaled and perhaps mirrored, with the bending taken out."""
    placement = sampling(np.random.default_rng(seed), SHAPE, MIDDLE, spacing_mm)
    steps = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij"), axis=-1)
    exact = steps @ placement.matrix.T + placement.centre
    return Placement([np.ascontiguousarray(exact[..., n], np.float32) for n in range(3)], placement.matrix, MIDDLE)


def distance():
    """Of each voxel in the box from the lesion's middle."""
    return np.linalg.norm(np.moveaxis(np.indices([s.stop - s.start for s in BOX]), 0, -1) + starts() - LESION, axis=-1)


def starts():
    return [s.start for s in BOX]


def push(placement, growth, movable=None):
    """How far each voxel of the box now looks from where it looked, in steps of the scene (i, j, k, 3)."""
    before = np.stack([axis.copy() for axis in placement.coordinates], axis=-1)
    depth = (RADIUS - distance()).astype(np.float32)
    free = np.ones_like(depth) if movable is None else movable.astype(np.float32)
    push_aside(placement, BOX, depth, RADIUS, growth, free)
    after = np.stack(placement.coordinates, axis=-1)
    moved = (after - before) @ np.linalg.inv(placement.matrix).T
    outside = np.ones(SHAPE, dtype=bool)
    outside[BOX] = False
    assert np.array_equal(after[outside], before[outside])
    return moved[BOX]


@pytest.mark.parametrize("seed", range(3))
def test_outside_two_and_a_half_radii_nothing_moves(seed):
    moved = np.linalg.norm(push(straight(seed), 0.5), axis=-1)
    assert not moved[distance() > 2.5 * RADIUS].any()
    assert moved[(distance() > 1) & (distance() < 2.2 * RADIUS)].min() > 0


@pytest.mark.parametrize("seed", range(3))
def test_voxels_look_towards_the_lesion_so_that_tissue_moves_away(seed):
    moved, outwards = push(straight(seed), 0.5), np.moveaxis(np.indices([46, 50, 44]), 0, -1) + starts() - LESION
    near = (distance() > 1) & (distance() < 2.3 * RADIUS)
    along = (moved * outwards).sum(axis=-1)[near] / distance()[near]
    assert (along < 0).all()
    np.testing.assert_allclose(-along, np.linalg.norm(moved, axis=-1)[near], atol=2e-4)  # along the radius alone


@pytest.mark.parametrize("growth", [0.1, 0.35, 0.6, 1.0])
def test_up_to_the_surface_what_is_moved_keeps_its_volume(growth):
    """Within r now lies what lay within r₀: r³ = r₀³ + growth · radius³."""
    for seed in range(3):
        r, moved = distance(), np.linalg.norm(push(straight(seed), growth), axis=-1)
        inside = (r > 1) & (r <= RADIUS)
        origin = np.cbrt(np.clip(r**3 - growth * RADIUS**3, 0, None))
        np.testing.assert_allclose((r - moved)[inside], origin[inside], atol=2e-3)


def test_beyond_the_surface_movement_fades_and_no_tissue_is_turned_inside_out():
    for growth in (0.1, 0.6):
        r, moved = distance(), np.linalg.norm(push(straight(0), growth), axis=-1)
        outside = (r > RADIUS) & (r < 2.5 * RADIUS)
        free = r - np.cbrt(r**3 - growth * RADIUS**3, where=r > RADIUS, out=np.zeros_like(r))
        assert (moved[outside] <= free[outside] + 1e-3).all()
        order = np.argsort(r[outside])
        looks_at = (r - moved)[outside][order]
        assert (np.diff(looks_at) > -1e-3).all()


def test_nothing_moves_what_cannot_move():
    rigid = np.ones(distance().shape)
    rigid[:20] = 0
    moved = np.linalg.norm(push(straight(1), 0.5, rigid), axis=-1)
    assert not moved[:20].any()
    assert moved[21:].any()
    assert not push(straight(1), 0.0).any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_the_voxel_of_a_place_is_the_one_that_looks_there(seed, spacing_mm):
    placement = straight(seed, spacing_mm)
    for voxel in ((0, 0, 0), (55, 63, 47), (13, 40, 22)):
        place = tuple(float(axis[voxel]) for axis in placement.coordinates)
        np.testing.assert_allclose(placement.voxel_of(place), voxel, atol=1e-4)
    assert placement.shape == SHAPE


@pytest.mark.parametrize("seed", range(6))
def test_bending_moves_voxels_by_millimetres_and_none_on_the_average(seed):
    bent = sampling(np.random.default_rng(seed), SHAPE, MIDDLE)
    off = np.stack(bent.coordinates, axis=-1) - np.stack(straight(seed).coordinates, axis=-1)
    assert 0.1 < off.std() < 4
    assert np.abs(off).max() < 12
    assert np.abs(np.diff(off, axis=0)).max() < 0.6  # smooth: never folds


@pytest.mark.parametrize("seed", range(12))
def test_a_scene_is_turned_a_little_and_scaled_by_an_eighth_at_most(seed):
    matrix = sampling(np.random.default_rng(seed), SHAPE, MIDDLE, 2.0).matrix
    lengths = np.linalg.norm(matrix, axis=0) / 2
    assert ((lengths >= 0.88) & (lengths <= 1.13)).all()
    turn = matrix / (2 * lengths)
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-9)
    assert (np.abs(np.diag(turn)) > np.cos(np.deg2rad(50))).all()
    assert (np.diag(turn)[1:] > 0).all()  # only left and right are exchanged


def test_half_of_the_scenes_are_mirrored():
    signs = [np.sign(np.linalg.det(sampling(np.random.default_rng(s), (3, 4, 5), MIDDLE).matrix)) for s in range(100)]
    assert np.mean(np.array(signs) < 0) == pytest.approx(0.5, abs=0.15)


def test_an_unbent_scene_is_the_host_itself():
    host = np.random.default_rng(1).integers(0, 18, (13, 9, 11)).astype(np.uint8)
    placement = unbent((13, 9, 11))
    assert np.array_equal(np.stack(placement.coordinates), np.indices((13, 9, 11)))
    assert np.array_equal(nearest_tissues(host, placement.coordinates), host)
    np.testing.assert_allclose(placement.voxel_of((2.0, 7.0, 3.5)), (2, 7, 3.5), atol=1e-12)


def test_beyond_the_host_there_is_air():
    host = np.full((5, 4, 6), 7, dtype=np.uint8)
    line = [np.array([[[a]] for a in values], np.float32) for values in ((-0.6, -0.4, 4.4, 4.6), (0,) * 4, (0,) * 4)]
    assert nearest_tissues(host, line).ravel().tolist() == [0, 7, 7, 0]


def test_bigger_lesions_make_room_in_tissue():
    """A tissue border beside the lesion lies further out afterwards, by what the ball has taken."""
    host = np.zeros(SHAPE, dtype=np.uint8)
    wall = int(LESION[1]) + 10
    host[:, wall:] = 1
    placement = unbent(SHAPE)
    push(placement, 0.6)
    column = nearest_tissues(host, placement.coordinates)[LESION[0], :, LESION[2]]
    shifted = int(np.flatnonzero(column)[0]) - wall
    free = 10 - np.cbrt(1000 - 0.6 * RADIUS**3)
    assert 0 < shifted <= np.ceil(free)
