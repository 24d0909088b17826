"""``metseg compare``: runs on the same cases, in pairs."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from judge_cases import truth, write
from metseg.cli.main import app

OUTPUTS = ["comparison.csv", "comparison.json", "comparison.md", "comparison.png", "comparison.svg", "comparison.tex"]
NAMES = ("a", "b", "c", "d", "e", "f")


def metseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run ``good`` is right in every case; ``poor`` misses the large lesion's last slices, more in each case."""
    top = tmp_path_factory.mktemp("runs")
    for place, name in enumerate(NAMES):
        write(top / "refs" / f"{name}.nii.gz", truth(3))
        write(top / "good" / f"{name}.nii.gz", truth(3))
        poor = truth(3)
        poor[3, 3 : 3 + min(4, place + 1), 3:7] = 0
        poor[4, 3, 3 : 3 + place] = 0
        write(top / "poor" / f"{name}.nii.gz", poor)
    options = ("--profile", "field,brats2023", "--resamples", "20", "--jobs", "1")
    for run in ("good", "poor"):
        result = metseg("evaluate", top / run, top / "refs", *options, "-o", top / "scores" / run)
        assert result.exit_code == 0, result.output
    return top / "scores"


def dice(voxels: int) -> float:
    return 2 * voxels / (72 + voxels)


def expected_differences() -> list[float]:
    lost = [4 * min(4, place + 1) + min(4, place) for place in range(len(NAMES))]
    return [dice(72 - gone) - 1 for gone in lost]


def test_tables_and_plot(runs, tmp_path):
    result = metseg("compare", runs / "good", runs / "poor" / "evaluation.json", "-o", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == OUTPUTS
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    found = rows["field.dice"]
    assert (found["first"], found["second"]) == ("good", "poor")
    assert float(found["mean"]) == pytest.approx(np.mean(expected_differences()))
    assert (found["higher"], found["equal"], found["lower"]) == ("0", "0", "6")
    # All six differ one way: 2 of 2^6 signs are as extreme.
    assert float(found["p_value"]) == pytest.approx(2 / 64)
    assert float(rows["field.f1"]["p_value"]) == 1
    assert rows["field.f1"]["reason"] == "no_difference"
    tests = json.loads((tmp_path / "out" / "comparison.json").read_text())["comparison"]["differences"]
    assert float(found["p_holm"]) == pytest.approx(min(1, len(tests) * 2 / 64))
    markdown = (tmp_path / "out" / "comparison.md").read_text()
    assert "| field.dice | poor − good |" in markdown
    assert markdown.rstrip() == result.stdout.rstrip()
    latex = (tmp_path / "out" / "comparison.tex").read_text()
    assert latex.count(r"\toprule") == latex.count(r"\end{tabular}") == 4
    assert r"brats2023.TC.LesionWise\_Score\_Dice & poor $-$ good &" in latex


def test_metrics_and_names_are_chosen(runs):
    told = json.loads(
        metseg("compare", f"ours={runs / 'good'}", runs / "poor", "--metric", "field.false", "--json").stdout
    )
    assert told["comparison"]["runs"] == ["ours", "poor"]
    assert told["comparison"]["metrics"] == ["field.false"]
    assert told["comparison"]["scores"][0]["mean"]["value"] == 0


def test_what_cannot_be_replaced_is_said_in_a_sentence(runs, tmp_path):
    (tmp_path / "out" / "comparison.json").mkdir(parents=True)
    result = metseg("compare", runs / "good", runs / "poor", "-o", tmp_path / "out", "--force")
    assert result.exit_code == 2
    assert "The output folder out cannot be written" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparison.json"]


def test_an_older_comparison_is_replaced_when_asked_only(runs, tmp_path):
    arguments = ("compare", runs / "good", runs / "poor", "-o", tmp_path / "out", "--resamples", "20", "--quiet")
    assert metseg(*arguments).output == ""
    assert "comparison.json is in the output folder out already." in metseg(*arguments).stderr
    assert metseg(*arguments, "--force").exit_code == 0


@pytest.fixture
def changed(runs, tmp_path):
    """A copy of run ``poor`` after a change."""

    def change(edit):
        told = json.loads((runs / "poor" / "evaluation.json").read_text())
        edit(told)
        path = tmp_path / "changed" / "evaluation.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(told))
        return path

    return change


@pytest.mark.parametrize(
    ("edit", "finding"),
    [
        (lambda told: told["options"].update(region="WT"), "option region differs"),
        (lambda told: told["cases"]["a"].update(patient="anna"), "Case a is another patient's in run changed"),
        (lambda told: told.update(schema="other/1"), "no evaluation that this version understands"),
    ],
)
def test_runs_that_cannot_be_compared(runs, changed, edit, finding):
    result = metseg("compare", runs / "good", changed(edit))
    assert (result.exit_code, result.stdout) == (2, "")
    assert finding in result.stderr


def test_cases_that_a_run_lacks_are_left_out_or_refused(runs, changed):
    short = changed(lambda told: told["cases"].pop("a"))
    result = metseg("compare", runs / "good", short, "--metric", "field.dice", "--json")
    told = json.loads(result.stdout)
    assert told["comparison"]["differences"][0]["left_out"] == 1
    assert told["warnings"] == ["Run changed lacks 1 of 6 cases; they are left out for every run."]
    refused = metseg("compare", runs / "good", short, "--missing", "refuse")
    assert refused.exit_code == 2
    assert "1 of 6 cases lack a value" in refused.stderr


def test_other_references_are_doubted(runs, changed):
    other = changed(lambda told: told["cases"]["a"]["input"].update(reference_sha256="0" * 64))
    assert "1 cases were judged against references that differ" in metseg("compare", runs / "good", other).stdout


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["good"], "at least two runs"),
        (["good", "good"], "Two runs are called good"),
        (["good", "gone"], "cannot be read"),
        (["good", "poor", "--metric", "field.beauty"], "No run has the metric 'field.beauty'"),
        (["good", "poor", "--holm-over", "none"], "option holm_over"),
    ],
)
def test_what_is_wrong_with_the_command_is_said(runs, arguments, finding):
    named = [runs / name if name in ("good", "poor", "gone") else name for name in arguments]
    result = metseg("compare", *named)
    assert (result.exit_code, result.stdout) == (2, "")
    assert finding in result.stderr


