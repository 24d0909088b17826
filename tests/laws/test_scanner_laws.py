"""What scanners do to an image: what they keep, what they add, and how much of it."""

import numpy as np
import pytest

from metseg.synthesis.ct_scanner import quantum_noise, scan_ct, streaks
from metseg.synthesis.fields import blurred, grown, log_uniform, raise_lattice, shrunk, smooth_field
from metseg.synthesis.scanner import (
    badly_stripped,
    ghosts,
    noisy,
    scan,
    stripped_brain,
    through_slices,
    uneven,
    wrapped,
)

SHAPE = (40, 52, 46)


def rngs(n=6):
    return [np.random.default_rng(seed) for seed in range(n)]


@pytest.fixture(scope="module")
def head():
    """A soft block in air."""
    image = np.zeros(SHAPE, dtype=np.float32)
    image[8:30, 10:40, 6:40] = 1
    return blurred(image, 1.0)


@pytest.fixture(scope="module")
def noise():
    return smooth_field(np.random.default_rng(1), SHAPE, 1.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_head_that_moved_is_as_bright_as_before(head, axis):
    for rng in rngs(10):
        seen = ghosts(rng, head, axis)
        assert seen.mean() == pytest.approx(head.mean(), rel=0.1)
        assert seen.min() >= 0
        assert not np.allclose(seen, head, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_head_that_moved_is_shown_where_it_was(head, axis):
    """Or the truth would no longer fit. By the phase of the coarsest wave: within 1½ voxels."""
    before = np.fft.fft(np.moveaxis(head, axis, 0).sum(axis=(1, 2)))[1]
    for rng in rngs(24):
        after = np.fft.fft(np.moveaxis(ghosts(rng, head, axis), axis, 0).sum(axis=(1, 2)))[1]
        assert abs(np.angle(after / before)) / (2 * np.pi) * SHAPE[axis] < 1.5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ghosts_lie_along_the_phase_encoding_axis_alone(head, axis):
    other = (axis + 1) % 3
    for rng in rngs(4):
        beyond = np.moveaxis(ghosts(rng, head, axis), other, 0)
        assert beyond[:3].max() < 1e-3  # lines that see no head have none
        assert beyond[-3:].max() < 1e-3
    still = np.full(SHAPE, 0.7, dtype=np.float32)
    np.testing.assert_allclose(ghosts(np.random.default_rng(1), still, axis), still, rtol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_folded_image_keeps_its_sum_and_its_shape(noise, axis):
    for rng in rngs(10):
        seen = wrapped(rng, noise, axis)
        assert seen.shape == noise.shape
        np.testing.assert_allclose(seen.sum(axis=axis), noise.sum(axis=axis), atol=1e-3)
        assert not np.array_equal(seen, noise)


def test_what_lies_beyond_one_edge_appears_at_the_other():
    ramp = np.zeros((3, 40, 2), dtype=np.float32)
    ramp[:] = np.arange(1, 41)[None, :, None]
    for rng in rngs(10):
        line = wrapped(rng, ramp, 1)[0, :, 0]
        seen = np.flatnonzero(line)
        low, high = seen[0], seen[-1] + 1
        assert 0 < low + 40 - high <= 8  # a fifth at most
        expected = np.arange(low + 1, high + 1, dtype=float)
        expected[len(expected) - low :] += np.arange(1, low + 1)
        expected[: 40 - high] += np.arange(high + 1, 41)
        np.testing.assert_allclose(line[low:high], expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("thickness", "phase"), [(2.0, 0.0), (3.7, 1.9), (5.0, 2.5), (6.0, 3.0)])
def test_slices_keep_an_even_image_and_the_mean_of_any(noise, axis, thickness, phase):
    even = np.full(SHAPE, 41.25, dtype=np.float32)
    np.testing.assert_allclose(through_slices(even, axis, thickness, phase), even, rtol=1e-5)
    seen = through_slices(noise, axis, thickness, phase)
    assert seen.shape == noise.shape
    inner = np.moveaxis(seen, axis, 0)[8:-8].mean()
    assert inner == pytest.approx(np.moveaxis(noise, axis, 0)[8:-8].mean(), abs=0.08)
    assert seen.std() < noise.std()


def test_slices_keep_a_slope_where_it_is():
    slope = np.broadcast_to(np.arange(46, dtype=np.float32), SHAPE)
    seen = through_slices(slope, 2, 4.0, 1.5)
    np.testing.assert_allclose(seen[:, :, 6:-6], slope[:, :, 6:-6], atol=0.02)
    across = through_slices(slope, 0, 4.0, 1.5)
    np.testing.assert_allclose(across, slope, rtol=1e-5)


def test_coils_change_brightness_slowly_and_by_no_more_than_they_do():
    even = np.ones((60, 50, 70), dtype=np.float32)
    for rng in rngs():
        seen = uneven(rng, even)
        assert 0.3 < seen.min() <= seen.max() < 3
        assert max(np.abs(np.diff(seen, axis=axis)).max() for axis in range(3)) < 0.05


def test_mr_noise_is_rician_and_of_a_level_a_scan_has():
    levels = []
    for rng in rngs(12):
        seen = noisy(rng, np.concatenate([np.zeros((20, 30, 26)), np.ones((20, 30, 26))]).astype(np.float32))
        assert seen.dtype == np.float32
        air, tissue = seen[:20], seen[20:]
        assert air.min() >= 0
        assert air.mean() > 0  # the noise of nothing is not nothing
        assert tissue.mean() == pytest.approx(1, abs=0.02)
        levels.append(tissue.std())
    assert 0.001 < min(levels) < 0.02 < max(levels) < 0.1


def test_a_scan_of_tissue_has_about_its_brightness(head):
    for rng in rngs(4):
        seen = scan(rng, head, thick_slices=1.0, motion=1.0)
        assert seen.shape == head.shape
        assert seen[14:24, 18:32, 16:30].mean() == pytest.approx(1, abs=0.5)
        assert seen[:3].mean() < 0.3
    a, b = (scan(np.random.default_rng(5), head) for _ in range(2))
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("sigma", [2.5, 6.0])
def test_ct_noise_has_its_sigma_in_the_brain_and_more_in_bone(sigma):
    brain = np.full((48, 60, 40), 30, dtype=np.float32)
    half_bone = brain.copy()
    half_bone[:24] = 1200
    for rng in rngs(4):
        noise = quantum_noise(rng, brain, sigma)
        assert noise.std() == pytest.approx(sigma, rel=0.02)
        assert noise.mean() == pytest.approx(0, abs=0.15)
        assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) > 0.2  # a grain, no snow
        denser = quantum_noise(rng, half_bone, sigma)
        assert denser[:12].std() > 2 * denser[-3:].std()


def ct_head():
    image = np.full((48, 60, 40), -1000, dtype=np.float32)
    image[6:-6, 6:-6] = 1100
    image[10:-10, 10:-10] = 35
    return image


def test_streaks_darken_what_lies_between_bones_and_nothing_else():
    image, darkest = ct_head(), []
    for rng in rngs(8):
        dark = streaks(rng, image)
        assert dark.max() <= 1e-4
        assert not dark[:8].any()  # nor in the bone itself
        assert dark.min() > -40
        darkest.append(dark[20:28, 25:35].mean())
    assert min(darkest) < -1
    assert not streaks(np.random.default_rng(1), np.full((20, 24, 10), 35, dtype=np.float32)).any()


@pytest.mark.parametrize("thick", [0.0, 1.0])
def test_a_ct_shows_brain_and_air_where_they_are(thick):
    image = ct_head()
    for rng in rngs(4):
        seen = scan_ct(rng, image, thick)
        assert seen.dtype == np.float32
        assert -1024 <= seen.min() < -980
        assert seen.max() <= 3071
        middle = seen[18:30, 18:42, 8:-8]
        assert middle.mean() == pytest.approx(35, abs=25)
        assert 1 < middle.std() < 15


@pytest.fixture(scope="module")
def skull():
    """Brain and head: an ellipsoid in a larger one."""
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in (64, 72, 60)), indexing="ij", sparse=True)
    radius = np.sqrt(i * i + j * j + k * k)
    return radius < 0.65, radius < 0.95


