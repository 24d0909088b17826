"""BraTS-METS 2023, 2024 and 2025 on every golden case, number for number."""

import numpy as np
import pytest

from metseg.evaluate import brats2023, brats2024, brats2025
from metseg.evaluate.leaderboard import leaderboard_row
from same_numbers import differences

THRESHOLDS = {"vol27_overlap0.2": (27.0, 0.2), "vol20_overlap0.1": (20.0, 0.1)}
PARSERS = ("pypi_0.0.8", "pypi_0.0.10", "git_791134c")


@pytest.fixture(scope="module")
def rows(golden_cases):
    """The leaderboard's rows of all cases, by parser and thresholds."""
    raw = [brats2025.score(case.prepared).raw for case in golden_cases]
    return {
        (parser, name): [leaderboard_row(scores, parser, *limits) for scores in raw]
        for parser in PARSERS
        for name, limits in THRESHOLDS.items()
    }


def test_brats2023(golden_cases):
    for case in golden_cases:
        scores = brats2023.score(case.prepared)
        mine = {"regions": scores.regions, "lesions": scores.lesions}
        assert differences(mine, case.scores["brats2023"]) == [], case.name


def test_brats2024(golden_cases):
    for case in golden_cases:
        scores = brats2024.score(case.prepared)
        mine = {"regions": scores.regions, "lesions": scores.lesions, "legacy": scores.legacy}
        assert differences(mine, case.scores["brats2024"]) == [], case.name


def test_lesions_are_numbered_as_the_scripts_number_them(golden_cases):
    for case in golden_cases:
        for profile, scores in (("brats2023", brats2023), ("brats2024", brats2024)):
            mine, official = scores.score(case.prepared).lesions, case.scores[profile]["lesions"]
            for region, lesions in official.items():
                numbers = {one["gt_lesion_numbers"]: sorted(one["predicted_lesion_numbers"]) for one in lesions}
                ours = {one["gt_lesion_numbers"]: one["predicted_lesion_numbers"] for one in mine[region]}
                assert ours == numbers, (case.name, profile, region)


def test_brats2025_regions(golden_cases):
    for case in golden_cases:
        raw = brats2025.score(case.prepared).raw
        assert differences(raw, case.scores["brats2025"]["panoptica_raw"]) == [], case.name


def test_brats2025_regions_with_the_right_spacing(golden_cases):
    cases = [case for case in golden_cases if "panoptica_raw_xyz_spacing" in case.scores["brats2025"]]
    assert cases
    for case in cases:
        raw = brats2025.score(case.prepared, file_quirk=False).raw
        assert differences(raw, case.scores["brats2025"]["panoptica_raw_xyz_spacing"]) == [], case.name


@pytest.mark.parametrize("thresholds", THRESHOLDS)
@pytest.mark.parametrize("parser", PARSERS)
def test_brats2025_rows(golden_cases, rows, parser, thresholds):
    for case, row in zip(golden_cases, rows[parser, thresholds]):
        official = case.scores["brats2025"]["leaderboard_row"][parser][thresholds]
        assert differences(row, official) == [], case.name
        assert list(row) == list(official)


@pytest.mark.parametrize("thresholds", THRESHOLDS)
@pytest.mark.parametrize("parser", PARSERS)
def test_brats2025_below_the_table(golden, rows, parser, thresholds):
    official = golden["aggregate_brats2025"]
    missing = brats2025.missing_row(parser)
    for name, more in (("without_missing", []), ("with_one_missing_prediction", [missing])):
        mine = brats2025.aggregate([*rows[parser, thresholds], *more], parser)
        theirs = {row: of[parser][thresholds] for row, of in official[name].items() if parser in of}
        theirs.pop("case99_missing_prediction", None)
        assert differences(mine, theirs) == []
    filled = official["with_one_missing_prediction"]["case99_missing_prediction"][parser][thresholds]
    assert differences(missing, filled) == []


def test_the_leaderboard_is_the_default(golden_cases):
    for case in golden_cases:
        row = brats2025.score(case.prepared).row
        official = case.scores["brats2025"]["leaderboard_row"]["pypi_0.0.8"]["vol27_overlap0.2"]
        assert differences(row, official) == [], case.name


def test_arrays_in_any_memory_order_score_the_same(golden_cases):
    case = next(case for case in golden_cases if case.prediction.size < 1e6 and len(case.scores["labels_ref"]) > 1)
    sides = case.prediction, case.reference
    for order in "CF":
        arrays = [np.array(side, order=order) for side in sides]
        assert brats2024.score_case(*arrays, case.spacing_mm) == brats2024.score(case.prepared)
        assert brats2023.score_case(*arrays, case.spacing_mm) == brats2023.score(case.prepared)
        ours = brats2025.score_case(*arrays, case.spacing_mm)
        assert differences(ours.raw, brats2025.score(case.prepared).raw) == []
