"""Paired comparisons of runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from metseg.core.errors import ConfigError, InputError
from metseg.evaluate.bootstrap import BootstrapOptions
from metseg.evaluate.compare import CompareOptions, compare_runs
from metseg.evaluate.significance import holm, signed_rank

QUICK = CompareOptions(bootstrap=BootstrapOptions(resamples=300))
N = 12


def run(values, metric="dice"):
    return {f"case{i}": {metric: value} for i, value in enumerate(values)}


def own(n=N):
    """Each case of its own patient."""
    return {f"case{i}": f"p{i:02}" for i in range(n)}


@pytest.fixture
def values():
    rng = np.random.default_rng(8)
    first = rng.random(N)
    return first, first + rng.normal(0.1, 0.05, N)


def test_two_runs(values):
    first, second = values
    found = compare_runs({"old": run(first), "new": run(second)}, own(), QUICK)
    assert (found.runs, found.metrics, found.cases, found.patients) == (("old", "new"), ("dice",), N, N)
    (difference,) = found.differences
    assert (difference.first, difference.second, difference.metric) == ("old", "new", "dice")
    assert difference.mean.value == pytest.approx((second - first).mean())
    assert difference.median.value == pytest.approx(np.median(second - first))
    assert difference.mean.low < difference.mean.value < difference.mean.high
    assert difference.p_value == pytest.approx(wilcoxon(second - first).pvalue)
    assert difference.p_holm == difference.p_value
    assert difference.higher == (second > first).sum()
    assert (difference.higher + difference.lower, difference.equal, difference.patients) == (N, 0, N)
    old, new = found.scores
    assert (old.run, new.run) == ("old", "new")
    assert old.mean.value == pytest.approx(first.mean())
    assert new.mean.sd == pytest.approx(np.std(second, ddof=1))


def test_swapped_runs_change_signs_only(values):
    first, second = values
    (one,) = compare_runs({"a": run(first), "b": run(second)}, own(), QUICK).differences
    (other,) = compare_runs({"b": run(second), "a": run(first)}, own(), QUICK).differences
    assert other.mean.value == pytest.approx(-one.mean.value)
    assert (other.mean.low, other.mean.high) == pytest.approx((-one.mean.high, -one.mean.low))
    assert other.p_value == one.p_value
    assert (other.higher, other.lower) == (one.lower, one.higher)


def test_a_pairing_is_narrower_than_its_sides(values):
    first, second = values
    found = compare_runs({"a": run(first), "b": run(second)}, own(), QUICK)
    between = found.differences[0].mean
    assert between.high - between.low < 0.5 * (found.scores[0].mean.high - found.scores[0].mean.low)


def test_three_runs_are_corrected_together_or_by_metric(values):
    first, second = values
    runs = {
        name: {f"case{i}": {"dice": dice, "nsd": 1 - dice} for i, dice in enumerate(row)}
        for name, row in (("a", first), ("b", second), ("c", first + 0.02))
    }
    for over, size in (("all", 6), ("metric", 3)):
        found = compare_runs(runs, own(), CompareOptions(holm_over=over, bootstrap=QUICK.bootstrap))
        assert [(d.metric, d.first, d.second) for d in found.differences[:3]] == [
            ("dice", "a", "b"), ("dice", "a", "c"), ("dice", "b", "c")
        ]  # fmt: skip
        raw = np.array([d.p_value for d in found.differences])
        corrected = np.array([d.p_holm for d in found.differences])
        by_hand = np.concatenate([holm(part) for part in np.split(raw, 6 // size)])
        assert corrected == pytest.approx(by_hand)
        assert corrected.min() == pytest.approx(raw.min() * size)


def test_cases_of_one_patient_are_tested_as_one():
    first = np.zeros(12)
    second = np.array([0.1, 0.3, -0.2, 0.2, 0.5, 0.5, 0.05, 0.25, 0.4, 0.4, 0.1, 0.7])
    patients = {f"case{i}": f"p{i // 2}" for i in range(12)}
    (found,) = compare_runs({"a": run(first), "b": run(second)}, patients, QUICK).differences
    assert found.patients == 6
    means = second.reshape(6, 2).mean(axis=1)
    assert found.p_value == pytest.approx(wilcoxon(np.round(means, 9), zero_method="pratt").pvalue)


def test_no_difference():
    same = run(np.linspace(0, 1, N))
    (found,) = compare_runs({"a": same, "b": same}, own(), QUICK).differences
    assert (found.p_value, found.p_holm, found.reason, found.equal) == (1.0, 1.0, "no_difference", N)
    assert (found.mean.value, found.mean.low, found.mean.high) == (0, 0, 0)
    almost = run(np.linspace(0, 1, N) * 3 / 3 * (1 + 1e-15))
    (found,) = compare_runs({"a": same, "b": almost}, own(), QUICK).differences
    assert found.reason == "no_difference"


def test_missing_values_leave_the_case_out_of_every_run_and_are_counted(values):
    first, second = (row.tolist() for row in values)
    first[2], second[4], second[5] = None, float("nan"), float("inf")
    runs = {"a": run(first), "b": run(second), "c": run(first[:-1])}
    found = compare_runs(runs, own(), QUICK)
    assert {score.left_out for score in found.scores} == {4}
    assert {score.mean.n for score in found.scores} == {N - 4}
    assert {difference.left_out for difference in found.differences} == {4}
    with pytest.raises(InputError, match="4 of 12 cases lack a value of dice"):
        compare_runs(runs, own(), CompareOptions(missing="refuse"))


def test_a_metric_without_a_complete_case():
    found = compare_runs({"a": run([0.5, None]), "b": run([None, 0.5])}, own(2), QUICK)
    (difference,) = found.differences
    reason = "no_case_with_a_value_in_every_run"
    assert (difference.p_value, difference.p_holm, difference.reason) == (None, None, reason)
    assert (difference.mean.value, difference.mean.reason, difference.patients) == (None, reason, 0)


def test_what_cannot_be_compared_is_refused(values):
    first, second = map(run, values)
    with pytest.raises(InputError, match="at least two runs"):
        compare_runs({"a": first}, own())
    with pytest.raises(InputError, match="1 of 12 cases have no patient") as raised:
        compare_runs({"a": first, "b": second}, own(11))
    assert "case" not in raised.value.hint.replace("every case", "")
    with pytest.raises(ConfigError, match="'hd95'"):
        compare_runs({"a": first, "b": second}, own(), CompareOptions(metrics=("hd95",)))


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.zeros(0)).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_never_lowers_and_keeps_the_order(p_values):
    raw = np.array(p_values)
    corrected = holm(raw)
    assert (corrected >= raw).all()
    assert (corrected <= np.minimum(1, raw * len(raw)) + 1e-15).all()
    assert (np.diff(corrected[np.argsort(raw, kind="stable")]) >= 0).all()


def test_signed_rank_with_zeros_and_ties_is_exact_for_few_patients():
    """Of ±1, ±1, ±2 and a zero: of 8 equally likely signings, two are as extreme as all positive."""
    p_value, reason, patients = signed_rank(np.array([1.0, 1.0, 2.0, 0.0]), np.arange(4))
    assert (p_value, reason, patients) == (pytest.approx(0.25), "", 4)
    assert signed_rank(np.zeros(0), np.zeros(0, dtype=np.int64)) == (None, "no_case_with_a_value_in_every_run", 0)
    assert signed_rank(np.array([0.3]), np.zeros(1, dtype=np.int64))[0] == 1.0