def test_a_stripped_brain_is_about_the_brain(skull):
    brain, _ = skull
    for rng in rngs(8):
        kept = stripped_brain(rng, brain)
        assert 0.7 < np.count_nonzero(kept) / np.count_nonzero(brain) < 1.3
        assert not kept[~grown(brain, 8)].any()
        assert kept[shrunk(brain, 10)].all()


def test_a_bad_stripping_leaves_too_much_or_takes_too_much(skull):
    brain, head = skull
    kinds = []
    for rng in rngs(24):
        kept = badly_stripped(rng, brain, head)
        more, less = kept & ~brain, brain & ~kept
        assert not (more.any() and less.any())
        assert head[kept].all()
        assert not less[shrunk(brain, 8)].any()
        assert not more[~grown(brain, 12)].any()
        kinds.append((bool(more.any()), bool(less.any())))
    assert kinds.count((True, False)) >= 5
    assert kinds.count((False, True)) >= 3


def test_growing_and_shrinking_by_hand():
    mask = np.zeros((7, 6, 9), dtype=bool)
    mask[3, 2, 4] = True
    i, j, k = np.indices(mask.shape)
    distance = abs(i - 3) + abs(j - 2) + abs(k - 4)
    for steps in (0, 1, 2):
        assert np.array_equal(grown(mask, steps), distance <= steps)
        assert np.array_equal(shrunk(distance <= 2, steps), distance <= 2 - steps)
    assert shrunk(np.ones((3, 4, 5), dtype=bool), 2).all()  # a scene's edge is no outside
    assert np.count_nonzero(mask) == 1  # left as it was


