"""From fractions of voxels to labels: a lesion keeps its volume, and tumour goes before oedema."""

import numpy as np
import pytest

from metseg.synthesis.truth import CAVITY, ENHANCING, NECROTIC, OEDEMA, Parts, mark, voxels_of

SPHERE_MM3 = 4 / 3 * np.pi  # of 2 mm


def random_fractions(seed, shape=(9, 13, 7)):
    return np.clip(np.random.default_rng(seed).normal(0.1, 0.4, shape), 0, 1).astype(np.float32)


def ball_fractions(shape, spacing_mm, centre_mm, radius_mm, fine=8):
    """How much of each voxel a ball fills, by ``fine``³ points in each."""
    axes = [((np.arange(n * fine) + 0.5) / fine - 0.5) * s - c for n, s, c in zip(shape, spacing_mm, centre_mm)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    inside = x * x + y * y + z * z <= radius_mm**2
    blocks = inside.reshape(shape[0], fine, shape[1], fine, shape[2], fine)
    return blocks.mean(axis=(1, 3, 5)).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_as_many_voxels_are_marked_as_the_fractions_sum_to(seed):
    fraction = random_fractions(seed)
    assert np.count_nonzero(voxels_of(fraction)) == round(float(fraction.sum(dtype=np.float64)))


@pytest.mark.parametrize("seed", range(8))
def test_the_fullest_voxels_are_marked(seed):
    fraction = random_fractions(seed)
    marked = voxels_of(fraction)
    assert marked.shape == fraction.shape
    assert fraction[marked].min() >= fraction[~marked].max()


def test_the_least_trace_of_a_lesion_is_one_voxel():
    fraction = np.zeros((4, 3, 5), dtype=np.float32)
    fraction[1, 2, 3], fraction[3, 0, 4] = 0.04, 0.05
    assert np.argwhere(voxels_of(fraction)).tolist() == [[3, 0, 4]]


@pytest.mark.parametrize("shape", [(4, 3, 5), (0, 3, 5)])
def test_where_there_is_nothing_nothing_is_marked(shape):
    assert not voxels_of(np.zeros(shape, dtype=np.float32)).any()


def test_a_mask_comes_back_as_it_is():
    mask = np.random.default_rng(3).random((5, 8, 6)) < 0.3
    assert np.array_equal(voxels_of(mask.astype(np.float32)), mask)


@pytest.mark.parametrize(
    ("spacing_mm", "shape"),
    [((1.0, 1.0, 1.0), (7, 9, 8)), ((0.5, 0.5, 3.0), (13, 15, 4)), ((1.2, 0.7, 0.7), (6, 9, 11))],
)
def test_a_lesion_of_2_mm_keeps_its_volume_wherever_it_lies(spacing_mm, shape):
    rng, voxel = np.random.default_rng(1), np.prod(spacing_mm)
    middle, counts = np.multiply(np.subtract(shape, 1) / 2, spacing_mm), []
    for _ in range(60):
        centre = middle + rng.uniform(-0.5, 0.5, 3) * spacing_mm
        fraction = ball_fractions(shape, spacing_mm, centre, 1.0)
        assert fraction.sum() * voxel == pytest.approx(SPHERE_MM3, rel=0.03)  # of the supersampling
        counts.append(np.count_nonzero(voxels_of(fraction)))
        assert abs(counts[-1] - fraction.sum()) <= 0.5
    assert np.mean(counts) * voxel == pytest.approx(SPHERE_MM3, abs=0.5 * voxel)


def parts(number, shape, *, core=(), dark=(), oedema=None, cavity=False):
    """Parts from lists of (voxel, fraction)."""
    arrays = [np.zeros(shape, dtype=np.float32) for _ in range(3)]
    for array, given in zip(arrays, (core, dark, oedema or ())):
        for voxel, value in given:
            array[voxel] = value
    return Parts(number, cavity, arrays[0], arrays[1], None if oedema is None else arrays[2])


def test_labels_of_one_lesion_by_hand():
    labels, instances = (np.zeros((3, 2, 4), dtype=np.uint8) for _ in range(2))
    a, b, c, d = (0, 0, 1), (0, 1, 1), (1, 0, 1), (2, 1, 3)
    core = [(a, 1.0), (b, 0.8), (c, 0.2)]  # two voxels in all
    mark(labels, instances, parts(5, (3, 2, 4), core=core, dark=[(a, 0.3), (b, 0.45)], oedema=[(c, 0.5), (d, 0.49)]))
    assert {voxel: int(labels[voxel]) for voxel in (a, b, c, d)} == {a: ENHANCING, b: NECROTIC, c: OEDEMA, d: 0}
    assert np.argwhere(instances).tolist() == [list(a), list(b)]
    assert set(instances[instances > 0].tolist()) == {5}


def test_oedema_never_covers_a_tumour_nor_a_cavity():
    shape = (2, 3, 4)
    labels, instances = (np.zeros(shape, dtype=np.uint8) for _ in range(2))
    everywhere = [(voxel, 1.0) for voxel in np.ndindex(shape)]
    mark(labels, instances, parts(0, shape, core=[((0, 0, 0), 1.0)], cavity=True))
    mark(labels, instances, parts(1, shape, core=[((1, 1, 1), 1.0)]))
    mark(labels, instances, parts(2, shape, core=[((1, 2, 3), 1.0)], oedema=everywhere))
    assert labels[0, 0, 0] == CAVITY
    assert labels[1, 1, 1] == labels[1, 2, 3] == ENHANCING
    assert np.count_nonzero(labels == OEDEMA) == 24 - 3
    assert [int(instances[v]) for v in ((0, 0, 0), (1, 1, 1), (1, 2, 3))] == [0, 1, 2]


def test_tumour_covers_the_oedema_of_another():
    shape = (2, 3, 4)
    labels, instances = (np.zeros(shape, dtype=np.uint8) for _ in range(2))
    mark(labels, instances, parts(1, shape, core=[((0, 0, 0), 1.0)], oedema=[((0, 0, 1), 1.0), ((0, 0, 2), 1.0)]))
    mark(labels, instances, parts(2, shape, core=[((0, 0, 1), 1.0)]))
    assert labels[0, 0].tolist() == [ENHANCING, ENHANCING, OEDEMA, 0]
    assert instances[0, 0].tolist() == [1, 2, 0, 0]


def test_a_cavity_is_labelled_and_not_numbered():
    shape = (2, 3, 4)
    labels, instances = (np.zeros(shape, dtype=np.uint8) for _ in range(2))
    mark(labels, instances, parts(0, shape, core=[((1, 0, 2), 1.0), ((1, 0, 3), 0.9)], cavity=True))
    assert np.argwhere(labels == CAVITY).tolist() == [[1, 0, 2], [1, 0, 3]]
    assert not instances.any()


@pytest.mark.parametrize("seed", range(6))
def test_a_later_lesion_takes_nothing_from_an_earlier_one(seed):
    rng, shape = np.random.default_rng(seed), (8, 11, 6)
    labels, instances = (np.zeros(shape, dtype=np.uint8) for _ in range(2))
    for number in (1, 2, 3, 0):
        before, named = labels.copy(), instances.copy()
        core, oedema = (np.clip(rng.normal(-0.1, 0.5, shape), 0, 1).astype(np.float32) for _ in range(2))
        mark(labels, instances, Parts(number, number == 0, core, core * rng.random(shape, np.float32), oedema))
        tumour = np.isin(before, (NECROTIC, ENHANCING))
        assert np.array_equal(labels[tumour], before[tumour])
        assert np.array_equal(instances[named > 0], named[named > 0])
        assert np.array_equal(instances > 0, np.isin(labels, (NECROTIC, ENHANCING)))
