"""Broken headers, hostile names and vanishing files, all the way to the files that come out."""

import csv
import json
import shutil

import nibabel as nib
import pydicom
import pytest
from pydicom.dataelem import DataElement

from dicom_cases import findings
from end_to_end.cases import QUICK, run
from end_to_end.test_no_patient_data import dicom_folder
from metseg.config.options import SegmentOptions
from metseg.io.discover import find_sources
from metseg.pipeline.batch import run_batch
from metseg.pipeline.case import Task, predict_case, read_case, write_case
from metseg.pipeline.layout import _sidecars

DICOM = SegmentOptions(engine="threshold", formats="json,csv,html,sr,rtstruct,secondary-capture")
OBJECTS = ["montage.dcm", "rtstruct.dcm", "seg.dcm", "sr.dcm"]
LONG_UID = "1.2." + "3" * 80
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def source(tmp_path, phantom):
    return dicom_folder(tmp_path / "study", phantom)


def raw(keyword_or_tag, vr, value):
    """An element as bytes that pydicom would not let anyone write."""
    return DataElement(keyword_or_tag, vr, value, already_converted=True)


def spoilt(source, *elements):
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        for element in elements:
            dataset.add(element)
        dataset.save_as(path)
    with pytest.warns(UserWarning, match="The value length"):  # pydicom's, of values that are none
        str(pydicom.dcmread(path))
    return source


def test_values_that_are_none_are_left_out_and_private_tags_too(source, out, engine):
    elements = [
        raw("PatientWeight", "DS", "70,5"),  # a decimal comma
        raw("PatientSize", "DS", "1,80"),
        raw("PatientAge", "AS", "old"),
        raw("PatientSex", "CS", "F;DROP"),
        raw("StudyTime", "TM", "half past three"),
        raw("PatientBirthDate", "DA", "01.02.1930"),
        raw("StudyDescription", "LO", "x" * 90),
        raw((0x0019, 0x0010), "LO", "BROKEN"),
        raw((0x0019, 0x1001), "DS", "1,5\\2,5"),
        raw((0x0019, 0x1002), "UI", LONG_UID),
        raw((0x0019, 0x1003), "LO", f"=cmd|' /C calc'!A0 {SCRIPT}"),
    ]
    outcome = run(spoilt(source, *elements), out, engine, DICOM)
    assert outcome.state == "done"
    assert not any("made" in warning for warning in outcome.warnings)
    assert sorted(path.name for path in outcome.folder.glob("*.dcm")) == OBJECTS
    for name in OBJECTS:
        made = pydicom.dcmread(outcome.folder / name)
        assert findings(outcome.folder / name) == [], name
        assert {"PatientWeight", "PatientSize", "PatientAge", "StudyDescription"}.isdisjoint(made.dir())
        assert made.PatientBirthDate == made.StudyTime == made.PatientSex == ""
        assert not any(element.tag.is_private for element in made.iterall())


@pytest.mark.parametrize(
    ("keyword", "told"),
    [
        ("StudyInstanceUID", "tells of no study"),
        ("FrameOfReferenceUID", "tells of no frame of reference"),
        ("SOPInstanceUID", "slices without a UID of their own"),
    ],
)
def test_uids_that_are_too_long_cost_only_the_dicom_files(source, out, engine, keyword, told):
    for number, path in enumerate(sorted(source.iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.add(raw(keyword, "UI", LONG_UID + (f".{number + 1}" if keyword.startswith("SOP") else "")))
        dataset.save_as(path)
    outcome = run(source, out, engine, DICOM)
    assert (outcome.state, outcome.lesions) == ("done", 2)
    assert list(outcome.folder.glob("*.dcm")) == []
    assert told in outcome.warnings[-1]
    assert LONG_UID not in "".join(path.read_text("utf-8") for path in outcome.folder.iterdir())


def test_a_series_without_a_frame_of_reference_can_be_deidentified(source, out, engine):
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)
    outcome = run(source, out, engine, DICOM.model_copy(update={"deidentify": True}))
    assert {path.name for path in outcome.folder.glob("*.dcm")} >= {*OBJECTS, "image_0001.dcm"}
    assert findings(outcome.folder / "rtstruct.dcm") == []


@pytest.mark.parametrize("gone", ["one from the middle", "the last"])
def test_a_series_that_lost_slices_while_it_was_segmented(source, out, engine, gone):
    (case,) = find_sources([source])
    read = read_case(Task(case, out, lambda *_: engine, DICOM))
    predicted = predict_case(read)
    files = sorted(source.iterdir())
    files[20 if gone == "one from the middle" else -1].unlink()
    outcome = write_case(predicted)
    assert (outcome.state, outcome.lesions) == ("done", 2)
    assert list(outcome.folder.glob("*.dcm")) == []
    assert "DICOM results could not be made" in outcome.warnings[-1]
    assert outcome.warnings[-1] in (outcome.folder / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")


def test_a_series_with_a_gap_gives_no_structure_set_at_all(source, out, engine):
    sorted(source.iterdir())[17].unlink()
    (outcome,) = run_batch(find_sources([source]), out, lambda *_: engine, DICOM)
    assert (outcome.state, outcome.exit_code) == ("failed", 2)
    assert "slice" in outcome.message
    assert list(out.rglob("*.dcm")) == []


@pytest.mark.parametrize("name", [SCRIPT.replace("/", "_"), "=cmd|' C calc'!A0", '"><img src=x onerror=alert(1)>'])
def test_names_do_nothing_in_pages_and_tables(tmp_path, out, engine, scan, name):
    path = tmp_path / "in" / f"{name}.nii.gz"
    shutil.copy(scan, path)
    options = QUICK.model_copy(update={"formats": ("nifti", "json", "csv", "html"), "layout": "bids"})
    outcome = run(path, out, engine, options)
    page = (outcome.folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page
    table = (outcome.folder / "lesions.csv").read_text(encoding="utf-8")
    cells = [cell for line in csv.reader(table.splitlines()) for cell in line]
    assert not any(cell.startswith(("=", "@", "+")) for cell in cells)
    assert json.loads((outcome.folder / "lesions.json").read_text("utf-8"))["case"] == outcome.case
    (mask,) = (out / "derivatives" / "metseg").glob("sub-*/anat/*.nii.gz")
    assert mask.name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert nib.load(mask).shape == nib.load(scan).shape


def test_a_models_label_names_do_nothing_in_tables():
    manifest = {
        "labels": {"1": "=cmd|' /C calc'!A0", "2": "two\tcells\nand lines"}, "versions": {}, "model": {},
        "options": {}, "lesions": {"count": 0, "volume_mm3": 0.0},
    }  # fmt: skip
    lines = _sidecars(manifest)[".tsv"].decode().splitlines()
    assert lines == ["index\tname", "0\tbackground", "1\t'=cmd|' /C calc'!A0", "2\ttwo cells and lines"]
