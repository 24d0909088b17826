"""Bland–Altman and concordance against their formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metseg.evaluate.agreement import agreement
from metseg.evaluate.bootstrap import BootstrapOptions, Resampling


def agree(reference, prediction, owners=None, patients=None):
    x, y = np.array(reference, dtype=float), np.array(prediction, dtype=float)
    owners = np.arange(len(x)) if owners is None else np.array(owners)
    resampling = Resampling.draw(patients or len(set(owners.tolist())), BootstrapOptions(resamples=200))
    return agreement(x, y, owners, resampling)


def test_worked_numbers():
    found = agree([10, 20, 30, 40], [12, 19, 33, 44])  # differences 2, -1, 3, 4
    assert found.pairs == 4
    assert found.bias.value == pytest.approx(2.0)
    sd = np.sqrt((0 + 9 + 1 + 4) / 3)
    assert found.sd.value == pytest.approx(sd)
    assert (found.lower_limit.value, found.upper_limit.value) == pytest.approx((2 - 1.96 * sd, 2 + 1.96 * sd))
    # s_x² = 125, s_y² = 153.5, s_xy = 137.5, squared difference of means 4
    assert found.concordance.value == pytest.approx(2 * 137.5 / (125 + 153.5 + 4))
    assert found.bias.low <= 2 <= found.bias.high


def test_perfect_agreement_and_its_opposite():
    assert agree([1, 2, 5], [1, 2, 5]).concordance.value == pytest.approx(1)
    assert agree([1, 2, 3], [3, 2, 1]).concordance.value == pytest.approx(-1)
    assert agree([1, 2, 5], [1, 2, 5]).sd.value == 0


def test_the_same_number_everywhere_has_no_concordance():
    found = agree([0.1, 0.1, 0.1], [0.1, 0.1, 0.1])
    assert (found.concordance.value, found.concordance.reason) == (None, "no_spread")
    assert (found.bias.value, found.sd.value) == (0, 0)
    assert agree([0.1, 0.1, 0.1], [0.3, 0.3, 0.3]).concordance.value == pytest.approx(0, abs=1e-12)


def test_few_pairs():
    one = agree([10], [12])
    assert (one.bias.value, one.bias.reason) == (2, "one_patient")
    for part in (one.sd, one.lower_limit, one.upper_limit, one.concordance):
        assert (part.value, part.reason) == (None, "fewer_than_two_pairs")
    none = agree([], [], patients=3)
    assert (none.pairs, none.bias.value, none.bias.reason) == (0, None, "no_pairs")


@given(st.integers(0, 10**6), st.integers(2, 40))
def test_concordance_is_bounded_by_correlation_and_does_not_hang_on_the_unit(seed, n):
    rng = np.random.default_rng(seed)
    x = rng.lognormal(4, 1.5, n)
    y = x * rng.lognormal(0.1, 0.3, n)
    owners = rng.integers(0, 5, n)
    found, in_ml = agree(x, y, owners, 5), agree(x / 1000, y / 1000, owners, 5)
    assert abs(found.concordance.value) <= abs(np.corrcoef(x, y)[0, 1]) + 1e-9
    assert found.concordance.value == pytest.approx(in_ml.concordance.value, rel=1e-9, abs=1e-12)
    assert found.bias.value == pytest.approx(1000 * in_ml.bias.value)
    assert found.sd.value == pytest.approx(np.std(y - x, ddof=1))
    swapped = agree(y, x, owners, 5)
    assert swapped.concordance.value == pytest.approx(found.concordance.value)
    assert swapped.bias.value == pytest.approx(-found.bias.value)


def test_intervals_of_limits_are_clustered():
    """Each patient measured three times alike: as sure as one measurement of each patient."""
    rng = np.random.default_rng(0)
    x, y = rng.random(12), rng.random(12)
    once = agree(x, y, np.arange(12))
    thrice = agree(np.tile(x, 3), np.tile(y, 3), np.tile(np.arange(12), 3))
    assert thrice.bias.value == pytest.approx(once.bias.value)
    assert (thrice.bias.low, thrice.bias.high) == pytest.approx((once.bias.low, once.bias.high))
    assert (thrice.concordance.low, thrice.concordance.high) == pytest.approx(
        (once.concordance.low, once.concordance.high)
    )
