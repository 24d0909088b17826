"""A case guided by known lesions, from files to its result: done again, counted, told, and never by a path."""

import csv
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from end_to_end.cases import QUICK, make_grid, manifest_of
from metseg.cli.main import app
from metseg.config.options import SegmentOptions
from metseg.core.volume import LabelMap
from metseg.io.discover import find_sources
from metseg.io.nifti import write_nifti
from metseg.pipeline.case import run_case
from results import make_result

KNOWN, FALSE = (20, 12, 5), (0, 40, 20)  # RAS+ mm: in the first lesion of the phantom, and where none is


def mask_at(path, *places):
    grid = make_grid()
    array = np.zeros(grid.shape, dtype=np.uint8)
    for place in places:
        i, j, k = np.round(grid.to_index(place)).astype(int)
        array[i - 1 : i + 2, j, k] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, LabelMap(array, grid))
    return path


@pytest.fixture
def mask(tmp_path):
    return mask_at(tmp_path / "Frau Meier 1950" / "früher.nii.gz", KNOWN, FALSE)


def guided(scan, out, engine, prior=None, options=QUICK):
    (case,) = find_sources([scan])
    return run_case(replace(case, prior=prior), out, engine, options)


def test_with_another_prior_or_without_one_a_case_is_done_again(scan, out, engine, mask, tmp_path):
    other = mask_at(tmp_path / "other.nii.gz", KNOWN)
    states = [guided(scan, out, engine, prior).state for prior in (None, mask, mask, other, None, None)]
    assert states == ["done", "done", "skipped", "done", "done", "skipped"]
    copy = tmp_path / "copy.nii.gz"
    copy.write_bytes(other.read_bytes())
    assert [guided(scan, out, engine, prior).state for prior in (other, copy)] == ["done", "skipped"]


def test_the_manifest_has_a_hash_and_a_count_and_no_path(scan, out, engine, mask):
    folder = guided(scan, out, engine, mask, SegmentOptions(engine="threshold", formats="nifti,json,csv,html")).folder
    expected = {"sha256": hashlib.sha256(mask.read_bytes()).hexdigest(), "known_lesions": 2}
    assert manifest_of(folder)["input"]["prior"] == expected
    for path in folder.iterdir():
        text = path.read_bytes()
        assert not [word for word in ("Meier", "früher", str(mask.parent)) if word.encode() in text]
    assert "Guided by 2 known lesions of an earlier visit." in (folder / "report.html").read_text(encoding="utf-8")
    table = json.loads((folder / "lesions.json").read_text())
    assert [lesion["known"] for lesion in table["lesions"]] == [True, False]
    assert "known" in table["units"]
    with (folder / "lesions.csv").open(newline="") as file:
        assert [row["known"] for row in csv.DictReader(file)] == ["1", "0"]


def test_known_lesions_that_are_not_found_again_are_listed_everywhere(scan, out, engine, tmp_path):
    """One in a lesion of the phantom, one where there is nothing even for the eased threshold, one beyond the image."""
    whole, grid = make_grid().crop((0, 0, -6), (44, 50, 46)), make_grid()
    seen, empty, far = (
        np.round(whole.to_index(place)).astype(int) for place in (KNOWN, (-66, 60, 40), grid.to_world((20, 20, -3)))
    )
    array = np.zeros(whole.shape, dtype=np.uint8)
    for (i, j, k), reach in ((seen, 2), (empty, 1)):
        array[i - reach : i + reach + 1, j, k] = 1
    array[tuple(far)] = 1
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, LabelMap(array, whole))
    folder = guided(
        scan, out, engine, mask, SegmentOptions(engine="threshold", formats="nifti,json,csv,html,png")
    ).folder
    voxel_mm3, rounded = (
        whole.voxel_volume_mm3,
        [[round(x, 4) for x in whole.to_world(at).tolist()] for at in (empty, far)],
    )
    told = {
        "n": 3,
        "n_found_again": 1,
        "not_found_again": [{"id": 2, "volume_mm3": round(3 * voxel_mm3, 4), "centre_mm": rounded[0]}],
        "outside_image": [
            {"id": 3, "volume_mm3": round(voxel_mm3, 4), "centre_mm": rounded[1], "share_inside": 0.0},
        ],
    }
    summary = json.loads((folder / "lesions.json").read_text())["known"]
    assert summary == manifest_of(folder)["lesions"]["known"]
    for kind in ("not_found_again", "outside_image"):
        for found, expected in zip(summary[kind], told[kind], strict=True):
            assert found.pop("centre_mm") == pytest.approx(expected.pop("centre_mm"), abs=1e-3)
            assert found == expected
    assert (summary["n"], summary["n_found_again"]) == (3, 1)
    assert manifest_of(folder)["input"]["prior"]["known_lesions"] == 2  # that reach the image
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Found again: 1 of 3. Not found again: 1 (number 2)." in page
    assert "Wholly or partly outside the image, and not judged: 1 (number 3)." in page
    assert "Known lesions without a match" in page


