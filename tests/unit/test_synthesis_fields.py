"""Smooth random fields have the size and the smoothness that they promise."""

import numpy as np
import pytest

from metseg.synthesis.fields import smooth_field


@pytest.mark.parametrize("correlation", [2.0, 4.0, 9.5])
def test_variance_is_one(correlation):
    fields = [smooth_field(np.random.default_rng(seed), (70, 60, 50), correlation) for seed in range(6)]
    assert np.mean([f.mean() for f in fields]) == pytest.approx(0, abs=0.05)
    assert np.mean([f.var() for f in fields]) == pytest.approx(1, abs=0.12)


def test_neighbours_are_alike_up_to_the_correlation_length():
    field = smooth_field(np.random.default_rng(1), (96, 80, 72), 8.0)

    def correlation(step):
        return np.corrcoef(field[:-step].ravel(), field[step:].ravel())[0, 1]

    assert correlation(1) > 0.98
    assert 0.3 < correlation(8) < 0.8
    assert abs(correlation(32)) < 0.2


def test_a_field_without_any_correlation_is_refused_no_size():
    assert smooth_field(np.random.default_rng(2), (3, 1, 5), 60.0).shape == (3, 1, 5)
