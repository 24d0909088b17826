"""The command line: what it prints where, and what it returns."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from metseg import __version__
from metseg.cli.console import progress_bar
from metseg.cli.main import app
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap
from metseg.io.nifti import write_nifti
from metseg.testing.phantoms import Ellipsoid, make_phantom
from tiny_bundle import write_tiny_bundle

LESIONS = (Ellipsoid.sphere((20, 12, 5), 20), Ellipsoid.sphere((-30, -20, -8), 15))
QUICK = ("--engine", "threshold", "--formats", "nifti,json")


@pytest.fixture(scope="module")
def phantom():
    affine = np.diag([3.0, 3.2, 2.9, 1.0])
    affine[:3, 3] = -66, -80, -58
    return make_phantom(Grid((44, 50, 40), affine), LESIONS, noise=16)


@pytest.fixture
def scan(tmp_path, phantom):
    path = tmp_path / "in" / "scan.nii.gz"
    path.parent.mkdir()
    write_nifti(path, phantom.study.images["t1c"])
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def metseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_without_arguments_it_helps():
    assert "segment" in metseg().output
    assert "--operating-point" in metseg("segment").output


def test_it_says_its_version():
    result = metseg("--version")
    assert (result.exit_code, result.stdout) == (0, f"metseg {__version__}\n")


def test_the_help_of_segment_names_every_flag():
    flags = [
        "--t1c",
        "--t1n",
        "--t2f",
        "--t2w",
        "--ct",
        "--model",
        "--engine",
        "--threads",
        "--device",
        "--operating-point",
        "--min-volume-mm3",
        "--formats",
        "--probability",
        "--force-modality",
        "--prior",
        "--config",
        "--json",
        "--force",
        "--quiet",
        "--debug",
        "--out",
    ]
    told = CliRunner().invoke(app, ["segment", "--help"], terminal_width=200).stdout
    assert [flag for flag in flags if flag not in told] == []


def test_a_study_gives_a_table(scan, out):
    result = metseg("segment", scan, "-o", out, *QUICK)
    assert (result.exit_code, result.stderr) == (0, "")
    (row,) = [line.split() for line in result.stdout.splitlines() if line.strip().startswith("scan")]
    assert row[:3] == ["scan", "done", "2"]
    assert row[4] == "mL"
    again = metseg("segment", scan, "-o", out, *QUICK)
    assert "skipped" in again.stdout
    assert "skipped" not in metseg("segment", scan, "-o", out, *QUICK, "--force").stdout


def test_warnings_stand_after_the_table(tmp_path, out, phantom):
    image = nib.Nifti1Image(phantom.study.images["t1c"].array, None)
    image.header.set_zooms((3.0, 3.2, 2.9))
    nib.save(image, tmp_path / "scan.nii.gz")
    result = metseg("segment", tmp_path / "scan.nii.gz", "-o", out, *QUICK)
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if "LEFT AND RIGHT CANNOT BE KNOWN" in line]
    assert line.startswith("Warning: scan: scan.nii.gz does not say")
    told = json.loads(metseg("segment", tmp_path / "scan.nii.gz", "-o", out, *QUICK, "--json").stdout)
    assert line.removeprefix("Warning: scan: ") in told["cases"][0]["warnings"]


def test_json_is_one_object_on_stdout(scan, out):
    (scan.parent / "bad.nii.gz").write_bytes(b"no gzip")
    result = metseg("segment", scan.parent, "-o", out, *QUICK, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == told["exit_code"] == 2
    assert (told["metseg"], told["engine"]) == (__version__, "threshold")
    assert [model["name"] for model in told["models"]] == ["threshold"]
    cases = {case["case"]: case for case in told["cases"]}
    assert set(cases) == {"scan", "bad"}
    assert (cases["scan"]["state"], cases["scan"]["lesions"]) == ("done", 2)
    assert cases["scan"]["folder"] == str(out / "scan")
    assert cases["bad"]["message"]
    assert f"Error: bad: {cases['bad']['message']}" in result.stderr
    assert "Traceback" not in result.output


def test_quiet_says_nothing_but_errors(scan, out):
    result = metseg("segment", scan, "-o", out, *QUICK, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    bad = metseg("segment", scan.parent / "none.nii", "-o", out, *QUICK, "--quiet")
    assert (bad.exit_code, bad.stdout) == (2, "")
    assert bad.stderr.startswith("Error: none.nii does not exist.\n  Hint: ")


def test_a_traceback_shows_with_debug_only(scan, out):
    (scan.parent / "bad.nii.gz").write_bytes(b"no gzip")
    arguments = ("segment", scan.parent / "bad.nii.gz", "-o", out, *QUICK)
    assert "Traceback" not in metseg(*arguments).output
    assert "Traceback" in metseg(*arguments, "--debug").stderr
    assert "Traceback" in metseg(*arguments, "--debug", "--engine", "none").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "finding"),
    [
        (["--engine", "none"], 2, "no engine called 'none'"),
        (["--model", "none"], 4, "no model called 'none'"),
        (["--threads", "-1"], 2, "threads = -1 (flag)"),
        (["--engine", "threshold", "--operating-point", "lenient"], 2, "no operating point 'lenient'"),
        (["--engine", "threshold", "--operating-point", "7"], 2, "between 0 and 1"),
        (["--engine", "threshold", "--formats", "docx"], 2, "formats"),
        (["--engine", "threshold", "--device", "abacus"], 2, "abacus"),
        (["--config", "none.toml"], 2, "none.toml cannot be read"),
        (["--t1c", "x.nii"], 2, "not both"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(scan, out, arguments, code, finding):
    result = metseg("segment", scan, "-o", out, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert finding in result.stderr
    assert "Hint: " in result.stderr or "none.toml" in result.stderr
    assert not out.exists()
    told = json.loads(metseg("segment", scan, "-o", out, *arguments, "--json").stdout)
    assert told["exit_code"] == code
    assert finding in told["error"]["message"] + told["error"]["hint"]


def test_no_input_is_an_error(out):
    result = metseg("segment", "-o", out)
    assert result.exit_code == 2
    assert "There is no input." in result.stderr


def test_an_output_folder_that_cannot_be_made_is_an_error(scan, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = metseg("segment", scan, "-o", tmp_path / "file", *QUICK)
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_sequences_by_flag_make_one_case(scan, out):
    result = metseg("segment", "--t1c", scan, "--t1n", scan, "-o", out, *QUICK, "--json")
    (case,) = json.loads(result.stdout)["cases"]
    assert (case["case"], case["state"], case["lesions"]) == ("scan", "done", 2)


def test_the_output_folder_is_no_input(scan, tmp_path):
    assert metseg("segment", tmp_path, "-o", tmp_path / "out", *QUICK).exit_code == 0
    told = json.loads(metseg("segment", tmp_path, "-o", tmp_path / "out", *QUICK, "--json").stdout)
    assert [case["case"] for case in told["cases"]] == ["scan"]


def test_options_come_from_a_file_and_flags_win(scan, out, tmp_path):
    config = tmp_path / "options.toml"
    config.write_text(
        '[segment]\nengine = "threshold"\nformats = ["json"]\noperating_point = 0.3\nmin_volume_mm3 = 2500\n'
    )
    metseg("segment", scan, "-o", out, "--config", config, "--operating-point", "0.45", "--probability")
    options = json.loads((out / "scan" / "run.json").read_text())["options"]
    assert (options["operating_point"], options["threshold"], options["min_volume_mm3"]) == (0.45, 0.45, 2500)
    assert options["formats"] == ["json", "probability"]
    assert sorted(path.name for path in (out / "scan").iterdir()) == ["lesions.json", "probability.nii.gz", "run.json"]
    assert len(json.loads((out / "scan" / "lesions.json").read_text())["lesions"]) == 1


def test_a_mode_is_chosen_and_recorded(scan, out):
    bundle = write_tiny_bundle(out.parent / "tiny", mirror_axes=[0], thorough_mirror_axes=[0, 1])
    passes = {}
    for mode in ("fast", "standard", "thorough"):
        done = metseg("segment", scan, "-o", out / mode, "--model", bundle.folder, f"--{mode}", "--probability")
        assert done.exit_code == 0, done.output
        assert json.loads((out / mode / "scan" / "run.json").read_text())["options"]["mode"] == mode
        passes[mode] = nib.load(out / mode / "scan" / "probability.nii.gz").get_fdata()
    assert np.abs(passes["fast"] - passes["standard"]).max() > 0
    assert np.abs(passes["thorough"] - passes["standard"]).max() > 0
    silent = metseg("segment", scan, "-o", out / "standard", "--model", bundle.folder, "--probability", "--json")
    assert json.loads(silent.stdout)["cases"][0]["state"] == "skipped"
    both = metseg("segment", scan, "-o", out, "--fast", "--thorough")
    assert both.exit_code == 2
    assert "--fast and --thorough exclude each other" in both.stderr


def test_a_mismatch_is_forced_and_recorded(tmp_path, out, phantom):
    mask = LabelMap((phantom.truth.array > 0).astype(np.uint8), phantom.truth.grid)
    write_nifti(tmp_path / "mask.nii.gz", mask)
    refused = metseg("segment", tmp_path / "mask.nii.gz", "-o", out, *QUICK)
    assert refused.exit_code == 2
    assert "--force-modality" in refused.stderr
    forced = metseg("segment", tmp_path / "mask.nii.gz", "-o", out, *QUICK, "--force-modality")
    assert forced.exit_code == 0, forced.output
    warnings = json.loads((out / "mask" / "run.json").read_text())["warnings"]
    assert any("although the check of the modality refused it" in warning for warning in warnings)


def test_info_lists_what_is_there():
    told = json.loads(metseg("info", "--json").stdout)
    assert told["versions"]["metseg"] == __version__
    assert {"openvino", "threshold"} <= set(told["engines"])
    assert isinstance(told["extras"], dict)
    for model in told["models"]:
        assert model["default_operating_point"] in model["operating_points"]
        assert 0 < model["size_mb"] <= 16
    text = metseg("info").stdout
    assert f"metseg {__version__}" in text
    assert "engines: openvino, threshold" in text


@pytest.fixture
def made_up(monkeypatch, phantom):
    """The phantom in place of the synthesised head."""
    import metseg.synthesis.demo

    study = phantom.study.images["t1c"], phantom.truth
    monkeypatch.setattr(metseg.synthesis.demo, "make_demo_study", lambda _: study)
    return phantom


def test_the_demo_says_how_well_it_went(made_up, out):
    result = metseg("demo", "-o", out, "--seed", "3", "--engine", "threshold", "--formats", "html")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first.startswith("Dice 0.")
    assert "; 2 of 2 lesions found; 0 false components; " in first
    assert second == f"Report: {out / 'demo-3' / 'report.html'}"
    told = json.loads(
        metseg("demo", "-o", out, "--seed", "3", "--engine", "threshold", "--formats", "html", "--json").stdout
    )
    assert told["case"]["state"] == "skipped"
    assert told["score"]["dice"] > 0.8
    assert {key: told["score"][key] for key in ("present", "found", "false")} == {"present": 2, "found": 2, "false": 0}
    assert sorted(path.name for path in (out / "demo-input").iterdir()) == ["demo-3-truth.nii.gz", "demo-3.nii.gz"]


def test_a_demo_that_cannot_write_says_so(made_up, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = metseg("demo", "-o", tmp_path / "file", "--engine", "threshold")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_the_bar_moves_on_a_terminal_only(monkeypatch, capsys):
    with progress_bar(shown=True) as progress:
        progress(0.5, 1.0, "case [1]: network")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar(shown=True) as progress:
        progress(0.5, 1.0, "case [1]: network")
        progress(0, 0, "nothing to do")


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from metseg.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'numpy', 'scipy', 'openvino', 'matplotlib', 'SimpleITK', 'pydicom', 'nibabel', 'pydantic', 'torch'}\n"
        "found = sorted(heavy & set(sys.modules))\n"
        "sys.exit(f'loaded {found}' if found else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "segment" in run.stdout


def test_segmenting_in_a_process_of_its_own_needs_no_torch(scan, out):
    code = "import sys\nsys.modules['torch'] = None\nfrom metseg.cli.main import app\napp(sys.argv[1:])\n"
    arguments = ["segment", str(scan), "-o", str(out), *QUICK, "--json"]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["cases"][0]["lesions"] == 2
    assert run.stderr == ""