def test_lesions_by_size_of_each_run(runs):
    """``poor`` loses half of the lesion at most: it is found by both runs in all six cases."""
    document = json.loads(metseg("compare", runs / "good", runs / "poor", "--json").stdout)
    evaluation = json.loads((runs / "poor" / "evaluation.json").read_text())["cohort"]["field"]
    assert document["sizes"]["poor"] == {name: evaluation[name] for name in ("by_diameter", "by_volume")}
    lines = metseg("compare", runs / "good", runs / "poor").stdout.splitlines()
    filled = next(one for one in evaluation["by_volume"] if one["lesions"])
    row = next(line for line in lines if line.startswith(f"| poor | {filled['label'].replace('<', chr(92) + '<')} |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == f"{filled['found']} of {filled['lesions']}"
    sensitivity, ppv = filled["sensitivity"]["value"], filled["ppv"]["value"]
    assert float(cells[-1]) == pytest.approx(2 * sensitivity * ppv / (sensitivity + ppv), abs=1e-3)
    assert any(line.startswith("| run | ") and "mm (n = " in line for line in lines)


def test_facts_of_runs_stand_in_every_table(runs, tmp_path):
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps({"good": {"parameters, millions": 31.2, "window": "64 × 64"}, "poor": {"window": "9"}}))
    result = metseg("compare", runs / "good", runs / "poor", "--facts", facts, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "| run | parameters, millions | window |" in result.stdout
    assert "| good | 31.2000 | 64 × 64 |" in result.stdout
    assert "| poor | – | 9 |" in result.stdout
    assert "good & 31.2000 & 64 × 64" in (tmp_path / "out" / "comparison.tex").read_text()
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["facts"]["good"]["window"] == "64 × 64"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"best": {"window": 3}}', "facts of best, which is not compared"),
        ('{"good": 3}', "does not hold facts of runs"),
        ("[1]", "does not hold facts of runs"),
        ("{", "is no JSON"),
        (None, "cannot be read"),
    ],
)
def test_facts_that_are_none_are_refused(runs, tmp_path, text, told):
    facts = tmp_path / "facts.json"
    if text is not None:
        facts.write_text(text)
    result = metseg("compare", runs / "good", runs / "poor", "--facts", facts)
    assert result.exit_code == 2
    assert told in result.stderr
