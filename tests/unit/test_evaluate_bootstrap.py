"""Intervals clustered by patient, against drawing the arrays themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metseg.evaluate.bootstrap import BootstrapOptions, Estimate, Resampling, divide
from metseg.evaluate.cohort import patient_indices


def drawn(values, owners, counts):
    """The values of a resample, written out."""
    return np.concatenate([np.repeat(values[owners == p], int(n)) for p, n in enumerate(counts)])


@pytest.fixture
def lesions():
    rng = np.random.default_rng(4)
    owners = np.repeat(np.arange(7), (1, 4, 9, 0, 2, 3, 6))
    return rng.random(len(owners)).round(2), owners


@pytest.mark.parametrize(("name", "by_hand"), [("mean", np.mean), ("median", np.median)])
def test_the_interval_is_that_of_resamples_written_out(lesions, name, by_hand):
    values, owners = lesions
    resampling = Resampling.draw(7, BootstrapOptions(resamples=300, seed=9, level=0.9))
    found = getattr(resampling, name)(values, owners, "none")
    replicates = [by_hand(drawn(values, owners, row)) for row in resampling.counts]
    assert found.value == pytest.approx(by_hand(values))
    assert (found.low, found.high) == pytest.approx(np.quantile(replicates, (0.05, 0.95)))
    assert (found.n, found.reason, found.undefined_resamples) == (25, "", 0)


def test_a_mean_comes_with_its_standard_deviation(lesions):
    values, owners = lesions
    resampling = Resampling.draw(7, BootstrapOptions(resamples=10))
    assert resampling.mean(values, owners, "none").sd == pytest.approx(np.std(values, ddof=1))
    assert resampling.mean(values[:1], owners[:1], "none").sd is None


def test_patients_are_drawn_not_lesions():
    """Ten lesions of each patient alike: the interval is that of ten patients, not of a hundred lesions."""
    owners = np.repeat(np.arange(10), 10)
    values = (owners < 5).astype(float)
    clustered = Resampling.draw(10, BootstrapOptions()).mean(values, owners, "")
    single = Resampling.draw(100, BootstrapOptions()).mean(values, np.arange(100), "")
    assert (clustered.low, clustered.high) == (pytest.approx(0.2), pytest.approx(0.8))
    assert (single.low, single.high) == (pytest.approx(0.4, abs=0.02), pytest.approx(0.6, abs=0.02))


def test_the_seed_decides(lesions):
    one, same, other = (
        Resampling.draw(7, BootstrapOptions(resamples=200, seed=seed)).mean(*lesions, "") for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other
    assert one.value == other.value


def test_what_is_not_defined_has_a_reason_and_no_nan():
    resampling = Resampling.draw(3, BootstrapOptions(resamples=50))
    zero, none = np.zeros(3), np.zeros(0, dtype=np.int64)
    assert resampling.ratio(zero, zero, "no_reference_lesion") == Estimate(None, reason="no_reference_lesion")
    assert resampling.mean(np.zeros(0), none, "why") == Estimate(None, reason="why")
    assert resampling.median(np.zeros(0), none, "why") == Estimate(None, reason="why")
    nobody = Resampling.draw(0, BootstrapOptions())
    assert nobody.mean(np.zeros(0), none, "no_case") == Estimate(None, reason="no_case")


def test_one_patient_and_no_resamples_give_no_interval():
    values, owners = np.array([0.0, 1.0, 0.5]), np.zeros(3, dtype=np.int64)
    one = Resampling.draw(1, BootstrapOptions(resamples=20)).median(values, owners, "")
    assert (one.value, one.low, one.high, one.reason) == (0.5, None, None, "one_patient")
    never = Resampling.draw(4, BootstrapOptions(resamples=0)).median(values, owners, "")
    assert (never.value, never.low, never.high, never.reason) == (0.5, None, None, "no_resamples")


def test_resamples_in_which_a_number_is_not_defined_are_counted():
    """One of three patients has lesions: 8 of 27 resamples lack that patient."""
    resampling = Resampling.draw(3, BootstrapOptions(resamples=2000, seed=3))
    found = resampling.ratio(np.array([1.0, 0, 0]), np.array([2.0, 0, 0]), "")
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    assert found.undefined_resamples == (resampling.counts[:, 0] == 0).sum()
    assert found.undefined_resamples == pytest.approx(2000 * 8 / 27, rel=0.1)


def test_a_number_that_is_mostly_undefined_has_no_interval():
    counts = np.array([[2.0, 0], [0, 2], [0, 2], [1, 1]])
    found = Resampling(counts).ratio(np.array([1.0, 0]), np.array([1.0, 0]), "")
    assert (found.value, found.low, found.reason, found.undefined_resamples) == (1.0, None, "mostly_undefined", 2)


def test_medians_in_parts_equal_those_at_once(lesions, monkeypatch):
    resampling = Resampling.draw(7, BootstrapOptions(resamples=100))
    whole = resampling.median(*lesions, "")
    monkeypatch.setattr("metseg.evaluate.bootstrap._CHUNK_NUMBERS", 100)
    assert resampling.median(*lesions, "") == whole


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_cases_changes_no_interval(patients, random):
    values = [len(patients) - i / 7 for i in range(len(patients))]
    order = list(range(len(patients)))
    random.shuffle(order)
    estimates = []
    for places in (range(len(patients)), order):
        names, owners = patient_indices([patients[i] for i in places])
        resampling = Resampling.draw(len(names), BootstrapOptions(resamples=40))
        estimates.append(resampling.median(np.array([values[i] for i in places], dtype=float), owners, ""))
    assert estimates[0] == estimates[1]


def test_division_by_zero_is_nan_inside():
    assert divide(np.array([1.0, 0.0]), np.array([2.0, 0.0]))[0] == 0.5
    assert np.isnan(divide(np.array([1.0, 0.0]), np.array([2.0, 0.0]))[1])