def test_without_a_prior_nothing_speaks_of_one(scan, out, engine):
    folder = guided(scan, out, engine, None, SegmentOptions(engine="threshold", formats="nifti,json,csv,html")).folder
    assert "prior" not in manifest_of(folder)["input"]
    for name in ("lesions.json", "lesions.csv"):
        assert "known" not in (folder / name).read_text()
    assert "known" not in manifest_of(folder)["lesions"]
    assert "Guided" not in (folder / "report.html").read_text(encoding="utf-8")


def test_an_empty_mask_warns_and_changes_nothing(scan, out, engine, tmp_path):
    plain = guided(scan, out, engine).folder
    files = {path.name: path.read_bytes() for path in plain.iterdir() if path.name != "run.json"}
    empty = mask_at(tmp_path / "empty.nii.gz")
    outcome = guided(scan, out, engine, empty)
    assert outcome.state == "done"
    assert any("The mask given as prior is empty" in warning for warning in outcome.warnings)
    assert {path.name: path.read_bytes() for path in outcome.folder.iterdir() if path.name != "run.json"} == files
    assert manifest_of(outcome.folder)["input"]["prior"]["known_lesions"] == 0


def test_the_report_counts_one_lesion_in_the_singular():
    from metseg.report.html import render_report

    result = make_result(make_grid(), [((10, 12, 14), (12, 14, 16))])
    known = np.zeros(make_grid().shape, dtype=np.uint8)
    known[10, 12, 14] = 1
    study = replace(result.study, prior=LabelMap(known, make_grid()))
    assert "Guided by 1 known lesion of an earlier visit." in render_report(replace(result, study=study))
    assert "Guided" not in render_report(result)


def metseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_takes_a_mask_or_an_earlier_output_folder(scan, out, mask, tmp_path):
    quick = ("--engine", "threshold", "--formats", "nifti,json", "--json")
    first = metseg("segment", scan, "-o", out, *quick)
    assert first.exit_code == 0, first.output
    again = metseg("segment", scan, "-o", tmp_path / "later", *quick, "--prior", out)
    assert again.exit_code == 0, again.output
    prior = manifest_of(tmp_path / "later" / "Köpfe 1")["input"]["prior"]
    lesions = out / "Köpfe 1" / "lesions.nii.gz"
    assert prior == {"sha256": hashlib.sha256(lesions.read_bytes()).hexdigest(), "known_lesions": 2}
    assert metseg("segment", scan, "-o", tmp_path / "masked", *quick, "--prior", mask).exit_code == 0
    (scan.parent / "second.nii.gz").write_bytes(scan.read_bytes())
    refused = metseg("segment", scan.parent, "-o", tmp_path / "two", *quick, "--prior", mask)
    assert refused.exit_code == 2
    assert "One mask is given as prior, but there are 2 cases." in refused.output
    assert not (tmp_path / "two").exists()
