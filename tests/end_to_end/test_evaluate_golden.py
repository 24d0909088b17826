"""``metseg evaluate`` on the files of the golden cases: what it writes is what the official codes gave."""

import json

import pytest
from typer.testing import CliRunner

from metseg.cli.main import app
from same_numbers import differences

SUFFIXES = ("--pred-suffix", "_pred", "--ref-suffix", "_ref")
REGIONS = ("WT", "TC", "ET", "RC")


def metseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def official(shared):
    return json.loads(shared("golden", "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def out(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden") / "out"
    result = metseg("evaluate", shared("golden"), shared("golden"), *SUFFIXES, "-o", folder, "--resamples", "50")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def cases(out):
    return json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["cases"]


def test_every_case_is_there(cases, official):
    assert list(cases) == list(official["cases"])


@pytest.mark.parametrize("year", ["brats2023", "brats2024"])
def test_regions_and_lesions_of_2023_and_2024(cases, official, year):
    for name, golden in official["cases"].items():
        assert differences(cases[name][year], golden[year]["regions"]) == [], name
        if any(golden[year]["lesions"].values()):
            assert differences(cases[name][f"{year}_lesions"], golden[year]["lesions"]) == [], name
        if year == "brats2024":
            assert differences(cases[name]["brats2024_legacy"], golden[year]["legacy"]) == [], name


def test_the_leaderboards_row_of_2025(cases, official):
    for name, golden in official["cases"].items():
        row = golden["brats2025"]["leaderboard_row"]["pypi_0.0.8"]["vol27_overlap0.2"]
        assert differences(cases[name]["brats2025"], row) == [], name
        assert differences(cases[name]["brats2025_raw"], golden["brats2025"]["panoptica_raw"]) == [], name


def test_surfaces_and_panoptic_quality(cases, official):
    for name, golden in official["cases"].items():
        assert differences(cases[name]["surface"], golden["voxel_and_surface"]) == [], name
        assert list(cases[name]["panoptic"]) == list(REGIONS)
        assert differences(cases[name]["panoptic"]["TC"], golden["panoptica_tc"]) == [], name


def test_the_rows_below_the_table_of_2025(out, official):
    cohort = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["cohort"]["brats2025"]
    golden = official["aggregate_brats2025"]["without_missing"]
    rows = {row: of["pypi_0.0.8"]["vol27_overlap0.2"] for row, of in golden.items() if "pypi_0.0.8" in of}
    assert differences(cohort, rows) == []


@pytest.mark.parametrize(
    ("variant", "parser", "thresholds"),
    [
        ("0.0.10", "pypi_0.0.10", "vol27_overlap0.2"),
        ("repository,defaults", "git_791134c", "vol20_overlap0.1"),
        ("defaults", "pypi_0.0.8", "vol20_overlap0.1"),
    ],
)
def test_variants_of_2025_by_flag(shared, official, variant, parser, thresholds):
    name = "case15"
    files = [shared("golden", f"{name}_{side}.nii.gz") for side in ("pred", "ref")]
    result = metseg("evaluate", *files, "--profile", "brats2025", "--brats2025-variant", variant, "--json")
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)["cases"][name]["brats2025"]
    assert differences(row, official["cases"][name]["brats2025"]["leaderboard_row"][parser][thresholds]) == []
    assert list(row) == list(official["cases"][name]["brats2025"]["leaderboard_row"][parser][thresholds])


def test_a_missing_prediction_gets_the_official_values(shared, official, tmp_path):
    for side in ("pred", "ref"):
        (tmp_path / side).mkdir()
        for name in official["cases"]:
            (tmp_path / side / f"{name}.nii.gz").symlink_to(shared("golden", f"{name}_{side}.nii.gz"))
    reference = shared("golden", "case05_ref.nii.gz")  # it has no lesion: an empty prediction would be perfect
    (tmp_path / "ref" / "case99.nii.gz").symlink_to(reference)
    profiles = ("--profile", "brats2023,brats2024", "--profile", "brats2025")
    result = metseg("evaluate", tmp_path / "pred", tmp_path / "ref", *profiles, "--json", "--jobs", "1")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["missing_predictions"] == ["case99"]
    lost = told["cases"]["case99"]
    assert lost["status"] == "missing"
    golden = official["aggregate_brats2025"]["with_one_missing_prediction"]
    assert differences(lost["brats2025"], golden["case99_missing_prediction"]["pypi_0.0.8"]["vol27_overlap0.2"]) == []
    for row in ("mean", "std", "median"):
        rows = golden[row]["pypi_0.0.8"]["vol27_overlap0.2"]
        assert differences(told["cohort"]["brats2025"][row], rows) == [], row
    assert lost["brats2023"]["TC"]["LesionWise_Score_Dice"] == 0
    assert lost["brats2023"]["TC"]["LesionWise_Score_HD95"] == 374
    assert lost["brats2024"]["WT"]["LesionWise_Score_NSD @ 0.5"] == 0
    assert lost["brats2024"]["WT"]["Legacy_HD95"] == pytest.approx((72**2 + 72**2 + 56**2) ** 0.5)
