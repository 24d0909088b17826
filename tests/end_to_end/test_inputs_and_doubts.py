"""Which inputs count as the same, and doubts about left and right that must be seen."""

import json
import zipfile

import nibabel as nib
import numpy as np
import pytest

from end_to_end.cases import QUICK, SPACING, make_grid, manifest_of, run
from metseg.config.options import SegmentOptions
from metseg.io.discover import find_sources, named_sources
from metseg.io.read import read_study
from metseg.pipeline.batch import run_batch
from metseg.pipeline.case import run_case
from metseg.pipeline.manifest import fingerprint


def put_nifti(path, phantom, *, mirrored=False):
    """The phantom without any geometry code, or with a qform that mirrors its sform."""
    array = phantom.study.images["t1c"].array
    image = nib.Nifti1Image(array, make_grid().affine if mirrored else None)
    if mirrored:
        image.set_sform(make_grid().affine, code=1)
        image.set_qform(np.diag([-1.0, 1, 1, 1]) @ make_grid().affine, code=1)
    else:
        image.header.set_zooms(SPACING)
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    ("mirrored", "says"), [(False, "LEFT AND RIGHT CANNOT BE KNOWN"), (True, "AND MIRROR EACH OTHER")]
)
def test_doubts_about_left_and_right_are_warnings(tmp_path, out, engine, phantom, mirrored, says):
    path = put_nifti(tmp_path / "scan.nii.gz", phantom, mirrored=mirrored)
    outcome = run(path, out, engine, SegmentOptions(engine="threshold"))
    (warning,) = [warning for warning in outcome.warnings if says in warning]
    assert warning.startswith("scan.nii.gz")
    manifest = manifest_of(outcome.folder)
    assert warning in manifest["warnings"]
    assert not any(says in note for note in manifest["notes"])
    assert (outcome.folder / "report.html").read_text(encoding="utf-8").count(says) == 1
    again = run(path, out, engine, SegmentOptions(engine="threshold"))
    assert (again.state, again.warnings) == ("skipped", outcome.warnings)
    assert warning in json.loads(json.dumps(again.as_plain()))["warnings"]


def put_mhd(folder, name, content=b"voxels"):
    (folder / f"{name}.raw").write_bytes(content)
    header = folder / f"{name}.mhd"
    header.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 20 20 20\nElementSpacing = 1 1 1\nElementType = MET_SHORT\n"
        f"ElementDataFile = {name}.raw\n"
    )
    return header


def test_a_detached_header_stands_for_its_own_data_only(tmp_path, engine):
    header = put_mhd(tmp_path, "a")
    before = fingerprint(find_sources([header])[0], engine, QUICK)
    (tmp_path / "b.nii.gz").write_bytes(b"another patient")
    put_mhd(tmp_path, "c")
    assert fingerprint(find_sources([header])[0], engine, QUICK) == before
    put_mhd(tmp_path, "a", b"other voxels")
    assert fingerprint(find_sources([header])[0], engine, QUICK).input != before.input


def test_the_same_bytes_in_another_part_are_the_same_input(scan, out, engine):
    plain, named = find_sources([scan])[0], named_sources({"t1c": scan})
    marks = [fingerprint(case, engine, QUICK) for case in (plain, named)]
    assert marks[0].input == marks[1].input
    assert marks[0].whole != marks[1].whole
    first = run(scan, out, engine)
    outcome = run_case(named, out, engine, QUICK)
    assert (outcome.state, outcome.folder) == ("done", first.folder)


def test_a_channel_without_its_first_fails_and_stops_nobody(scan, out, engine):
    scan.with_name("pat_0001.nii.gz").write_bytes(scan.read_bytes())
    done = run_batch(find_sources([scan.parent]), out, lambda *_: engine, QUICK)
    outcomes = {outcome.case: outcome for outcome in done}
    assert {case: outcome.state for case, outcome in outcomes.items()} == {"Köpfe 1": "done", "pat": "failed"}
    assert outcomes["pat"].message == "An image is numbered _0001, but none is numbered _0000, the first sequence."
    assert outcomes["pat"].exit_code == 2


def test_a_header_in_a_zip_finds_its_data(tmp_path):
    values = np.random.default_rng(3).integers(0, 99, (20, 20, 20)).astype("<i2")
    header = put_mhd(tmp_path, "a", values.tobytes(order="F"))
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in (header, header.with_suffix(".raw")):
            archive.write(path, f"deep/{path.name}")
    study = read_study(find_sources([tmp_path / "study.zip"])[0], ("t1c",), "MR")
    np.testing.assert_array_equal(study.images["t1c"].array, values)
