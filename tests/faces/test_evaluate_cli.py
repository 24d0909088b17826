"""``metseg evaluate``: what it prints and writes, and what it says about what does not fit."""

import csv
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from typer.testing import CliRunner

from judge_cases import CASE_DICE, GRID, guess, truth, write, write_pairs
from metseg.cli.main import app
from metseg.core.grid import Grid

FIGURES = ("bland_altman", "dice_by_volume", "froc", "reliability", "sensitivity_by_size")
QUICK = ("--resamples", "20")


def metseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two cases of one patient and one of another, with probabilities; lesions are label 3."""
    top = tmp_path_factory.mktemp("pairs")
    for name in ("anna_1", "anna_2", "ben_1"):
        write(top / "preds" / f"{name}_pred.nii.gz", guess(3))
        write(top / "preds" / f"{name}_prob.nii.gz", (guess() * np.float32(0.875)).astype(np.float32))
        write(top / "refs" / f"{name}_ref.nii.gz", truth(3))
    return top


@pytest.fixture(scope="module")
def out(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("scores") / "new" / "scores"
    pairs = folders / "preds", folders / "refs"
    options = ("--prob-suffix", "_prob", "--patient-regex", "^([a-z]+)_", "--min-volume-mm3", "10")
    result = metseg("evaluate", *pairs, *options, *QUICK, "-o", out, "--jobs", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "3 of 3 cases were judged." in result.stdout
    assert result.stdout.endswith(f"Report: {out / 'report.html'}\n")
    return out


@pytest.fixture(scope="module")
def document(out):
    return json.loads((out / "evaluation.json").read_text(encoding="utf-8"))


@pytest.fixture
def pair(tmp_path):
    return write(tmp_path / "a_pred.nii.gz", guess(3)), write(tmp_path / "a_ref.nii.gz", truth(3))


def test_all_files_are_there_and_nothing_else(out):
    top = sorted(path.name for path in out.iterdir())
    assert top == ["cases.csv", "evaluation.json", "figures", "lesions.csv", "report.html", "summary.md"]
    names = sorted(path.name for path in (out / "figures").iterdir())
    assert names == sorted(f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg"))


def test_a_cases_numbers_are_those_worked_out_by_hand(document):
    case = document["cases"]["anna_1"]
    assert (case["patient"], case["status"]) == ("anna", "judged")
    assert case["field"]["dice"] == CASE_DICE
    assert (case["field"]["sensitivity"], case["field"]["ppv"], case["field"]["false"]) == (0.5, 0.5, 1)
    assert [lesion["dice"] for lesion in case["field"]["lesions"]] == [0.75, 0]
    assert case["field"]["lesions"][1]["hd95_mm"] is None
    assert case["seed"]["dice"] == 96 / 155  # the lesion of 8 mm³ went from the reference
    assert case["brats2023"]["ET"]["LesionWise_Score_Dice"] == 0.25  # 0.75, a miss, a false one
    assert case["brats2023"]["ET"]["LesionWise_Score_HD95"] == pytest.approx((1 + 2 * 374) / 3)
    assert case["brats2024"]["RC"]["LesionWise_Score_Dice"] == 1
    assert case["brats2025"]["all_instance_f1_tc"] == 0.5
    assert case["surface"]["WT"]["voxel_dice"] == CASE_DICE
    assert case["surface"]["RC"]["hd95"] == "Infinity"
    assert case["surface"]["RC"]["voxel_dice"] == "NaN"
    assert case["panoptic"]["TC"]["naive_iou0.5"]["rq"] == 0.5
    assert case["input"]["shape"] == list(GRID.shape)


def test_the_cohort_has_means_intervals_and_counts(document):
    cohort = document["cohort"]
    assert document["counts"] == {
        "references": 3,
        "judged": 3,
        "missing": 0,
        "failed": 0,
        "unmatched_predictions": 0,
    }
    found = cohort["field"]
    assert (found["counts"]["patients"], found["counts"]["lesions"]) == (2, 6)
    assert found["numbers"]["sensitivity_per_lesion"]["value"] == 0.5
    assert found["numbers"]["fp_per_patient"]["value"] == 1.5
    assert found["froc"]["points"][2]["sensitivity"]["value"] == 0.5  # two false ones a patient are not exceeded
    assert found["voxel_calibration"]["ece"]["value"] == pytest.approx(0.875 - 48 / 91)
    assert found["component_calibration"]["ece"]["value"] == pytest.approx(0.375)
    assert cohort["seed"]["mean"]["value"] == pytest.approx(96 / 155)
    hd95 = cohort["surface"]["RC"]["hd95"]
    assert hd95 == {"mean": None, "std": None, "median": None, "n": 0, "undefined": 0, "infinite": 3}
    assert cohort["surface"]["RC"]["voxel_dice"]["undefined"] == 3
    assert cohort["brats2023"]["ET"]["LesionWise_Score_Dice"]["mean"] == 0.25
    assert cohort["brats2025"]["mean"]["all_instance_f1_tc"] == 0.5


def test_options_and_versions_are_written_and_no_path(document, folders, out):
    assert document["options"]["seed"]["min_volume_mm3"] == 10
    assert document["options"]["field"]["bootstrap"]["resamples"] == 20
    assert document["options"]["brats2025"]["parser"] == "pypi_0.0.8"
    assert {"metseg", "python", "numpy", "scipy"} <= set(document["versions"])
    for path in (path for path in out.rglob("*") if path.is_file() and path.suffix != ".png"):
        assert str(folders) not in path.read_text(encoding="utf-8"), path.name


def test_tables_hold_the_same_numbers(out, document):
    with (out / "cases.csv").open(encoding="utf-8", newline="") as file:
        cases = list(csv.DictReader(file))
    assert [row["case"] for row in cases] == list(document["cases"])
    assert float(cases[0]["field.dice"]) == CASE_DICE
    assert float(cases[0]["brats2023.ET.LesionWise_Score_Dice"]) == 0.25
    assert cases[0]["surface.RC.hd95"] == "Infinity"
    with (out / "lesions.csv").open(encoding="utf-8", newline="") as file:
        lesions = list(csv.DictReader(file))
    assert [row["kind"] for row in lesions[:3]] == ["lesion", "lesion", "false component"]
    assert [row["found"] for row in lesions[:3]] == ["1", "0", ""]
    assert [float(row["volume_mm3"]) for row in lesions[:3]] == [64, 8, 27]
    assert float(lesions[0]["nsd_border_1mm"]) == 1
    assert not any("{" in cell for row in lesions for cell in row.values())


def test_the_report_needs_nothing_else(out):
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/png;base64,') == len(FIGURES)
    assert not re.search(r"<script|https?://|\bsrc=\"(?!data:)|@import|<link", page)
    assert "Sensitivity, per lesion" in page
    assert "BraTS-METS 2025" in page
    for path in (out / "figures").glob("*.svg"):
        ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314  # our own file
    for path in (out / "figures").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_same_files_give_the_same_bytes(out, folders, tmp_path):
    pairs = folders / "preds", folders / "refs"
    options = ("--prob-suffix", "_prob", "--patient-regex", "^([a-z]+)_", "--min-volume-mm3", "10")
    metseg("evaluate", *pairs, *options, *QUICK, "-o", tmp_path / "again", "--jobs", "1")
    for path in (path for path in out.rglob("*") if path.is_file()):
        assert (tmp_path / "again" / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(
    "arguments",
    [
        ("--profile", "seed", "field"),
        ("--profile", "seed,field"),
        ("--profile", "field", "--profile", "seed"),
    ],
)
def test_profiles_are_named_in_any_way(pair, arguments):
    told = json.loads(metseg("evaluate", *pair, *arguments, *QUICK, "--json").stdout)
    assert told["options"]["profiles"] == ["seed", "field"]
    assert set(told["cohort"]) == {"seed", "field"}
    assert set(told["cases"]["a"]) == {"patient", "status", "input", "notes", "seed", "field"}


def test_rules_come_from_flags(pair):
    flags = ("--matching", "dice=0.8", "--assignment", "one_to_one", "--region", "ET", "--both-empty", "leave_out")
    told = json.loads(metseg("evaluate", *pair, "--profile", "field", *flags, *QUICK, "--json").stdout)
    assert told["cases"]["a"]["field"]["sensitivity"] == 0
    rule = {"rule": "dice", "threshold": 0.8, "assignment": "one_to_one"}
    assert told["options"]["field"]["matching"] == rule
    assert (told["lesion_region"], told["options"]["seed"]["both_empty"]) == ("ET", "leave_out")


@pytest.mark.parametrize("labels", ["binary", "any"])
def test_masks_have_one_region(tmp_path, labels):
    files = write(tmp_path / "p.nii.gz", guess()), write(tmp_path / "r.nii.gz", truth())
    told = json.loads(metseg("evaluate", *files, "--labels", labels, *QUICK, "--json").stdout)
    case = told["cases"]["r"]
    assert list(case["brats2024"]) == list(case["surface"]) == list(case["panoptic"]) == ["lesion"]
    assert case["brats2023"]["lesion"]["LesionWise_Score_Dice"] == 0.25
    assert case["brats2025"]["all_instance_f1_lesion"] == 0.5
    assert told["warnings"] == []


def test_masks_taken_for_brats_labels_are_doubted(tmp_path):
    files = write(tmp_path / "p.nii.gz", guess()), write(tmp_path / "r.nii.gz", truth())
    result = metseg("evaluate", *files, "--profile", "field", *QUICK)
    assert "If they are masks of lesions, --labels binary says so." in result.stderr
    assert result.exit_code == 0


def test_missing_and_unmatched_cases(tmp_path):
    predictions, references = write_pairs(tmp_path, ("a",), label=3)
    write(predictions / "extra.nii.gz", guess(3))
    write(references / "gone.nii.gz", np.zeros(GRID.shape, np.uint8))
    result = metseg("evaluate", predictions, references, *QUICK, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (told["missing_predictions"], told["unmatched_predictions"]) == (["gone"], ["extra"])
    lost = told["cases"]["gone"]
    assert (lost["status"], lost["seed"]["dice"], lost["field"]["dice"], lost["field"]["f1"]) == ("missing", 0, 0, 0)
    assert lost["brats2023"]["ET"]["LesionWise_Score_HD95"] == 374
    assert lost["brats2025"]["lesionwise_hd95_mean_et"] == 373
    assert "1 of 2 predictions is missing: a failure each, and in every mean." in result.stderr
    refused = metseg("evaluate", predictions, references, "--missing", "refuse")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "1 of 2 references have no prediction: gone." in refused.stderr


def test_a_missing_prediction_does_not_take_the_froc_away(folders, tmp_path):
    for name in ("anna_1", "ben_1"):
        for kind in ("pred", "prob"):
            path = tmp_path / f"{name}_{kind}.nii.gz"
            path.symlink_to(folders / "preds" / path.name)
    options = ("--prob-suffix", "_prob", "--profile", "field", *QUICK, "--json")
    told = json.loads(metseg("evaluate", tmp_path, folders / "refs", *options).stdout)
    assert told["missing_predictions"] == ["anna_2"]
    assert told["cohort"]["field"]["froc"]["sensitivities"] == [pytest.approx(2 / 6)]
    assert told["cohort"]["field"]["froc"]["rates"] == [pytest.approx(2 / 3)]


def test_a_case_that_fails_stops_no_other(tmp_path):
    predictions, references = write_pairs(tmp_path, ("a", "b"), label=3)
    write(predictions / "b.nii.gz", guess(3), Grid.isotropic(GRID.shape, spacing_mm=2))
    result = metseg("evaluate", predictions, references, "--profile", "field", *QUICK, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "Error: b: Prediction and reference lie on different grids" in result.stderr
    assert "1 of 2 cases could not be judged and are in no mean" in result.stderr
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert list(told["cases"]) == ["a"]
    assert told["failures"]["b"]["kind"] == "InputError"
    assert told["cohort"]["field"]["counts"]["cases"] == 1
    assert "Cases that could not be judged" in (tmp_path / "out" / "report.html").read_text()


def test_where_no_case_can_be_judged_nothing_breaks(tmp_path):
    files = write(tmp_path / "a_pred.nii.gz", guess(9)), write(tmp_path / "a_ref.nii.gz", truth(3))
    result = metseg("evaluate", *files, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "label values that are not scored: 9" in result.stderr
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["cohort"] == {}


def test_an_older_evaluation_is_replaced_when_asked_only(pair, tmp_path):
    out = tmp_path / "out"
    assert metseg("evaluate", *pair, *QUICK, "-o", out).exit_code == 0
    (out / "mine.txt").write_text("mine")
    refused = metseg("evaluate", *pair, *QUICK, "-o", out)
    assert refused.exit_code == 2
    assert "evaluation.json is in the output folder out already." in refused.stderr
    assert metseg("evaluate", *pair, "--profile", "seed", *QUICK, "-o", out, "--force").exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "cases.csv", "evaluation.json", "mine.txt", "report.html", "summary.md",
    ]  # fmt: skip


def test_names_can_hold_anything(tmp_path):
    name = "=a|<b>`$x"
    predictions, references = write_pairs(tmp_path, (name,), label=3)
    assert metseg("evaluate", predictions, references, *QUICK, "-o", tmp_path / "out").exit_code == 0
    assert "<b>" not in (tmp_path / "out" / "report.html").read_text()
    assert "\n'=a|" in (tmp_path / "out" / "cases.csv").read_text()
    assert "| =a\\|\\<b>\\`$x |" in (tmp_path / "out" / "summary.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["--profile", "brats2026"], "no profile 'brats2026'"),
        (["--brats2025-variant", "0.0.9"], "no variant '0.0.9'"),
        (["--labels", "odd"], "option labels"),
        (["--matching", "dice"], "need a threshold"),
        (["--matching", "dice=2"], "option field.matching.threshold"),
        (["--min-volume-on", "neither"], "option seed.min_volume_on"),
        (["--resamples", "-1"], "resamples"),
        (["more"], "one argument too many: more"),
    ],
)
def test_what_is_wrong_is_said(pair, tmp_path, arguments, finding):
    result = metseg("evaluate", *pair, *arguments, "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert finding in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_help_names_every_flag():
    told = CliRunner().invoke(app, ["evaluate", "--help"], terminal_width=200).stdout
    flags = [
        "--out", "--profile", "--labels", "--region", "--pred-suffix", "--ref-suffix", "--prob-suffix", "--map",
        "--patient-regex", "--missing", "--resample-reference", "--brats2025-variant", "--min-volume-mm3",
        "--min-volume-on", "--matching", "--assignment", "--both-empty", "--resamples", "--seed", "--jobs", "--json",
        "--force", "--quiet", "--debug",
    ]  # fmt: skip
    assert [flag for flag in flags if flag not in told] == []
