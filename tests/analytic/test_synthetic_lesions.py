"""The truth of a synthetic lesion is the tissue that was drawn."""

import numpy as np
import pytest

from metseg.synthesis.metastases import draw_metastases
from metseg.synthesis.shapes import draw_shape

SHAPE = (60, 72, 48)


@pytest.mark.parametrize("diameter", [3.0, 8.0, 20.0])
def test_volume_is_about_that_of_the_sphere(diameter):
    volumes = []
    for seed in range(40):
        lesion = draw_shape(np.random.default_rng(seed), SHAPE, (30, 36, 24), diameter)
        volumes.append(np.clip(lesion.depth + 0.5, 0, 1).sum())
    sphere = np.pi / 6 * diameter**3
    # Lobes only add; the roughness of one lesion takes or gives up to a third.
    assert 0.8 < np.median(volumes) / sphere < 1.5


def _draw(seed, count=3, allowed=None, sites=None):
    image = np.ones(SHAPE, dtype=np.float32)
    everywhere = np.ones(SHAPE, dtype=bool)
    allowed = everywhere if allowed is None else allowed
    truth = draw_metastases(
        np.random.default_rng(seed),
        image,
        np.ones(SHAPE, dtype=np.float32) if sites is None else sites,
        allowed,
        everywhere,
        brightest=2.5,
        count=count,
    )
    return image, truth


def test_tumour_stays_where_it_may_grow():
    allowed = np.zeros(SHAPE, dtype=bool)
    allowed[:, :, :24] = True
    found = 0
    for seed in range(12):
        _, truth = _draw(seed, allowed=allowed)
        found += int((truth > 0).any())
        assert not truth[:, :, 24:].any()
    assert found >= 10


def test_centres_lie_at_the_sites():
    sites = np.zeros(SHAPE, dtype=np.float32)
    sites[10, 50, 20] = 1
    for seed in range(12):
        _, truth = _draw(seed, count=1, sites=sites)
        if truth.any():
            distance = np.abs(np.argwhere(truth > 0) - (10, 50, 20)).max(axis=1)
            assert distance.min() <= 2


def test_without_sites_nothing_is_drawn():
    image, truth = _draw(3, sites=np.zeros(SHAPE, dtype=np.float32))
    assert not truth.any()
    assert (image == 1).all()


def test_far_from_lesions_the_image_is_unchanged_and_inside_it_is_not():
    image, truth = _draw(5, count=2)
    assert truth.any()
    assert np.abs(image[truth > 0] - 1).mean() > 0.04
    assert (image == 1).mean() > 0.05
