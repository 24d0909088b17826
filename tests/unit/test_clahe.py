"""CLAHE against scikit-image, against what its parameters promise, and in bundles."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import oblique_affine
from metseg.core.errors import ConfigError
from metseg.core.grid import Grid
from metseg.preprocess.clahe import Clahe, slice_axis
from metseg.preprocess.normalise import NormaliseWindow
from metseg.preprocess.steps import build, check_order, run
from strategies import volumes

SPACING_MM = (1.0, 1.5, 3.0)
SHAPE = (64, 40, 15)  # 64 × 60 × 45 mm: tiles of 16 × 10 × 5 voxels, 4 × 4 × 3 of them
GRID = Grid(SHAPE, oblique_affine(SPACING_MM))
TILE_MM = 15.0


def textured(shape=SHAPE, seed=0):
    """Tissue of two kinds under a strong bias field, with noise; nowhere 0."""
    rng = np.random.default_rng(seed)
    i, j, k = np.indices(shape) / np.reshape(shape, (3, 1, 1, 1))
    tissue = 60 + 30 * (np.sin(9 * i) * np.cos(7 * j + 3 * k) > 0)
    return (tissue * (0.5 + i + 0.4 * k) + rng.normal(0, 3, shape)).astype(np.float32)


def equalised(image, grid=GRID, **dials):
    array, after = Clahe(**{"tile_mm": TILE_MM, **dials}).apply(image, grid)
    assert after == grid
    return array


def between(image, low, high):
    return (image - low) / (high - low)


def peer(image, kernel, limit):
    """scikit-image's CLAHE of an image in 0 … 1 with 64 bins, without what makes it lopsided.

    It gives each value what its bin's upper edge is mapped to, and puts the middles of tiles half a voxel too far on.
    In the negative it is the lower edge, and in the mirror image half a voxel back: the mean of all is what is meant.
    """
    exposure = pytest.importorskip("skimage.exposure", reason="scikit-image is not installed (the dev extra)")
    dials = {"kernel_size": kernel, "clip_limit": limit / 64, "nbins": 64}
    image = image.astype(np.float64)

    def unstaired(one):
        return (exposure.equalize_adapthist(one, **dials) + 1 - exposure.equalize_adapthist(1 - one, **dials)) / 2

    return (unstaired(image) + np.flip(unstaired(np.flip(image)))) / 2


def in_bins(image):
    """0 … 1, each value in the middle of one of 64 bins, but for one voxel at either end."""
    levels = np.clip(np.floor(between(image, image.min(), image.max()) * 64), 0, 63)
    result = ((levels + 0.5) / 64).astype(np.float32)
    result[0, 0], result[-1, -1] = 0, 1
    return result


@pytest.mark.parametrize("limit", [2.5, 6.0])
def test_it_is_what_scikit_image_gives_in_3d(limit):
    shape = (66, 42, 24)
    grid = Grid(shape, oblique_affine((1.0, 1.5, 3.0)))
    image = in_bins(textured(shape))
    tiles = Clahe(tile_mm=22, clip_limit=limit, bins=64, percentiles=(0, 100), keep_zero=False)
    found = tiles.apply(image, grid)[0]
    off = 64 * (found - peer(image, (22, 14, 8), limit))
    assert np.abs(off).max() < 0.7  # scikit-image cuts off at whole voxels, and stretches its result a little
    assert np.abs(off).mean() < 0.2
    assert 64 * np.abs(found - image).max() > 20


def test_each_slice_is_what_scikit_image_gives_of_it():
    shape = (132, 3, 84)
    grid = Grid(shape, oblique_affine((1.0, 4.0, 1.5)))
    image = in_bins(textured(shape))
    image[0, :, 0], image[-1, :, -1] = 0, 1  # each slice has the volume's range
    found = Clahe(kind="2d", tile_mm=44, bins=64, percentiles=(0, 100), keep_zero=False).apply(image, grid)[0]
    for j in range(shape[1]):
        off = 64 * (found[:, j] - peer(image[:, j], (44, 28), 2.5))
        assert np.abs(off).max() < 1.5
        assert np.abs(off).mean() < 0.4


def test_slices_do_not_know_each_other_but_for_the_range():
    image = textured()
    image[0, 0], image[-1, -1] = image.min(), image.max()
    changed = image.copy()
    changed[5:50, 3:37, 7] = image[5:50, 3:37, 7][::-1]
    before, after = (equalised(one, kind="2d", percentiles=(0, 100)) for one in (image, changed))
    others = np.arange(SHAPE[2]) != 7
    assert np.array_equal(before[:, :, others], after[:, :, others])
    assert not np.array_equal(before[:, :, 7], after[:, :, 7])
    in_3d = equalised(changed, percentiles=(0, 100)) - equalised(image, percentiles=(0, 100))
    assert np.abs(in_3d[:, :, 6]).max() > 1


@given(volumes(), st.sampled_from(["2d", "3d"]))
def test_a_limit_of_1_changes_nothing(volume, kind):
    image = np.asarray(volume.array, dtype=np.float32)
    array, grid = Clahe(clip_limit=1, kind=kind, tile_mm=10).apply(image, volume.grid)
    assert array == pytest.approx(image, rel=1e-6, abs=1e-6 * float(np.ptp(image)))
    assert grid == volume.grid


@given(volumes(), st.sampled_from(["2d", "3d"]), st.floats(1, 50))
def test_values_stay_in_their_range_and_zero_stays_zero(volume, kind, limit):
    image = np.asarray(volume.array, dtype=np.float32).copy()
    image[::2] = 0
    array = Clahe(clip_limit=limit, kind=kind, tile_mm=10, percentiles=(0, 100)).apply(image, volume.grid)[0]
    inside = image[image != 0]
    assert (array[image == 0] == 0).all()
    if inside.size:
        slack = 1e-5 * np.abs(inside).max()
        assert array[image != 0].min() >= inside.min() - slack
        assert array[image != 0].max() <= inside.max() + slack


def test_one_tile_is_a_map_that_rises_no_steeper_than_the_limit():
    image = textured()
    values = np.sort(image.ravel())
    for limit in (1.2, 1.6):
        array = equalised(image, tile_mm=1000, clip_limit=limit)
        order = np.argsort(image.ravel(), kind="stable")
        rise = np.diff(array.ravel()[order])
        assert rise.min() >= -1e-3
        assert (rise <= limit * np.diff(values) + 1e-3).all()
        assert (rise > 0.9 * limit * np.diff(values)).any()


def test_without_a_limit_one_tile_is_made_uniform():
    rng = np.random.default_rng(3)
    image = rng.gamma(2, 20, SHAPE).astype(np.float32)
    array = equalised(image, tile_mm=1000, clip_limit=1e6, percentiles=(0, 100), bins=1024)
    counts, _ = np.histogram(array, bins=16)
    assert counts / image.size == pytest.approx(1 / 16, abs=2e-3)


def test_a_map_between_two_tiles_is_the_mean_of_theirs():
    """Two tiles along i, all else one: in the middle of the first its own map, at the border the mean of both."""
    grid = Grid((40, 8, 8), oblique_affine((1.0, 1.0, 1.0)))
    rng = np.random.default_rng(5)
    image = rng.uniform(0, 100, grid.shape).astype(np.float32)
    image[:20] = image[:20] ** 2 / 100  # dark voxels are many there
    dials = {"tile_mm": 20.0, "clip_limit": 3.0, "percentiles": (0, 100), "bins": 64, "keep_zero": False}
    array = equalised(image, grid, **dials)
    maps = []
    for rows in (slice(0, 20), slice(20, 40)):
        counts, edges = np.histogram(image[rows], bins=64, range=(float(image.min()), float(image.max())))
        heights = counts * 64 / counts.sum()
        spread = np.linspace(0, 3, 300_001)  # found by trying, where the step solves for it
        sums = [np.minimum(heights + r, 3.0).sum() for r in spread[:: 300_000 // 300]]
        low = np.interp(64, sums, spread[:: 300_000 // 300])
        shares = np.minimum(heights + low, 3.0)
        maps.append(partial(np.interp, xp=edges, fp=edges[0] + np.r_[0, np.cumsum(shares)] * (edges[1] - edges[0])))
    first, second = maps
    assert array[9] == pytest.approx(first(image[9]), abs=0.15)
    assert array[0] == pytest.approx(first(image[0]), abs=0.15)
    assert array[35] == pytest.approx(second(image[35]), abs=0.15)
    for i in (15, 22):
        share = (i - 9.5) / 20
        mixed = (1 - share) * first(image[i]) + share * second(image[i])
        assert array[i] == pytest.approx(mixed, abs=0.15)
    assert np.abs(first(image) - second(image)).max() > 10


def test_the_order_of_axes_does_not_matter():
    image = textured()
    for order in ((2, 0, 1), (1, 0, 2)):
        affine = GRID.affine.copy()
        affine[:3, :3] = GRID.affine[:3, order]
        turned = Grid(tuple(SHAPE[n] for n in order), affine)
        for kind in ("2d", "3d"):
            found = equalised(np.ascontiguousarray(image.transpose(order)), turned, kind=kind)
            assert found == pytest.approx(equalised(image, kind=kind).transpose(order), abs=1e-4)


def test_gain_and_offset_of_an_image_pass_through():
    image = textured()
    assert equalised(3 * image + 50) == pytest.approx(3 * equalised(image) + 50, abs=0.05)


def test_what_holds_nothing_stays_as_it_is():
    for value in (0.0, 7.5):
        flat = np.full(SHAPE, value, np.float32)
        assert np.array_equal(equalised(flat), flat)
    image = textured()
    image[:, :, 4] = 55
    image[:, :, 9] = 0
    found = equalised(image, kind="2d")
    assert len(np.unique(found[:, :, 4])) == 1
    width = np.ptp(image) / 256
    assert abs(found[0, 0, 4] - 55) <= 2.5 * width  # all in one bin, which the limit cuts down
    assert (found[:, :, 9] == 0).all()
    alone = np.zeros(SHAPE, np.float32)
    alone[3, 4, 5] = 9
    assert np.array_equal(equalised(alone), alone)


def test_empty_tiles_around_a_brain_do_not_pull_at_it():
    image = textured()
    padded = np.zeros((128, *SHAPE[1:]), np.float32)
    padded[64:] = image
    grid = Grid(padded.shape, GRID.affine)
    found = equalised(padded, grid, tile_mm=16)  # 8 tiles where 4 were
    own = equalised(image, tile_mm=16)
    assert (found[:64] == 0).all()
    assert found[72:] == pytest.approx(own[8:], abs=1e-3)  # from the middle of the first tile on


def test_values_beyond_the_percentiles_stay_what_they_are():
    image = textured()
    image[3, 4, 5], image[30, 20, 10] = 10_000, -10_000
    found = equalised(image)
    assert (found[3, 4, 5], found[30, 20, 10]) == (10_000, -10_000)
    calm = np.delete(found.ravel(), np.flatnonzero(np.abs(image) == 10_000))
    assert calm == pytest.approx(
        np.delete(equalised(textured()).ravel(), np.flatnonzero(np.abs(image) == 10_000)), abs=2
    )


def test_the_input_is_left_alone_and_channels_are_by_themselves():
    image = textured()
    kept = image.copy()
    both = equalised(np.stack([image, 2 * image[::-1]]))
    assert np.array_equal(image, kept)
    assert np.array_equal(both[0], equalised(image))
    assert np.array_equal(both[1], equalised(np.ascontiguousarray(2 * image[::-1])))


def test_slices_lie_across_the_thickest_spacing():
    axes = {mm: slice_axis(Grid(SHAPE, oblique_affine(mm))) for mm in ((1, 1, 3), (3, 1, 1), (1, 3, 1), (1, 1, 1))}
    # The oblique grid's axes point to P, I and R.
    assert axes == {(1, 1, 3): 2, (3, 1, 1): 0, (1, 3, 1): 1, (1, 1, 1): 1}


def test_ct_is_windowed_first():
    window = NormaliseWindow(low=0, high=80, middle=0, scale=80)
    check_order((window, Clahe()), "CT")
    check_order((Clahe(),), "MR")
    with pytest.raises(ValueError, match="CLAHE on CT needs a window before it"):
        check_order((Clahe(), window), "CT")
    with pytest.raises(ValueError, match="set middle to what low is"):
        check_order((NormaliseWindow(), Clahe()), "CT")
    check_order((NormaliseWindow(), Clahe(keep_zero=False)), "CT")


def test_bone_and_air_do_not_use_up_the_bins_of_a_windowed_ct(make_volume):
    rng = np.random.default_rng(2)
    array = rng.normal(30, 5, SHAPE).astype(np.float32)
    array[:10], array[-10:] = -1000, 1500
    array[30:34, 18:22, 6:9] += 12
    volume = make_volume(SHAPE, spacing_mm=SPACING_MM)
    volume = type(volume)(array, volume.grid)
    windowed = NormaliseWindow(low=0, high=80, middle=0, scale=80)
    plain, found = (run(steps, volume)[0] for steps in ((windowed,), (windowed, Clahe(tile_mm=TILE_MM))))
    assert (found[:10] == 0).all()
    assert (found[-10:] == 1).all()
    ball, around = (slice(30, 34), slice(18, 22), slice(6, 9)), (slice(24, 28), slice(18, 22), slice(6, 9))
    contrast = [float(image[ball].mean() - image[around].mean()) for image in (plain, found)]
    assert contrast[1] > 1.3 * contrast[0]


def test_steps_are_built_from_plain_data_and_wrong_ones_are_told():
    given_ = {"name": "clahe", "kind": "2d", "tile_mm": 20, "clip_limit": 2, "bins": 128, "percentiles": [1, 99]}
    assert build([given_]) == (Clahe(kind="2d", tile_mm=20, clip_limit=2, bins=128, percentiles=(1, 99)),)
    for wrong in ({"clip_limit": 0.5}, {"tile_mm": 1}, {"kind": "4d"}, {"percentiles": [99, 1]}, {"tiles": 8}):
        with pytest.raises(ConfigError, match="Preprocessing step 0"):
            build([{"name": "clahe", **wrong}])
