"""Pairs of files that do not fit: each is refused by name, and judged as soon as it fits."""

import numpy as np
import pytest

from judge_cases import CASE_DICE, GRID, guess, truth, write
from metseg.config.evaluation import JudgeOptions
from metseg.core.grid import Grid
from metseg.io.pairs import CasePair
from metseg.pipeline.judge_case import FailedCase, judge_pair

OPTIONS = JudgeOptions(profiles=("field",))


@pytest.fixture
def judge(tmp_path):
    """Judges arrays as files: (prediction, its grid), (reference, its grid)."""

    def judge(prediction, reference, options=OPTIONS, probability=None):
        files = {"pred": prediction, "ref": reference, "prob": probability}
        paths = {name: write(tmp_path / f"a_{name}.nii.gz", *of) for name, of in files.items() if of is not None}
        return judge_pair(CasePair("a", "a", paths.get("pred"), paths["ref"], paths.get("prob")), options)

    return judge


def moved(millimetres) -> Grid:
    return Grid.isotropic(GRID.shape, origin_mm=(millimetres, 0, 0))


def test_grids_may_differ_by_a_micrometre(judge):
    assert judge((guess(), moved(0.0009)), (truth(), GRID)).judgement.field.dice == CASE_DICE


@pytest.mark.parametrize(
    "grid",
    [
        moved(0.0011),
        Grid.isotropic(GRID.shape, spacing_mm=1.0002),
        Grid(GRID.shape, np.diag([-1.0, 1, 1, 1])),
    ],
)
def test_other_grids_are_refused_naming_both(judge, grid):
    found = judge((guess(), grid), (truth(), GRID))
    assert isinstance(found, FailedCase)
    assert str(GRID) in found.message
    assert str(grid) in found.message
    assert "mm apart" in found.message
    assert "--resample-reference" in found.hint


def test_other_shapes_are_refused(judge):
    grid = GRID.crop((0, 0, 0), (19, 18, 16))
    found = judge((guess()[:19], grid), (truth(), GRID))
    assert "19×18×16" in found.message
    assert "20×18×16" in found.message


def test_a_flipped_reference_is_brought_back_exactly(judge):
    affine = GRID.affine.copy()
    affine[0, 0], affine[0, 3] = -1, GRID.shape[0] - 1
    turned = truth()[::-1], Grid(GRID.shape, affine)
    options = JudgeOptions(profiles=("field",), resample_reference=True)
    found = judge((guess(), GRID), turned, options)
    assert found.judgement.field.dice == CASE_DICE
    assert found.facts["reference_resampled"] is True
    assert "was brought to the grid of the prediction" in found.notes[0]


def test_a_finer_reference_takes_the_nearest_voxels(judge):
    finer = Grid.isotropic((40, 36, 32), spacing_mm=0.5, origin_mm=(-0.25,) * 3)
    reference = truth().repeat(2, 0).repeat(2, 1).repeat(2, 2)
    options = JudgeOptions(profiles=("field",), resample_reference=True)
    assert judge((guess(), GRID), (reference, finer), options).judgement.field.dice == CASE_DICE


def test_what_lies_outside_the_reference_is_background(judge):
    cropped = truth()[:, :, 2:], GRID.crop((0, 0, 2), (20, 18, 14))
    options = JudgeOptions(profiles=("field",), resample_reference=True)
    assert judge((guess(), GRID), cropped, options).judgement.field.dice == CASE_DICE


@pytest.mark.parametrize(("labels", "value"), [("brats", 5), ("binary", 2)])
def test_unknown_values_are_named(judge, labels, value):
    options = JudgeOptions(profiles=("field",), labels=labels)
    wrong = truth()
    wrong[0, 0, 0] = value
    found = judge((guess(), GRID), (wrong, GRID), options)
    assert isinstance(found, FailedCase)
    assert found.message.endswith(f": {value}." if labels == "brats" else f"values {value}.")
    assert "reference" in found.message
    assert "prediction" in judge((wrong, GRID), (truth(), GRID), options).message


def test_any_value_can_be_lesion(judge):
    for labels in ("any", "instances"):
        options = JudgeOptions(labels=labels)
        found = judge((guess(255), GRID), (truth(7), GRID), options)
        assert found.judgement.seed.status == "reference_empty"  # below 100 mm³, both lesions go
        assert list(found.judgement.blocks["brats2023"]) == ["lesion"]
        assert found.judgement.field.dice == CASE_DICE
    # One number is one lesion, in however many pieces.
    assert len(found.judgement.field.lesions) == 1


def test_instances_that_touch_are_kept_apart(judge):
    numbered = truth()
    numbered[7:11, 3:7, 3:7] = 2
    numbered[12:14, 12:14, 10:12] = 3
    for labels, lesions in (("instances", 3), ("any", 2)):
        found = judge((numbered, GRID), (numbered, GRID), JudgeOptions(profiles=("field",), labels=labels))
        assert len(found.judgement.field.lesions) == lesions


def test_empty_maps_are_judged(judge):
    nothing = np.zeros(GRID.shape, np.uint8)
    found = judge((nothing, GRID), (nothing, GRID), JudgeOptions())
    assert found.judgement.field.status == "both_empty"
    assert found.judgement.blocks["brats2023"]["WT"]["LesionWise_Score_Dice"] == 1
    assert judge((nothing, GRID), (truth(), GRID)).judgement.field.sensitivity == 0


@pytest.mark.parametrize(
    ("array", "finding"),
    [
        (np.full(GRID.shape, 0.5, np.float32), "holds 0.5, which is no whole number"),
        (np.full(GRID.shape, -1, np.float32), "holds values from -1 to -1"),
        (np.full(GRID.shape, 2.0**25, np.float32), "labels are whole numbers"),
        (np.full(GRID.shape, np.nan, np.float32), "NaN or infinite"),
    ],
)
def test_what_is_no_label_map_is_refused(judge, array, finding):
    assert finding in judge((array, GRID), (truth(), GRID)).message


def test_probabilities_must_fit_and_be_such(judge):
    chances = guess().astype(np.float32) * 0.75
    found = judge((guess(), GRID), (truth(), GRID), probability=(chances, GRID))
    assert [one.confidence for one in found.judgement.field.components] == [0.75, 0.75]
    assert "no probabilities" in judge((guess(), GRID), (truth(), GRID), probability=(chances * 2, GRID)).message
    message = judge((guess(), GRID), (truth(), GRID), probability=(chances, moved(1))).message
    assert "Prediction and probability lie on different grids" in message
