"""``metseg segment --formats dicom-seg,sr,rtstruct,secondary-capture``, from files to files."""

import json
import shutil
import subprocess
import zipfile
from dataclasses import replace

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest

from dicom_cases import findings
from end_to_end.cases import LESIONS, manifest_of, run
from end_to_end.test_no_patient_data import CANARY, dicom_folder, forbidden
from metseg.config.options import SegmentOptions
from metseg.io.dicom import read_dicom
from metseg.io.discover import find_sources, named_sources
from metseg.pipeline.case import run_case
from metseg.pipeline.dicom_outputs import write_dicom
from metseg.pipeline.segment import segment
from results import why_no_pdf
from rt_reader import fill, read_rois

DICOM = SegmentOptions(engine="threshold", formats="nifti,json,sr,rtstruct,secondary-capture", margins_mm="2")
FILED = ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "AccessionNumber")
FILES = ("seg.dcm", "sr.dcm", "rtstruct.dcm", "montage.dcm")


def lps_centres(folder):
    """Where segments, regions and the report's table have the lesions."""
    table = json.loads((folder / "lesions.json").read_text())["lesions"]
    return [np.multiply(each["centre_mm"], (-1, -1, 1)) for each in table]


def centres_of_segments(segmentation):
    volume = highdicom.seg.Segmentation.from_dataset(segmentation).get_volume(combine_segments=True)
    array = np.asarray(volume.array).squeeze()
    return [
        volume.map_indices_to_reference(np.argwhere(array == n).mean(axis=0)[None])[0]
        for n in range(1, int(array.max()) + 1)
    ], array


def items(dataset):
    """All content items of a report, in order."""
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from items(item)


@pytest.fixture(params=["dicom", "nifti"])
def made(request, tmp_path, out, engine, phantom, scan):
    """A finished case, the folder of its images, and what they were made of."""
    if request.param == "nifti":
        folder = run(scan, out, engine, DICOM).folder
        return folder, sorted(folder.glob("image_*.dcm"))
    source = dicom_folder(tmp_path / "study one", phantom)
    return run(source, out, engine, DICOM).folder, sorted(source.iterdir())


def test_every_object_is_valid_and_filed_with_its_images(made):
    folder, images = made
    assert [warning for warning in manifest_of(folder)["warnings"] if "made" in warning] == []
    assert {path.name for path in folder.glob("*.dcm")} - {path.name for path in images} == set(FILES)
    image = pydicom.dcmread(images[0])
    for name in FILES:
        dataset = pydicom.dcmread(folder / name)
        for keyword in FILED:
            assert dataset.get(keyword) == image.get(keyword), keyword
        assert dataset.SOPInstanceUID.startswith("2.25.")
        assert dataset.SeriesInstanceUID != image.SeriesInstanceUID
        assert "not for primary diagnosis" in dataset.SeriesDescription
        assert findings(folder / name) == [], name


def test_all_formats_agree_where_the_lesions_are(made):
    folder, images = made
    expected = lps_centres(folder)
    centres, array = centres_of_segments(pydicom.dcmread(folder / "seg.dcm"))
    assert np.allclose(centres, expected, atol=1e-3)
    slices = [pydicom.dcmread(path) for path in images]
    table = json.loads((folder / "lesions.json").read_text())["lesions"]
    structures = pydicom.dcmread(folder / "rtstruct.dcm")
    rois = read_rois(structures)
    assert [roi.name for roi in rois] == ["GTV_01", "GTV_02", "PTV_01_2mm", "PTV_02_2mm"]
    for roi, lesion, centre in zip(rois, table, expected, strict=False):
        points = np.concatenate(roi.contours)
        assert (points.min(axis=0) + points.max(axis=0)) / 2 == pytest.approx(centre, abs=2)
        assert fill(roi, slices).sum() == (array == lesion["id"]).sum()
    # In the world: the first lesion lies to the right and in front, so its x is negative in LPS, its y too.
    x, y, z = LESIONS[0].centre_mm
    assert expected[0] == pytest.approx((-x, -y, z), abs=1.5)


