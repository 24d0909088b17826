"""What must hold for profile field whatever the masks are."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import strategies
from metseg.core.grid import Grid
from metseg.evaluate.bootstrap import BootstrapOptions
from metseg.evaluate.field import FieldOptions, score_case, summarise
from metseg.evaluate.matching import MatchingOptions, match
from metseg.evaluate.overlap import detection, dice
from metseg.lesions.components import label_instances

OPTIONS = FieldOptions(bootstrap=BootstrapOptions(resamples=20))
rules = st.sampled_from(
    [
        {"rule": "any_overlap"},
        {"rule": "centroid"},
        {"rule": "dice", "threshold": 0.3},
        {"rule": "iou", "threshold": 0.2},
    ]
)
assignments = st.sampled_from(["many_to_many", "many_to_one", "one_to_one"])


@st.composite
def sides(draw, largest=7, top=3):
    """Two instance maps on one grid."""
    grid = draw(strategies.grids(largest=largest))
    values = st.integers(0, top)
    return *(draw(hnp.arrays(np.uint8, grid.shape, elements=values, fill=st.just(0))) for _ in range(2)), grid


@st.composite
def masks(draw, largest=7):
    """Two masks on one grid."""
    prediction, reference, grid = draw(sides(largest, 1))
    return prediction > 0, reference > 0, grid


def within(value, low=0.0, high=1.0):
    return value is None or low <= value <= high


@given(sides(), rules, assignments)
def test_bounds_and_counts(given_sides, rule, assignment):
    prediction, reference, grid = given_sides
    options = FieldOptions(matching={**rule, "assignment": assignment}, bootstrap=OPTIONS.bootstrap)
    case = score_case(prediction, reference, grid, options)
    assert all(within(value) for value in (case.sensitivity, case.ppv, case.f1, case.dice))
    for lesion in case.lesions:
        assert within(lesion.dice)
        assert all(
            within(value, high=1 + 1e-12) for value in (*lesion.nsd_border.values(), *lesion.nsd_element.values())
        )
        assert (lesion.hd95_mm is None) == (not lesion.found)
        assert lesion.volume_error_mm3 == pytest.approx(lesion.matched_volume_mm3 - lesion.volume_mm3)
    assert {lesion.id for lesion in case.lesions} == set(np.unique(reference[reference > 0]).tolist())
    # Both sides tell of the same pairs.
    assert {(m, lesion.id) for lesion in case.lesions for m in lesion.matched} == {
        (component.id, r) for component in case.components for r in component.matched
    }
    if assignment == "one_to_one":
        assert case.found == len(case.components) - case.false
        assert all(len(lesion.matched) <= 1 for lesion in case.lesions)
    if assignment == "many_to_one":
        assert all(len(component.matched) <= 1 for component in case.components)


@given(masks())
def test_detection_and_dice_agree_with_the_simple_ones(given_masks):
    prediction, reference, grid = given_masks
    case = score_case(prediction, reference, grid, OPTIONS)
    simple = detection(label_instances(prediction), label_instances(reference))
    assert (len(case.lesions), case.found, len(case.components), case.false) == dataclasses.astuple(simple)
    assert case.dice == pytest.approx(dice(prediction, reference))


@given(masks())
def test_a_mask_against_itself_is_perfect(given_masks):
    mask, _, grid = given_masks
    case = score_case(mask, mask, grid, OPTIONS)
    assert (case.false, case.f1, case.dice) == (0, 1, 1)
    for lesion in case.lesions:
        assert (lesion.dice, lesion.hd95_mm, lesion.volume_error_mm3) == (1, 0, 0)
        assert {*lesion.nsd_border.values(), *lesion.nsd_element.values()} == {1.0}
    summary = summarise([("a", case)], OPTIONS)
    if case.lesions:
        assert (summary.numbers["pq"].value, summary.numbers["sensitivity_per_lesion"].value) == (1, 1)


@given(sides(), assignments)
def test_swapped_sides_swap_sensitivity_and_ppv(given_sides, assignment):
    prediction, reference, grid = given_sides
    if assignment == "many_to_one":
        assignment = "many_to_many"
    options = FieldOptions(matching={"assignment": assignment}, bootstrap=OPTIONS.bootstrap)
    one, other = score_case(prediction, reference, grid, options), score_case(reference, prediction, grid, options)
    assert one.dice == other.dice
    assert one.panoptic.iou == pytest.approx(other.panoptic.iou)
    assert (one.panoptic.false, one.panoptic.missed) == (other.panoptic.missed, other.panoptic.false)
    if assignment == "many_to_many":
        assert one.sensitivity == pytest.approx(other.ppv)
        assert one.f1 == pytest.approx(other.f1)


@given(sides(), st.permutations(range(1, 4)), rules, assignments)
def test_numbers_of_instances_do_not_matter(given_sides, order, rule, assignment):
    prediction, reference, grid = given_sides
    table = np.array([0, *order], dtype=np.uint8)
    options = FieldOptions(matching={**rule, "assignment": assignment}, bootstrap=OPTIONS.bootstrap)
    one = score_case(prediction, reference, grid, options)
    other = score_case(table[prediction], table[reference], grid, options)
    assert (one.dice, one.panoptic.true) == (other.dice, other.panoptic.true)
    if assignment == "many_to_many":  # else equally good pairs may be told apart by their numbers
        assert (one.found, one.false) == (other.found, other.false)
        by_volume = [
            sorted((lesion.volume_mm3, lesion.dice, lesion.diameter_mm) for lesion in c.lesions) for c in (one, other)
        ]
        assert by_volume[0] == by_volume[1]


@given(sides(5), st.tuples(*[st.integers(0, 3)] * 6))
def test_empty_space_around_changes_nothing(given_sides, widths):
    prediction, reference, grid = given_sides
    pad = (widths[:2], widths[2:4], widths[4:])
    larger = grid.crop([-before for before, _ in pad], tuple(n + sum(w) for n, w in zip(grid.shape, pad)))
    one = score_case(prediction, reference, grid, OPTIONS)
    other = score_case(np.pad(prediction, pad), np.pad(reference, pad), larger, OPTIONS)
    assert same(one, other)


def same(one, other):
    """Equal to within rounding, part by part."""
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == pytest.approx(other) if isinstance(one, float) else one == other


@given(masks(5), st.floats(0.25, 4))
def test_millimetres_scale(given_masks, factor):
    prediction, reference, grid = given_masks
    affine = grid.affine.copy()
    affine[:3, :3] *= factor
    tolerances = FieldOptions(nsd_tolerances_mm=tuple(factor * t for t in (0.5, 1, 2)), bootstrap=OPTIONS.bootstrap)
    one = score_case(prediction, reference, grid, OPTIONS)
    other = score_case(prediction, reference, Grid(grid.shape, affine), tolerances)
    for a, b in zip(one.lesions, other.lesions):
        assert b.volume_mm3 == pytest.approx(factor**3 * a.volume_mm3)
        assert b.diameter_mm == pytest.approx(factor * a.diameter_mm)
        assert b.dice == a.dice
        if a.hd95_mm is not None:
            assert b.hd95_mm == pytest.approx(factor * a.hd95_mm, rel=1e-6, abs=1e-9)


@given(masks(), st.lists(st.floats(0.1, 8), min_size=2, max_size=5, unique_by=lambda t: f"{t:g}"))
def test_surface_dice_grows_with_tolerance(given_masks, tolerances):
    prediction, reference, grid = given_masks
    options = FieldOptions(nsd_tolerances_mm=tuple(sorted(tolerances)), bootstrap=OPTIONS.bootstrap)
    for lesion in score_case(prediction, reference, grid, options).lesions:
        for family in (lesion.nsd_border, lesion.nsd_element):
            assert (np.diff(list(family.values())) >= -1e-12).all()


@given(sides(), st.sampled_from(["dice", "iou"]), assignments, st.lists(st.floats(0.01, 1), min_size=2, max_size=2))
def test_a_stricter_threshold_finds_no_more(given_sides, rule, assignment, thresholds):
    prediction, reference, _ = given_sides
    low, high = (
        match(prediction, reference, MatchingOptions(rule=rule, threshold=t, assignment=assignment))
        for t in sorted(thresholds)
    )
    assert len(set(high.reference.tolist())) <= len(set(low.reference.tolist()))
    assert len(set(high.prediction.tolist())) <= len(set(low.prediction.tolist()))


@given(st.lists(st.tuples(st.sampled_from("abc"), sides(5), st.booleans()), max_size=5), assignments)
def test_summaries_hold_no_nan_and_intervals_are_in_order(cases, assignment):
    options = FieldOptions(matching={"assignment": assignment}, bootstrap=OPTIONS.bootstrap)
    scored = []
    for patient, (prediction, reference, grid), given_too in cases:
        probability = (prediction / 4).astype(np.float32) if given_too else None
        scored.append((patient, score_case(prediction, reference, grid, options, probability)))
    found = summarise(scored, options)
    for name, number in found.numbers.items():
        parts = (number.value, number.low, number.high, number.sd)
        assert all(part is None or np.isfinite(part) for part in parts), name
        assert (number.value is None) <= bool(number.reason), name
        assert number.low is None or number.low <= number.high, name
    assert (
        found.counts["lesions"] == sum(b.lesions for b in found.by_diameter) == sum(b.lesions for b in found.by_volume)
    )
    assert found.counts["false"] == sum(b.false for b in found.by_volume)
