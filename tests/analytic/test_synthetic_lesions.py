"""The truth of a synthetic lesion is the tissue that was drawn."""

import numpy as np
import pytest

from metseg.synthesis.shapes import draw_shape

SHAPE = (60, 72, 48)


@pytest.mark.parametrize("diameter", [3.0, 8.0, 20.0])
def test_volume_is_about_that_of_the_sphere(diameter):
    volumes = []
    for seed in range(40):
        lesion = draw_shape(np.random.default_rng(seed), SHAPE, (30, 36, 24), diameter)
        volumes.append(lesion.filled.sum())
    sphere = np.pi / 6 * diameter**3
    # Lobes only add; the roughness of one lesion takes or gives up to a third.
    assert 0.8 < np.median(volumes) / sphere < 1.5