def test_the_report_gives_the_table_and_refers_to_the_segments(made):
    folder, images = made
    table = json.loads((folder / "lesions.json").read_text())["lesions"]
    segmentation, report = (pydicom.dcmread(folder / name) for name in ("seg.dcm", "sr.dcm"))
    numbers = [
        (str(item.ConceptNameCodeSequence[0].CodeMeaning), float(item.MeasuredValueSequence[0].NumericValue))
        for item in items(report)
        if item.ValueType == "NUM"
    ]
    for name, key, scale in (
        ("Volume", "volume_mm3", 1), ("Long Axis", "diameter_mm", 1), ("Perpendicular Axis", "perpendicular_mm", 1),
        ("Certainty of Finding", "confidence", 100),
    ):  # fmt: skip
        found = [value for meaning, value in numbers if meaning.casefold() == name.casefold()]
        assert found == pytest.approx([scale * each[key] for each in table], abs=0.01), numbers
    uids = [str(item.UID) for item in items(report) if item.ValueType == "UIDREF" and "Tracking" in str(item)]
    assert uids == [each["tracking_uid"] for each in table]
    assert uids == [str(segment.TrackingUID) for segment in segmentation.SegmentSequence]
    referenced = {
        str(s.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for s in items(report) if s.ValueType == "IMAGE"
    }
    assert str(segmentation.SOPInstanceUID) in referenced
    known = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in images}
    assert referenced - {str(segmentation.SOPInstanceUID)} <= known
    assert len(referenced) > 2


def test_patient_data_is_in_the_dicom_files_alone(tmp_path, out, engine, phantom, caplog, capfd):
    folder = run(dicom_folder(tmp_path / "study one", phantom), out, engine, DICOM).folder
    assert set(forbidden(out)) == set(FILES)
    assert CANARY in str(pydicom.dcmread(folder / "rtstruct.dcm").PatientName)
    assert CANARY[:5] not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.skipif(bool(why_no_pdf()), reason=f"needs the extra pdf: {why_no_pdf()}")
@pytest.mark.parametrize("identify", [False, True])
def test_the_pdf_in_dicom_is_the_report_and_names_nobody_unasked(tmp_path, out, engine, phantom, identify):
    source = dicom_folder(tmp_path / "study one", phantom)
    options = SegmentOptions(engine="threshold", formats="encapsulated-pdf", identify=identify)
    folder = run(source, out, engine, options).folder
    assert findings(folder / "report.dcm") == []
    made = pydicom.dcmread(folder / "report.dcm")
    content = made.EncapsulatedDocument[: made.EncapsulatedDocumentLength]
    assert content.startswith(b"%PDF-1.7")
    assert content.endswith(b"%%EOF\n")
    assert made.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert made.BurnedInAnnotation == ("YES" if identify else "NO")
    assert made.SeriesNumber == 9105
    assert "not for primary diagnosis" in made.SeriesDescription
    image = pydicom.dcmread(next(source.iterdir()))
    assert [made[name].value for name in FILED] == [image[name].value for name in FILED]
    assert made.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert len(made.SourceInstanceSequence) == len(list(source.iterdir()))
    path = tmp_path / "report.pdf"
    path.write_bytes(content)
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext (Debian: poppler-utils)")
    text = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True).stdout
    assert "2 lesions" in text
    assert ("Zyxwvut" in text) == identify


def test_images_made_of_nifti_are_read_back_as_they_were(scan, out, engine, phantom):
    folder = run(scan, out, engine, DICOM).folder
    image = read_dicom(sorted(folder.glob("image_*.dcm")))
    source = phantom.study.images["t1c"]
    canonical = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(image.volume.array), image.volume.grid.affine))
    wanted = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(source.array), source.grid.affine))
    assert np.allclose(canonical.affine, wanted.affine, atol=1e-4)
    values, expected = canonical.get_fdata(), wanted.get_fdata()
    scale = np.polyfit(values.ravel(), expected.ravel(), 1)
    assert np.abs(np.polyval(scale, values) - expected).max() < 2e-5 * np.ptp(expected)
    assert pydicom.dcmread(folder / "image_0001.dcm").PatientName == "Anonymous^Research"
    assert findings(folder / "image_0001.dcm") == []


