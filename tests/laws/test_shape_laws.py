"""Shapes of lesions: how much of each voxel they fill, at any size and wherever they lie."""

from functools import cache

import numpy as np
import pytest

from metseg.synthesis.shapes import draw_shape

SCENE = (41, 53, 47)
MIDDLE = (20, 26, 23)


@cache
def one(seed, diameter, margin):
    return draw_shape(np.random.default_rng(seed), SCENE, MIDDLE, diameter, margin)


def drawn(diameter, seeds=30, margin=0.0):
    return [one(seed, diameter, margin) for seed in range(seeds)]


@pytest.mark.parametrize(("diameter", "low", "high"), [(2, 0.8, 1.3), (3, 0.85, 1.25), (6, 0.85, 1.25), (15, 0.9, 1.3)])
def test_the_median_volume_is_about_that_of_the_sphere(diameter, low, high):
    # Lobes only add; those from 8 mm on have them.
    volumes = [float(lesion.filled.sum()) for lesion in drawn(float(diameter))]
    assert low < np.median(volumes) / (np.pi / 6 * diameter**3) < high


@pytest.mark.parametrize("diameter", [2.0, 6.0, 15.0])
def test_a_core_lies_within_its_lesion(diameter):
    for lesion in drawn(diameter, 20):
        assert (lesion.hollow <= lesion.filled).all()
        assert lesion.hollow.min() >= 0
        assert lesion.filled.max() <= 1
        assert lesion.radius == diameter / 2
        if lesion.kind == "solid":
            assert not lesion.hollow.any()
    assert any(lesion.hollow.any() for lesion in drawn(diameter, 20))


@pytest.mark.parametrize("diameter", [2.0, 3.0, 6.0, 15.0])
def test_the_fractions_hold_the_volume_of_the_fine_mask(diameter):
    for lesion in drawn(diameter, 24):
        fine_mm3 = np.count_nonzero(lesion.fine) / lesion.refined**3
        assert lesion.filled.sum() == pytest.approx(fine_mm3, abs=0.7, rel=0.02)


@pytest.mark.parametrize(("diameter", "refined"), [(2.0, 3), (10.0, 3), (10.1, 1), (15.0, 1)])
def test_small_lesions_are_drawn_finer(diameter, refined):
    (lesion,) = drawn(diameter, 1)
    size = tuple(s.stop - s.start for s in lesion.box)
    assert lesion.refined == refined
    assert lesion.depth.shape == lesion.filled.shape == lesion.hollow.shape == size
    assert lesion.fine.shape == tuple(n * refined for n in size)


@pytest.mark.parametrize("diameter", [2.0, 6.0, 15.0])
def test_each_fine_voxel_lies_in_a_voxel_that_is_filled_and_below_the_surface_it_is(diameter):
    for lesion in drawn(diameter, 12):
        n = lesion.refined
        i, j, k = lesion.filled.shape
        part = lesion.fine.reshape(i, n, j, n, k, n).mean(axis=(1, 3, 5))
        assert (lesion.filled[part > 0] > 0).all()
        assert (lesion.depth[part == 1] > 0).all()


@pytest.mark.parametrize("diameter", [2.0, 6.0, 15.0])
def test_lesions_lie_on_the_average_where_they_were_wanted(diameter):
    off = []
    for lesion in drawn(diameter):
        indices = np.argwhere(lesion.filled > 0)
        weights = lesion.filled[lesion.filled > 0]
        start = [s.start for s in lesion.box]
        off.append(np.average(indices, axis=0, weights=weights) + start - MIDDLE)
    assert np.abs(np.mean(off, axis=0)).max() < 0.15 + 0.03 * diameter


@pytest.mark.parametrize("seed", range(5))
def test_a_lesion_that_sticks_out_of_the_scene_is_cut_not_moved(seed):
    inner = draw_shape(np.random.default_rng(seed), SCENE, (1, 26, 46), 8.0)
    assert [s.start for s in inner.box] == [0, 14, 34]
    assert [s.stop for s in inner.box] == [14, 39, 47]
    peak = np.argwhere(inner.depth == inner.depth.max())[0] + [s.start for s in inner.box]
    assert np.abs(peak - (1, 26, 46)).max() <= 4


def test_the_margin_is_room_around_the_lesion():
    small, large = (drawn(6.0, 1, margin=margin)[0] for margin in (0.0, 7.0))
    assert [b.start - a.start for a, b in zip(large.box, small.box)] == [7, 7, 7]
    assert [a.stop - b.stop for a, b in zip(large.box, small.box)] == [7, 7, 7]


@pytest.mark.parametrize("diameter", [2.0, 6.0, 15.0, 30.0])
def test_the_box_holds_all_of_the_lesion(diameter):
    margin = diameter / 2 if diameter > 8 else 0.0  # as scenes ask for
    for seed in range(10):
        lesion = draw_shape(np.random.default_rng(seed), (140, 150, 130), (70, 75, 65), diameter, margin)
        for axis in range(3):
            profile = lesion.filled.any(axis=tuple(a for a in range(3) if a != axis))
            assert not profile[0]
            assert not profile[-1]
