"""Profile field, case by case and summed up, on boxes counted by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from metseg.core.errors import ConfigError, InputError
from metseg.core.grid import Grid
from metseg.evaluate.bootstrap import BootstrapOptions, Estimate
from metseg.evaluate.field import FieldOptions, score_case, summarise
from metseg.evaluate.surface import border_nsd, element_nsd, hd95

QUICK = BootstrapOptions(resamples=100)
SHAPE, SPACING_MM = (24, 20, 14), (1.0, 1.5, 2.0)  # 3 mm³ a voxel
OPTIONS = FieldOptions(bootstrap=QUICK)

LARGE = np.s_[2:10, 2:8, 2:6]  # 192 voxels, 576 mm³
SHIFTED = np.s_[3:11, 2:8, 2:6]  # shares 168 voxels with LARGE
MIDDLE = np.s_[14:17, 12:14, 8:10]  # 12 voxels, 36 mm³
PIECE = np.s_[14, 12:14, 8:10]  # 4 voxels of MIDDLE
TINY = np.s_[23, 19, 13]  # the last voxel, 3 mm³
AWAY = np.s_[18:20, 2, 2]  # 2 voxels in nobody's lesion


def mask(*boxes):
    array = np.zeros(SHAPE, dtype=bool)
    for box in boxes:
        array[box] = True
    return array


def score(prediction, reference, probability=None, **options):
    return score_case(prediction, reference, SPACING_MM, FieldOptions(bootstrap=QUICK, **options), probability)


def numbers_of(node):
    """All floats in nested dataclasses, dicts and tuples."""
    if dataclasses.is_dataclass(node):
        node = dataclasses.asdict(node)
    if isinstance(node, dict):
        node = tuple(node.values())
    if isinstance(node, tuple | list):
        return [number for part in node for number in numbers_of(part)]
    return [node] if isinstance(node, float) else []


def finite(node):
    return all(math.isfinite(number) for number in numbers_of(node))


def test_a_case_counted_by_hand():
    case = score(mask(SHIFTED, PIECE, AWAY), mask(LARGE, MIDDLE, TINY))
    large, middle, tiny = case.lesions
    assert [lesion.found for lesion in case.lesions] == [True, True, False]
    assert [lesion.matched for lesion in case.lesions] == [(1,), (2,), ()]
    assert [lesion.volume_mm3 for lesion in case.lesions] == pytest.approx([576, 36, 3])
    assert large.dice == pytest.approx(168 / 192)
    assert middle.dice == pytest.approx(2 * 4 / 16)
    assert middle.volume_error_mm3 == pytest.approx(-24)
    assert middle.matched_volume_mm3 == pytest.approx(12)
    assert large.diameter_mm == pytest.approx(math.hypot(8, 9))
    assert tiny.diameter_mm == pytest.approx(math.hypot(1, 1.5))
    assert [component.false for component in case.components] == [False, False, True]
    assert [component.matched for component in case.components] == [(1,), (2,), ()]
    assert (case.sensitivity, case.ppv, case.false, case.found) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 1, 2)
    assert case.f1 == pytest.approx(2 / 3)
    assert case.dice == pytest.approx(2 * (168 + 4) / (192 + 12 + 1 + 192 + 4 + 2))
    assert (case.reference_volume_mm3, case.prediction_volume_mm3) == pytest.approx((615, 594))
    # Only the large lesion reaches an IoU above 0.5: 168 / 216.
    assert dataclasses.astuple(case.panoptic) == (1, 2, 2, pytest.approx(168 / 216))
    assert (case.status, case.reliability) == ("both_present", None)
    assert {one.confidence for one in (*case.lesions, *case.components)} == {None}


def test_surfaces_are_those_of_the_whole_volume():
    prediction, reference = mask(SHIFTED, PIECE), mask(LARGE, MIDDLE)
    case = score(prediction, reference)
    for lesion, boxes in zip(case.lesions, ((SHIFTED, LARGE), (PIECE, MIDDLE))):
        one, other = map(mask, boxes)
        assert lesion.hd95_mm == pytest.approx(hd95(one, other, SPACING_MM))
        assert set(lesion.nsd_border) == set(lesion.nsd_element) == {"0.5", "1", "2"}
        for key, tolerance in (("0.5", 0.5), ("1", 1.0), ("2", 2.0)):
            assert lesion.nsd_border[key] == pytest.approx(border_nsd(one, other, SPACING_MM, tolerance))
            assert lesion.nsd_element[key] == pytest.approx(element_nsd(one, other, SPACING_MM, tolerance))


def test_a_missed_lesion_scores_zero_and_has_no_distance():
    (lesion,) = score(mask(AWAY), mask(LARGE)).lesions
    assert (lesion.found, lesion.dice, lesion.hd95_mm, lesion.confidence) == (False, 0, None, None)
    assert set(lesion.nsd_border.values()) == set(lesion.nsd_element.values()) == {0.0}
    assert (lesion.matched_volume_mm3, lesion.volume_error_mm3) == (0, pytest.approx(-576))


@pytest.mark.parametrize(
    ("prediction", "reference", "status", "sensitivity", "ppv", "f1", "dice", "false"),
    [
        (mask(), mask(), "both_empty", None, None, 1.0, 1.0, 0),
        (mask(LARGE, AWAY), mask(), "reference_empty", None, 0.0, 0.0, 0.0, 2),
        (mask(), mask(LARGE), "prediction_empty", 0.0, None, 0.0, 0.0, 0),
        (mask(AWAY), mask(LARGE), "both_present", 0.0, 0.0, 0.0, 0.0, 1),
    ],
)
def test_empty_sides(prediction, reference, status, sensitivity, ppv, f1, dice, false):
    case = score(prediction, reference)
    assert (case.status, case.sensitivity, case.ppv, case.f1, case.dice, case.false) == (
        status, sensitivity, ppv, f1, dice, false
    )  # fmt: skip
    strict = score(prediction, reference, both_empty="leave_out")
    assert (strict.dice, strict.f1) == ((None, None) if status == "both_empty" else (dice, f1))


def test_a_single_voxel():
    (same,) = score(mask(TINY), mask(TINY)).lesions
    assert (same.dice, same.hd95_mm, same.volume_mm3) == (1, 0, pytest.approx(3))
    assert set(same.nsd_border.values()) | set(same.nsd_element.values()) == {1.0}
    beside = np.s_[22, 19, 13]
    assert not score(mask(beside), mask(TINY)).lesions[0].found
    two = score(mask(beside, TINY), mask(TINY)).lesions[0]
    assert two.dice == pytest.approx(2 / 3)


def test_touching_lesions_are_one_in_a_mask_and_two_in_an_instance_map():
    left, right = np.s_[2:5, 3:6, 3:6], np.s_[5:9, 3:6, 3:6]
    instances = mask(left).astype(np.uint8) * 7 + mask(right).astype(np.uint8) * 4
    assert len(score(mask(left), mask(left, right)).lesions) == 1
    case = score(mask(left), instances)
    assert [(lesion.id, lesion.found, lesion.dice) for lesion in case.lesions] == [(4, False, 0.0), (7, True, 1.0)]
    bridge = score(mask(left, right), instances)
    assert [(lesion.found, lesion.matched) for lesion in bridge.lesions] == [(True, (1,))] * 2
    assert bridge.components[0].matched == (4, 7)
    strict = score(mask(left, right), instances, matching={"assignment": "one_to_one"})
    assert [(lesion.id, lesion.found) for lesion in strict.lesions] == [(4, True), (7, False)]


def test_pieces_of_a_lesion_count_together_or_as_false():
    pieces, whole = mask(np.s_[14, 12:14, 8:10], np.s_[16, 12:14, 8:10]), mask(MIDDLE)
    together = score(pieces, whole)
    assert together.lesions[0].matched == (1, 2)
    assert together.lesions[0].dice == pytest.approx(2 * 8 / 20)
    assert (together.false, together.ppv) == (0, 1)
    single = score(pieces, whole, matching={"assignment": "one_to_one"})
    assert single.lesions[0].dice == pytest.approx(2 * 4 / 16)
    assert (single.false, single.ppv, single.f1) == (1, 0.5, pytest.approx(2 / 3))


def test_edges_of_the_volume_are_surface():
    inside, at_edge = np.s_[10:13, 10:13, 6:9], np.s_[0:3, 0:3, 0:3]
    smaller = {"inside": np.s_[11:13, 10:13, 6:9], "edge": np.s_[1:3, 0:3, 0:3]}
    (one,) = score(mask(smaller["inside"]), mask(inside)).lesions
    (other,) = score(mask(smaller["edge"]), mask(at_edge)).lesions
    assert dataclasses.replace(other, id=one.id) == one


def test_the_grid_says_which_axis_is_axial(oblique_grid):
    reference = np.zeros(oblique_grid.shape, dtype=bool)
    reference[3:9, 4:6, 2:5] = True
    (on_grid,) = score_case(reference, reference, oblique_grid, OPTIONS).lesions
    # Its second axis is the axial one; the mask's slices across it measure 6×0.7 by 3×2.9 mm.
    assert on_grid.diameter_mm == pytest.approx(math.hypot(4.2, 8.7))
    (by_spacing,) = score_case(reference, reference, oblique_grid.spacing_mm, OPTIONS).lesions
    assert by_spacing.diameter_mm == pytest.approx(math.hypot(4.2, 2.2))


def probabilities():
    values = np.zeros(SHAPE, dtype=np.float32)
    values[SHIFTED], values[PIECE], values[AWAY] = 0.6, 0.5, 0.55
    values[5, 5, 4], values[18, 2, 2] = 0.95, 0.75
    return values


def test_confidences_and_calibration():
    case = score(mask(SHIFTED, PIECE, AWAY), mask(LARGE, MIDDLE, TINY), probabilities())
    assert [lesion.confidence for lesion in case.lesions] == [pytest.approx(0.95), 0.5, None]
    assert [component.confidence for component in case.components] == pytest.approx([0.95, 0.5, 0.75])
    # 192 + 4 + 2 voxels lie above the floor: the others are left out.
    assert sum(case.reliability.counts) == 198
    assert sum(case.reliability.positives) == 168 + 4
    everywhere = score(mask(SHIFTED), mask(LARGE), probabilities(), calibration_floor=0.0)
    assert sum(everywhere.reliability.counts) == math.prod(SHAPE)
    mean = score(mask(AWAY), mask(), probabilities(), confidence="mean").components[0].confidence
    assert mean == pytest.approx(0.65)
    high = score(mask(AWAY), mask(), probabilities(), confidence="percentile_95").components[0].confidence
    assert high == pytest.approx(np.percentile([0.55, 0.75], 95))


@pytest.fixture
def cohort():
    """Four cases of three patients; the third has no lesion."""
    pairs = [
        ("a", mask(SHIFTED, AWAY), mask(LARGE, MIDDLE, TINY)),
        ("a", mask(MIDDLE), mask(MIDDLE)),
        ("b", mask(LARGE, TINY), mask(LARGE)),
        ("c", mask(AWAY), mask()),
    ]
    return [(patient, score(*masks, probabilities())) for patient, *masks in pairs]


def test_a_summary_counted_by_hand(cohort):
    found = summarise(cohort, OPTIONS)
    assert found.counts == {
        "patients": 3, "lesion_free_patients": 1, "cases": 4, "cases_both_present": 3, "cases_reference_empty": 1,
        "cases_prediction_empty": 0, "cases_both_empty": 0, "lesions": 5, "found": 3, "components": 6, "false": 3,
    }  # fmt: skip
    value = {name: number.value for name, number in found.numbers.items()}
    assert value["sensitivity_per_lesion"] == pytest.approx(3 / 5)
    assert value["sensitivity_per_patient"] == pytest.approx((2 / 4 + 1) / 2)
    assert found.numbers["sensitivity_per_patient"].sd == pytest.approx(np.std([0.5, 1], ddof=1))
    assert (value["patients_any_found"], value["patients_all_found"]) == (1, 0.5)
    assert value["ppv"] == pytest.approx(3 / 6)
    assert value["f1"] == pytest.approx(2 * 0.6 * 0.5 / 1.1)
    assert (value["fp_per_patient"], value["fp_per_case"]) == (pytest.approx(1), pytest.approx(3 / 4))
    assert (value["fp_per_lesion_free_patient"], value["specificity_per_patient"]) == (1, 0)
    assert value["found_lesion_dice_mean"] == pytest.approx((168 / 192 + 1 + 1) / 3)
    assert value["lesion_dice_mean"] == pytest.approx((168 / 192 + 2) / 5)
    assert (value["found_lesion_dice_median"], value["lesion_dice_median"]) == (1, pytest.approx(168 / 192))
    assert value["lesion_nsd_border_2mm_median"] == 1
    assert found.numbers["found_lesion_hd95_mm_mean"].n == 3
    assert "lesion_hd95_mm_mean" not in value
    assert value["lesion_volume_error_percent_mean"] == pytest.approx(-40)
    assert value["case_dice_mean"] == pytest.approx(np.mean([case.dice for _, case in cohort]))
    assert (value["rq"], value["sq"]) == (pytest.approx(3 / (3 + 1.5 + 1)), pytest.approx((168 / 216 + 2) / 3))
    assert value["pq"] == pytest.approx(value["rq"] * value["sq"])
    for number in found.numbers.values():
        if number.low is not None:
            assert number.low <= number.high


def test_bins(cohort):
    found = summarise(cohort, OPTIONS)
    assert [b.label for b in found.by_diameter] == ["<3", "3–5", "5–10", "≥10"]
    assert [b.label for b in found.by_volume] == ["<27", "27–100", "≥100"]
    # Diameters: √(8² + 9²) = 12.04, √(3² + 3²) = 4.24, √(1² + 1.5²) = 1.80.
    assert [(b.lesions, b.found) for b in found.by_diameter] == [(1, 0), (2, 1), (0, 0), (2, 2)]
    assert [(b.lesions, b.found, b.components, b.false) for b in found.by_volume] == [
        (1, 0, 3, 3), (2, 1, 1, 0), (2, 2, 2, 0)
    ]  # fmt: skip
    empty = found.by_diameter[2]
    assert (empty.sensitivity.value, empty.sensitivity.reason) == (None, "no_lesion_of_this_size")
    assert (empty.components, empty.ppv) == (None, None)
    assert found.by_diameter[0].found_dice_mean.reason == "no_found_lesion"
    assert found.by_volume[1].sensitivity.value == 0.5
    assert found.by_volume[1].dice_mean.value == 0.5
    assert found.by_volume[0].ppv.value == 0


@pytest.mark.parametrize(("edge", "expected"), [(36.0, [0, 1]), (36.1, [1, 0])])
def test_an_edge_belongs_to_the_upper_bin(edge, expected):
    options = FieldOptions(volume_edges_mm3=(edge,), bootstrap=QUICK)
    found = summarise([("a", score(mask(), mask(MIDDLE)))], options)
    assert [b.lesions for b in found.by_volume] == expected


def test_volumes_agree_over_found_lesions_and_over_cases(cohort):
    found = summarise([*cohort, ("d", score(mask(), mask(), probabilities()))], OPTIONS)
    assert found.lesion_volume.pairs == 3
    assert found.lesion_volume.bias.value == pytest.approx(0)
    assert found.case_volume.pairs == 4  # the case without anything is left out
    assert found.case_volume.bias.value == pytest.approx((576 + 6 - 615 + 0 + 3 + 6) / 4)


def test_froc_and_calibration_need_probabilities_everywhere(cohort):
    found = summarise(cohort, OPTIONS)
    assert found.probabilities == "all"
    # Found lesions have confidence 0.95, 0.5 and 0.95, false components 0.75, 0 (TINY) and 0.75.
    assert found.froc.thresholds == pytest.approx((0.95, 0.75, 0.5, 0))
    assert found.froc.rates == pytest.approx((0, 2 / 3, 2 / 3, 1))
    assert found.froc.sensitivities == pytest.approx((0.4, 0.4, 0.6, 0.6))
    assert [point.sensitivity.value for point in found.froc.points] == pytest.approx([0.4, 0.6, 0.6, 0.6, 0.6])
    assert found.component_calibration.ece.n == 6
    assert found.voxel_calibration.ece.n == 4 * 198
    some = summarise([*cohort, ("d", score(mask(), mask()))], OPTIONS)
    assert (some.probabilities, some.froc, some.voxel_calibration, some.component_calibration) == (
        "some", None, None, None
    )  # fmt: skip
    assert summarise([("d", score(mask(), mask()))], OPTIONS).probabilities == "none"
    per_case = FieldOptions(bootstrap=QUICK, froc={"per": "case"})
    assert summarise(cohort, per_case).froc.rates == pytest.approx((0, 0.5, 0.5, 0.75))


@pytest.mark.parametrize(
    "sides",
    [
        [],
        [(mask(), mask())],
        [(mask(LARGE), mask())],
        [(mask(), mask(LARGE))],
        [(mask(), mask()), (mask(TINY), mask())],
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_there_is_no_nan_in_any_summary(sides, given):
    cases = [(f"p{i}", score(*masks, probabilities() if given else None)) for i, masks in enumerate(sides)]
    found = summarise(cases, OPTIONS)
    assert finite(found)
    assert finite([case for _, case in cases])
    json.dumps(dataclasses.asdict(found), allow_nan=False)
    estimates = list(found.numbers.values())
    assert all(number.value is not None or number.reason for number in estimates)


def test_the_order_of_cases_changes_nothing_but_rounding(cohort):
    one, other = summarise(cohort, OPTIONS), summarise(cohort[::-1], OPTIONS)
    assert numbers_of(one) == pytest.approx(numbers_of(other))


def test_one_patient_has_no_interval():
    found = summarise([("a", score(mask(LARGE), mask(LARGE, MIDDLE)))], OPTIONS)
    assert found.numbers["sensitivity_per_lesion"] == Estimate(0.5, n=2, reason="one_patient")


def test_what_cannot_be_judged_is_refused(any_types):
    with pytest.raises(InputError, match="probability 2×2×2"):
        score(mask(), mask(), np.zeros((2, 2, 2), dtype=np.float32))
    with pytest.raises(InputError, match="prediction must be a mask"):
        score(mask().astype(np.float32), mask())
    with pytest.raises(InputError, match="reference must be a mask"):
        score(mask(), mask().astype(np.int16))
    with pytest.raises(InputError, match="between 0 and 1"):
        score(mask(), mask(), np.full(SHAPE, np.nan, dtype=np.float32))
    with pytest.raises(InputError, match="fit a grid"):
        score_case(mask(), mask(), Grid.isotropic((4, 5, 6)), OPTIONS)
    cases = [("a", score(mask(LARGE), mask(LARGE)))]
    with pytest.raises(ConfigError, match="other surface tolerances"):
        summarise(cases, FieldOptions(nsd_tolerances_mm=(3.0,)))
    with pytest.raises(ValidationError, match="diameter_edges_mm must increase"):
        FieldOptions(diameter_edges_mm=(5.0, 3.0))