def test_a_series_without_a_frame_of_reference_costs_only_the_dicom_files(tmp_path, out, engine, phantom):
    source = dicom_folder(tmp_path / "study", phantom)
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)
    outcome = run(source, out, engine, DICOM)
    assert outcome.state == "done"
    assert [path.name for path in outcome.folder.glob("*.dcm")] == []
    warning = outcome.warnings[-1]
    assert "no frame of reference (FrameOfReferenceUID)" in warning
    assert (outcome.folder / "lesions.nii.gz").exists()


def test_slices_that_share_a_uid_cost_only_the_dicom_files(tmp_path, out, engine, phantom):
    source = dicom_folder(tmp_path / "study", phantom)
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        dataset.save_as(path)
    outcome = run(source, out, engine, DICOM)
    assert (outcome.state, list(outcome.folder.glob("*.dcm"))) == ("done", [])
    assert "slices without a UID of their own" in outcome.warnings[-1]


def test_no_lesion_gives_a_report_that_says_so_and_no_empty_objects(tmp_path, out, engine, phantom):
    source = dicom_folder(tmp_path / "study", phantom)
    options = SegmentOptions(engine="threshold", formats="json,html,rtstruct,sr", operating_point=0.999999)
    outcome = run(source, out, engine, options)
    assert outcome.lesions == 0
    assert [path.name for path in outcome.folder.glob("*.dcm")] == ["sr.dcm"]
    assert [warning.partition(":")[0] for warning in outcome.warnings[-2:]] == [
        "seg.dcm was not written", "rtstruct.dcm was not written",
    ]  # fmt: skip
    page = (outcome.folder / "report.html").read_text(encoding="utf-8")
    assert all(warning in page for warning in outcome.warnings[-2:])
    assert findings(outcome.folder / "sr.dcm") == []
    report = pydicom.dcmread(outcome.folder / "sr.dcm")
    codes = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.ConceptCodeSequence[0].CodeMeaning
        for item in items(report)
        if item.ValueType == "CODE"
    }
    assert (codes["Finding"], codes["Presence of property"]) == (
        "Neoplasm, metastatic (morphologic abnormality)",
        "Not seen",
    )
    (number,) = (item for item in items(report) if item.ValueType == "NUM")
    assert float(number.MeasuredValueSequence[0].NumericValue) == 0
    texts = [str(item.TextValue) for item in items(report) if item.ValueType == "TEXT"]
    assert f"metseg {engine.card.name}" in texts
    assert any("Software found no lesion, which does not exclude one." in text for text in texts)
    referenced = [
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in items(report)
        if item.ValueType == "IMAGE"
    ]
    images = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in source.iterdir()]
    assert sorted(referenced) == sorted(images)
    again = run(source, tmp_path / "again", engine, options).folder
    assert pydicom.dcmread(again / "sr.dcm").SOPInstanceUID == report.SOPInstanceUID


@pytest.mark.skipif(bool(why_no_pdf()), reason=f"needs the extra pdf: {why_no_pdf()}")
def test_a_study_without_lesions_has_its_report_in_dicom_too(tmp_path, out, engine, phantom):
    options = SegmentOptions(engine="threshold", formats="encapsulated-pdf", operating_point=0.999999)
    outcome = run(dicom_folder(tmp_path / "study one", phantom), out, engine, options)
    assert outcome.lesions == 0
    assert findings(outcome.folder / "report.dcm") == []


