"""Profile seed: the volume rule on either side, and empty sides."""

import numpy as np
import pytest

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.evaluate.bootstrap import BootstrapOptions
from metseg.evaluate.seed import SeedOptions, score_case, summarise

SPACING_MM = (1.0, 2.0, 2.5)  # 5 mm³ a voxel
QUICK = BootstrapOptions(resamples=200)


def mask(*boxes):
    array = np.zeros((15, 12, 9), dtype=bool)
    for box in boxes:
        array[box] = True
    return array


LARGE = np.s_[0:4, 0:3, 0:2]  # 24 voxels, 120 mm³
SMALL = np.s_[8:10, 8:10, 4:8]  # 16 voxels, 80 mm³
SHIFTED = np.s_[2:6, 0:3, 0:2]  # shares 12 voxels with LARGE


def score(prediction, reference, **options):
    return score_case(prediction, reference, SPACING_MM, SeedOptions(**options))


@pytest.mark.parametrize(
    ("side", "dice", "dropped"),
    [
        ("reference", 2 * 12 / (24 + 40), (1, 0)),
        ("prediction", 2 * 12 / (40 + 24), (0, 1)),
        ("both", 2 * 12 / 48, (1, 1)),
    ],
)
def test_the_volume_rule_names_its_side(side, dice, dropped):
    found = score(mask(SHIFTED, SMALL), mask(LARGE, SMALL), min_volume_on=side)
    assert found.dice == pytest.approx(dice)
    assert (found.dropped_reference, found.dropped_prediction) == dropped
    volumes = {"reference": (120, 200), "prediction": (200, 120), "both": (120, 120)}[side]
    assert (found.reference_volume_mm3, found.prediction_volume_mm3) == pytest.approx(volumes)
    assert found.status == "both_present"


def test_a_lesion_of_just_the_volume_stays():
    assert score(mask(SMALL), mask(SMALL), min_volume_mm3=80).dice == 1
    assert score(mask(SMALL), mask(SMALL), min_volume_mm3=80.1).status == "reference_empty"
    kept = score(mask(SMALL), mask(SMALL), min_volume_mm3=0)
    assert (kept.dice, kept.dropped_reference, kept.dropped_prediction) == (1, 0, 0)
    assert kept.reference_volume_mm3 == pytest.approx(80)


@pytest.mark.parametrize(
    ("prediction", "reference", "dice", "status"),
    [
        (mask(LARGE), mask(), 0, "reference_empty"),
        (mask(), mask(LARGE), 0, "prediction_empty"),
        (mask(), mask(), 1, "both_empty"),
        (mask(), mask(SMALL), 1, "both_empty"),  # after the volume rule
    ],
)
def test_empty_sides(prediction, reference, dice, status):
    found = score(prediction, reference)
    assert (found.dice, found.status) == (dice, status)
    strict = score(prediction, reference, both_empty="leave_out")
    assert strict.dice == (None if status == "both_empty" else 0)


def test_summary():
    options = SeedOptions(bootstrap=QUICK)
    cases = [
        ("b", score(mask(LARGE), mask(LARGE))),
        ("a", score(mask(SHIFTED), mask(LARGE))),
        ("a", score(mask(), mask(LARGE))),
        ("c", score(mask(), mask(), both_empty="leave_out")),
    ]
    found = summarise(cases, options)
    assert (found.mean.value, found.median.value) == (0.5, 0.5)
    assert found.mean.sd == pytest.approx(0.5)
    assert (found.mean.n, found.cases, found.patients) == (3, 4, 3)
    assert found.statuses == {"both_empty": 1, "both_present": 2, "prediction_empty": 1}
    assert (found.mean.low, found.mean.high) == (pytest.approx(0.25), 1)
    assert summarise(cases[::-1], options) == found


def test_nothing_to_sum_up():
    assert summarise([], SeedOptions()).mean.reason == "no_scored_case"
    left_out = [("a", score(mask(), mask(), both_empty="leave_out"))]
    found = summarise(left_out, SeedOptions())
    assert (found.mean.value, found.median.value, found.mean.reason, found.cases) == (None, None, "no_scored_case", 1)


def test_a_grid_counts_as_a_spacing(oblique_grid):
    reference = np.zeros(oblique_grid.shape, dtype=bool)
    reference[2:9, 3:8, 1:5] = True
    prediction = np.roll(reference, 1, axis=0)
    on_grid = score_case(prediction, reference, oblique_grid, SeedOptions())
    with_spacing = score_case(prediction, reference, oblique_grid.spacing_mm, SeedOptions())
    assert on_grid.reference_volume_mm3 == pytest.approx(with_spacing.reference_volume_mm3)
    assert on_grid.dice == with_spacing.dice == pytest.approx(6 / 7)


def test_what_cannot_be_scored_is_refused(any_types):
    with pytest.raises(InputError, match="prediction 15×12×9, reference 4×4×4"):
        score(mask(), np.zeros((4, 4, 4), dtype=bool))
    with pytest.raises(InputError, match="needs masks"):
        score(mask().astype(np.uint8), mask())
    with pytest.raises(InputError, match="do not fit a grid"):
        score_case(mask(), mask(), Grid.isotropic((3, 3, 3)), SeedOptions())
    with pytest.raises(InputError, match="must be positive"):
        score_case(mask(), mask(), (1.0, -1.0, 1.0), SeedOptions())