def test_a_blur_keeps_an_even_image_and_a_points_sum():
    np.testing.assert_allclose(blurred(np.full((9, 14, 11), 3.5, dtype=np.float32), (0.5, 2.0, 4.0)), 3.5, rtol=1e-5)
    point = np.zeros((21, 25, 23), dtype=np.float32)
    point[10, 12, 11] = 1
    seen = blurred(point, (1.0, 2.0, 1.5))
    assert seen.sum() == pytest.approx(1, abs=1e-5)
    for axis, (sigma, middle) in enumerate(((1.0, 10), (2.0, 12), (1.5, 11))):
        profile = seen.sum(axis=tuple(a for a in range(3) if a != axis))
        width = np.sqrt((profile * (np.arange(len(profile)) - middle) ** 2).sum())
        assert width == pytest.approx(sigma, rel=0.15)  # its tails are cut


def test_raising_a_lattice_is_three_sums():
    rng = np.random.default_rng(3)
    lattice = rng.random((3, 4, 5), dtype=np.float32)
    a, b, c = (rng.random((n, m), dtype=np.float32) for n, m in ((7, 3), (6, 4), (9, 5)))
    expected = np.einsum("ia,jb,kc,abc->ijk", a, b, c, lattice)
    np.testing.assert_allclose(raise_lattice(lattice, (a, b, c)), expected, rtol=1e-5)


def test_log_uniform_numbers_are_uniform_in_their_logarithm():
    rng = np.random.default_rng(4)
    drawn = np.array([log_uniform(rng, 2.0, 32.0) for _ in range(1500)])
    assert 2 <= drawn.min() <= drawn.max() <= 32
    assert np.median(drawn) == pytest.approx(8, rel=0.12)