def test_the_same_input_has_the_same_uids_and_labelmaps_hold_the_same_voxels(scan, tmp_path, engine):
    first, again = (run(scan, tmp_path / name, engine, DICOM).folder for name in ("a", "b"))
    labelmap = run(scan, tmp_path / "c", engine, DICOM.model_copy(update={"seg_type": "labelmap"})).folder
    uids = [[str(pydicom.dcmread(folder / name).SOPInstanceUID) for name in FILES] for folder in (first, again)]
    assert uids[0] == uids[1]
    arrays = [centres_of_segments(pydicom.dcmread(folder / "seg.dcm"))[1] for folder in (first, labelmap)]
    assert np.array_equal(*arrays)
    assert pydicom.dcmread(labelmap / "seg.dcm").SOPInstanceUID != uids[0][0]


def test_names_are_handed_over_from_the_visit_before(scan, tmp_path, engine, phantom):
    before = run(scan, tmp_path / "before", engine, DICOM).folder
    moved = nib.load(scan)
    later = tmp_path / "later.nii.gz"
    nib.save(nib.Nifti1Image(moved.get_fdata(dtype=np.float32) * 1.01 + 1, moved.affine), later)
    (case,) = find_sources([later])
    guided = run_case(replace(case, prior=before / "lesions.nii.gz"), tmp_path / "out", engine, DICOM).folder
    alone = run(later, tmp_path / "alone", engine, DICOM).folder
    uids = [
        [each["tracking_uid"] for each in json.loads((folder / "lesions.json").read_text())["lesions"]]
        for folder in (before, guided, alone)
    ]
    assert uids[0] == uids[1]
    assert set(uids[0]).isdisjoint(uids[2])


def test_a_zip_gives_the_same_objects_as_its_folder(tmp_path, out, engine, phantom):
    source = dicom_folder(tmp_path / "study", phantom)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.iterdir()):
            archive.write(path, f"A/{path.name}")
    plain, packed = run(source, out, engine, DICOM), run(tmp_path / "packed.zip", out, engine, DICOM)
    named = run_case(named_sources({"t1c": source}, case="named"), out, engine, DICOM)
    uids = [
        [str(pydicom.dcmread(outcome.folder / name).SOPInstanceUID) for name in FILES[:3]]
        for outcome in (plain, packed, named)
    ]
    assert uids[0] == uids[1] == uids[2]


def test_margins_that_cannot_be_cut_at_the_brain_are_told_of(scan, out, engine):
    options = DICOM.model_copy(update={"margins_in_brain": True, "formats": ("json", "rtstruct")})
    outcome = run(scan, out, engine, options)
    structures = pydicom.dcmread(outcome.folder / "rtstruct.dcm")
    assert len(structures.StructureSetROISequence) == 4
    assert any("Margins were not cut at the brain's edge" in warning for warning in outcome.warnings)


def test_margins_end_at_the_brain_where_the_skull_is_off(scan, out, engine, phantom):
    study = replace(phantom.study, source=replace(phantom.study.source, sha256="0" * 64), skull_stripped=True)
    result = segment(study, engine, DICOM)
    image = study.images["t1c"]
    emptied = np.array(image.array)
    first, _ = result.lesions.lesions[0].bbox_ijk
    emptied[: first[0]] = 0  # nothing is left on one side of the largest lesion
    cut = replace(result, study=replace(study, images={"t1c": replace(image, array=emptied)}))
    (case,) = find_sources([scan])
    reach = []
    for number, each in enumerate((result, cut)):
        folder = out / str(number)
        folder.mkdir(parents=True)
        options = DICOM.model_copy(update={"margins_in_brain": True, "formats": ("rtstruct",)})
        assert write_dicom(each, case, folder, options).warnings == []
        roi = next(one for one in read_rois(pydicom.dcmread(folder / "rtstruct.dcm")) if one.name == "PTV_01_2mm")
        ras = np.concatenate(roi.contours) * (-1, -1, 1)
        reach.append(image.grid.to_index(ras)[:, 0].min())
    assert reach[0] == pytest.approx(first[0] - 0.5 - 2 / image.grid.spacing_mm[0], abs=0.05)
    assert reach[1] == pytest.approx(first[0] - 0.5, abs=1e-3)
