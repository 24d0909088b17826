"""Reliability, ECE and Brier score against numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metseg.core.errors import InputError
from metseg.evaluate.bootstrap import BootstrapOptions, Resampling
from metseg.evaluate.calibration import calibration, reliability_sums


def sums(probability, truth, bins=10, dtype=np.float64):
    return reliability_sums(np.array(probability, dtype=dtype), np.array(truth, dtype=bool), bins)


def over(cases, patients=2):
    return calibration(cases, Resampling.draw(patients, BootstrapOptions(resamples=200)))


def test_bins_hold_their_lower_edge_and_the_last_one_its_upper():
    found = sums([0.0, 0.0999, 0.1, 0.95, 1.0], [0, 0, 1, 1, 0])
    assert found.counts == (2, 1, 0, 0, 0, 0, 0, 0, 0, 2)
    assert found.positives == (0, 1, 0, 0, 0, 0, 0, 0, 0, 1)


def test_worked_numbers_over_two_cases():
    a = sums([0.2, 0.3, 0.9], [0, 1, 1], bins=2)
    b = sums([0.4, 0.7], [0, 0], bins=2)
    found = over([(0, a), (1, b)])
    low, high = found.bins
    assert (low.low, low.high, low.count) == (0, 0.5, 3)
    assert (low.mean_probability, low.share_true) == pytest.approx((0.3, 1 / 3))
    assert (high.count, high.mean_probability, high.share_true) == (2, pytest.approx(0.8), 0.5)
    assert found.ece.value == pytest.approx((3 * (1 / 3 - 0.3) + 2 * 0.3) / 5)
    assert found.mce.value == pytest.approx(0.3)
    assert found.brier.value == pytest.approx((0.04 + 0.49 + 0.01 + 0.16 + 0.49) / 5)
    assert found.ece.n == 5
    assert found.ece.low <= found.ece.value <= found.ece.high


def test_perfectly_calibrated():
    probability = np.repeat([0.25, 0.75], 400)
    truth = np.concatenate([np.arange(400) % 4 == 0, np.arange(400) % 4 != 0])
    found = over([(0, reliability_sums(probability, truth))])
    assert (found.ece.value, found.mce.value) == (pytest.approx(0), pytest.approx(0))
    assert found.brier.value == pytest.approx(0.1875)
    assert [b.count for b in found.bins if b.mean_probability is not None] == [400, 400]


def test_nothing_to_calibrate():
    assert over([]) is None
    found = over([(0, sums([], []))])
    assert (found.ece.value, found.ece.reason) == (None, "no_probabilities")
    assert all(b.mean_probability is None and b.share_true is None for b in found.bins)


@pytest.mark.parametrize("wrong", [[-0.1], [1.01], [float("nan")], [float("inf")]])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(InputError, match="between 0 and 1"):
        sums(wrong, [1])


def test_pieces_add_up(monkeypatch):
    rng = np.random.default_rng(1)
    p = rng.random(1000).astype(np.float32)
    whole = reliability_sums(p, p > 0.5)
    monkeypatch.setattr("metseg.evaluate.calibration._PIECE", 77)
    parts = reliability_sums(p, p > 0.5)
    assert whole.counts == parts.counts
    assert whole.squared_errors == pytest.approx(parts.squared_errors)


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 20))
def test_bounds(seed, n, bins):
    rng = np.random.default_rng(seed)
    p, y = rng.random(n), rng.random(n) < 0.4
    found = over([(int(i), reliability_sums(p[i::2], y[i::2], bins)) for i in range(2)])
    assert 0 <= found.ece.value <= found.mce.value <= 1
    assert found.brier.value == pytest.approx(np.mean((p - y) ** 2))
    assert sum(b.count for b in found.bins) == n
    # With one bin only the overall shift is left.
    if bins == 1:
        assert found.ece.value == pytest.approx(abs(p.mean() - y.mean()))
