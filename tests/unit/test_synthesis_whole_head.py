"""Whole heads for the brain finder: deterministic, and image and brain in agreement."""

import numpy as np
import pytest

from metseg.synthesis.tissues import INTRACRANIAL
from metseg.synthesis.warp import nearest_tissues, sampling
from metseg.synthesis.whole_head import make_ct_head, make_whole_head
from synthetic_hosts import made_head


@pytest.fixture(scope="module")
def head():
    return made_head()


def made(head, seed, **options):
    return make_whole_head(np.random.default_rng(seed), head, 96, **options)


def test_the_same_seed_gives_the_same_head(head):
    a, b, c = (made(head, seed) for seed in (4, 4, 5))
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.brain, b.brain)
    assert not np.array_equal(a.brain, c.brain)


@pytest.mark.parametrize("seed", range(4))
def test_a_stripped_head_is_its_brain(head, seed):
    it = made(head, seed, stripped=1.0)
    assert np.array_equal(it.brain, it.image > 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_head_with_skull_has_a_brain_of_human_size_and_more(head, seed):
    it = made(head, seed, stripped=0.0)
    brain_ml = np.count_nonzero(it.brain) * 8 / 1000
    assert 500 < brain_ml < 2300  # turned, scaled, and perhaps cut by the field of view
    assert np.count_nonzero((it.image > 0) & ~it.brain) > 0.3 * np.count_nonzero(it.brain)


def test_two_millimetres_are_two_millimetres(head):
    centre = (np.array(head.tissues.shape) - 1) / 2
    fine = nearest_tissues(head.tissues, sampling(np.random.default_rng(1), (192, 216, 200), centre).coordinates)
    coarse = nearest_tissues(head.tissues, sampling(np.random.default_rng(1), (96, 108, 100), centre, 2.0).coordinates)
    volumes = [np.isin(t, INTRACRANIAL).sum() * v for t, v in ((fine, 1), (coarse, 8))]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_a_ct_head_is_in_hounsfield_units(head, seed):
    it = make_ct_head(np.random.default_rng(seed), head, 96)
    assert np.array_equal(it.image, make_ct_head(np.random.default_rng(seed), head, 96).image)
    assert 0 < np.median(it.image[it.brain]) < 60
    assert it.image.min() >= -1024
    assert np.percentile(it.image[~it.brain], 99) > 300  # bone
    assert 500 < np.count_nonzero(it.brain) * 8 / 1000 < 2300
