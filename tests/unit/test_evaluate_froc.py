"""FROC curves counted by hand, and against a sweep written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metseg.evaluate.bootstrap import BootstrapOptions, Resampling
from metseg.evaluate.froc import FrocEvents, FrocOptions, froc


def events(found, false, lesions, exposures=None):
    """From (patient, confidence) of found lesions and false components, and each patient's lesions."""
    both = [*found, *false]
    return FrocEvents(
        confidences=np.array([confidence for _, confidence in both], dtype=float),
        is_lesion=np.array([True] * len(found) + [False] * len(false), dtype=bool),
        owners=np.array([patient for patient, _ in both], dtype=np.int64),
        lesions=np.array(lesions, dtype=float),
        exposures=np.ones(len(lesions)) if exposures is None else np.array(exposures, dtype=float),
    )


def curve(given_events, *, resamples=50, **options):
    resampling = Resampling.draw(len(given_events.lesions), BootstrapOptions(resamples=resamples))
    return froc(given_events, FrocOptions(**options), resampling)


# Two patients, the second without lesions; 4 lesions, one of them never found.
COUNTED = events([(0, 0.9), (0, 0.7), (0, 0.3)], [(1, 0.8), (0, 0.5), (1, 0.4), (1, 0.2)], [4, 0])


def test_a_curve_counted_by_hand():
    found = curve(COUNTED)
    assert found.thresholds == (0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.2)
    assert found.rates == (0, 0.5, 0.5, 1, 1.5, 1.5, 2)
    assert found.sensitivities == (0.25, 0.25, 0.5, 0.5, 0.5, 0.75, 0.75)
    by_rate = {point.rate: point for point in found.points}
    assert [by_rate[r].sensitivity.value for r in (0.5, 1, 2, 4, 8)] == [0.5, 0.5, 0.75, 0.75, 0.75]
    assert [by_rate[r].threshold for r in (0.5, 1, 2)] == [0.7, 0.5, 0.2]
    assert [by_rate[r].beyond_curve for r in (0.5, 1, 2, 4, 8)] == [False, False, False, True, True]
    assert found.mean_sensitivity.value == pytest.approx((0.5 + 0.5 + 3 * 0.75) / 5)
    assert found.mean_sensitivity.n == 4


def test_between_points_steps_or_lines():
    step = curve(COUNTED, rates=(0.25, 1.25), interpolation="step")
    line = curve(COUNTED, rates=(0.25, 1.25), interpolation="linear")
    assert [point.sensitivity.value for point in step.points] == [0.25, 0.5]
    # From (0, 0.25) to (0.5, 0.25); the rise at 0.5 is upright. From (1, 0.5) to (1.5, 0.5) likewise.
    assert [point.sensitivity.value for point in line.points] == [0.25, 0.5]
    tied = events([(0, 0.5), (0, 0.5)], [(0, 0.5), (0, 0.5)], [2])
    assert curve(tied, rates=(1.0,), interpolation="step").points[0].sensitivity.value == 0
    assert curve(tied, rates=(1.0,), interpolation="linear").points[0].sensitivity.value == 0.5
    assert curve(tied, rates=(1.0,)).points[0].threshold is None
    assert curve(tied, rates=(2.0,)).points[0].sensitivity.value == 1


def test_per_case_where_patients_have_several():
    per_patient = curve(events([(0, 0.5)], [(0, 0.9), (0, 0.8)], [1, 0]))
    per_case = curve(events([(0, 0.5)], [(0, 0.9), (0, 0.8)], [1, 0], exposures=[3, 1]))
    assert per_patient.rates == (0.5, 1, 1)
    assert per_case.rates == (0.25, 0.5, 0.5)


def test_empty_sides():
    nothing_found = curve(events([], [(0, 0.5)], [3, 0]))
    assert [point.sensitivity.value for point in nothing_found.points] == [0] * 5
    no_events = curve(events([], [], [3, 0]))
    assert no_events.thresholds == ()
    assert [point.sensitivity.value for point in no_events.points] == [0] * 5
    assert all(point.beyond_curve for point in no_events.points)
    no_lesions = curve(events([], [(0, 0.5), (1, 0.4)], [0, 0]))
    assert {point.sensitivity.reason for point in no_lesions.points} == {"no_reference_lesion"}
    assert [point.sensitivity.value for point in no_lesions.points] == [None] * 5
    assert (no_lesions.rates, no_lesions.sensitivities) == ((0.5, 1), ())
    assert no_lesions.mean_sensitivity.value is None


def swept(found, false, lesions, rate, patients):
    """The highest sensitivity at no more than ``rate``, threshold by threshold."""
    best = 0.0
    for threshold in {confidence for _, confidence in found + false}:
        false_rate = sum(confidence >= threshold for _, confidence in false) / patients
        if false_rate <= rate:
            best = max(best, sum(confidence >= threshold for _, confidence in found) / sum(lesions))
    return best


confident = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8).map(lambda n: n / 8)), max_size=15)


@given(confident, confident, st.integers(0, 4))
def test_the_curve_is_that_of_a_sweep_written_out(found, false, extra):
    lesions = [sum(patient == p for p, _ in found) + extra for patient in range(4)]
    if not sum(lesions):
        lesions[0] = 1
    result = curve(events(found, false, lesions), resamples=5)
    assert (np.diff((0, *result.rates)) >= 0).all()
    assert (np.diff((0, *result.sensitivities)) >= 0).all()
    line = curve(events(found, false, lesions), resamples=5, interpolation="linear")
    for point, between in zip(result.points, line.points):
        assert point.sensitivity.value == pytest.approx(swept(found, false, lesions, point.rate, 4))
        assert between.sensitivity.value >= point.sensitivity.value - 1e-12


def test_intervals_are_those_of_patients_written_out():
    rng = np.random.default_rng(2)
    found = [(int(p), c) for p, c in zip(rng.integers(0, 6, 25), rng.random(25).round(1))]
    false = [(int(p), c) for p, c in zip(rng.integers(0, 6, 30), rng.random(30).round(1))]
    lesions = [sum(p == patient for p, _ in found) + 1 for patient in range(6)]
    resampling = Resampling.draw(6, BootstrapOptions(resamples=60, seed=5))
    result = froc(events(found, false, lesions), FrocOptions(rates=(2.0,)), resampling)
    replicates = []
    for row in resampling.counts.astype(int):
        many = [[(p, c) for p, c in some for _ in range(row[p])] for some in (found, false)]
        replicates.append(swept(*many, [n * k for n, k in zip(lesions, row)], 2.0, 6))
    (point,) = result.points
    assert (point.sensitivity.low, point.sensitivity.high) == pytest.approx(np.quantile(replicates, (0.025, 0.975)))
