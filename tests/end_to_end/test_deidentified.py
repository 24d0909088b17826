"""``--deidentify``: DICOM results that name nobody, held against the profile's table as another project has it."""

import json
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID
from typer.testing import CliRunner

from dicom_cases import findings
from end_to_end.cases import manifest_of, run
from end_to_end.test_no_patient_data import dicom_folder, forbidden
from metseg.cli.main import app
from metseg.config.options import SegmentOptions
from metseg.config.resolve import resolve_options
from metseg.core.errors import ConfigError
from metseg.engines.registry import load_engine
from metseg.io.deidentify import Pseudonyms, read_secret
from metseg.io.dicom import read_dicom
from results import why_no_pdf
from rt_reader import read_rois

FORMATS = ("json", "nifti", "sr", "rtstruct", "secondary-capture", *(() if why_no_pdf() else ("encapsulated-pdf",)))
SHARED = SegmentOptions(engine="threshold", formats=FORMATS, deidentify=True)
# What options of the profile let stay where software wrote it: descriptions (113105) and structured content (113104);
# documents and pictures that hold no identity are their own dummies, and so is the serial number, "none".
CLEANED = {
    "SeriesDescription", "ImageComments", "DocumentTitle", "StructureSetLabel", "StructureSetName",
    "StructureSetDescription", "ROIName", "ROIDescription", "ROIGenerationDescription", "ROIObservationLabel",
    "ContentCreatorName", "ContentSequence", "EncapsulatedDocument", "ConceptNameCodeSequence", "SegmentLabel",
    "ReferencedImageSequence", "SourceImageSequence", "PersonName",
    "ContributionDescription", "DeviceSerialNumber",
}  # fmt: skip


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(bytes(range(40)))
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory, phantom):
    return dicom_folder(tmp_path_factory.mktemp("in") / "study one", phantom)


@pytest.fixture(scope="module")
def shared(source, tmp_path_factory):
    """A finished case, de-identified."""
    return run(source, tmp_path_factory.mktemp("shared"), load_engine("threshold"), SHARED).folder


@pytest.fixture(scope="module")
def plain(source, tmp_path_factory):
    """The same case as it is."""
    options = SHARED.model_copy(update={"deidentify": False})
    return run(source, tmp_path_factory.mktemp("plain"), load_engine("threshold"), options).folder


def objects(folder):
    return {path.name: pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))}


def uids(dataset):
    """All UIDs of instances in a data set."""
    found = set()
    for element in dataset.iterall():
        if element.VR == "UI" and element.value:
            values = [element.value] if isinstance(element.value, str) else element.value
            found |= {str(one) for one in values if not one.startswith("1.2.840.10008.")}
    return found


def test_nothing_names_the_patient_and_all_is_valid(source, shared):
    folder = shared
    assert forbidden(folder.parent) == []
    made = objects(folder)
    assert {"seg.dcm", "sr.dcm", "rtstruct.dcm", "montage.dcm", "image_0001.dcm"} <= set(made)
    before = set().union(*(uids(pydicom.dcmread(path)) for path in source.iterdir()))
    now = set().union(*map(uids, made.values()))
    assert before
    assert before & now == set()
    for name in ("seg.dcm", "sr.dcm", "rtstruct.dcm", "montage.dcm", "image_0001.dcm", "report.dcm"):
        if name in made:
            assert findings(folder / name) == [], name
    for one in made.values():
        assert one.PatientIdentityRemoved == "YES"
        codes = [code.CodeValue for code in one.DeidentificationMethodCodeSequence]
        assert codes == ["113100", "113105", "113104"]
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
        assert all(UID(uid).is_valid for uid in uids(one))
    assert len({(one.PatientID, str(one.PatientName), one.StudyInstanceUID) for one in made.values()}) == 1
    assert any("a face can be recognised" in warning for warning in manifest_of(folder)["warnings"])


def test_every_attribute_of_the_profiles_table_is_dealt_with(shared):
    fields = pytest.importorskip("dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c")
    made = objects(shared)
    removed, emptied = set(fields.X_TAGS), set(fields.Z_TAGS)
    others = set(fields.ALL_TAGS) - removed - emptied - set(fields.U_TAGS)
    left = set()
    for name, dataset in made.items():
        for element in dataset.iterall():
            tag = (element.tag.group, element.tag.element)
            dummy = element.VR in {"DA", "TM", "DT"} and str(element.value) in {"19000101", "000000", "19000101000000"}
            pseudonym = element.keyword in {"PatientName", "PatientID"} and str(element.value).startswith("SUBJ-")
            if element.keyword in CLEANED or element.is_empty or (dummy and tag not in removed) or pseudonym:
                continue
            if tag in removed | emptied | others:
                left.add((name[:5], element.keyword))
    assert left == set()


def test_references_hold_together_and_places_stay(shared, plain, phantom):
    folder, made = shared, objects(shared)
    images = {str(one.SOPInstanceUID) for name, one in made.items() if name.startswith("image_")}
    (series,) = {str(one.SeriesInstanceUID) for name, one in made.items() if name.startswith("image_")}
    segmentation, structures = made["seg.dcm"], made["rtstruct.dcm"]
    assert str(segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID) == series
    frames = segmentation.PerFrameFunctionalGroupsSequence
    pointed = {str(f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID) for f in frames}
    assert pointed <= images
    assert str(segmentation.SOPInstanceUID) in uids(made["sr.dcm"])
    assert {str(one.TrackingUID) for one in segmentation.SegmentSequence} <= uids(made["sr.dcm"])
    table = json.loads((folder / "lesions.json").read_text())["lesions"]
    assert {one["tracking_uid"] for one in table}.isdisjoint(uids(segmentation))
    names = {str(one.TrackingID) for one in segmentation.SegmentSequence}
    assert names.isdisjoint(str(one.TrackingID) for one in objects(plain)["seg.dcm"].SegmentSequence)
    assert len({str(one.FrameOfReferenceUID) for one in made.values() if "FrameOfReferenceUID" in one}) == 1
    # The same voxels in the world, though slices may run the other way.
    for moved, left in zip(read_rois(structures), read_rois(objects(plain)["rtstruct.dcm"]), strict=True):
        points = [np.unique(np.round(np.concatenate(roi.contours), 3), axis=0) for roi in (moved, left)]
        assert [each.min(axis=0) == pytest.approx(points[1].min(axis=0), abs=2e-3) for each in points] == [True, True]
        assert points[0].max(axis=0) == pytest.approx(points[1].max(axis=0), abs=2e-3)
    grid = read_dicom(sorted(folder.glob("image_*.dcm"))).volume.grid
    corners = [np.sort(each.to_world([(0, 0, 0), np.array(each.shape) - 1]), axis=0) for each in (
        grid, phantom.study.grid,
    )]  # fmt: skip
    assert corners[0] == pytest.approx(corners[1], abs=1e-4)


def test_a_key_gives_a_patient_one_pseudonym_at_all_visits(source, tmp_path, engine, key):
    later = tmp_path / "later"
    shutil.copytree(source, later)
    for path in later.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = "1.2.3.4"
        pixels = np.frombuffer(dataset.PixelData, "<i2") + 1
        dataset.PixelData = pixels.astype("<i2").tobytes()
        dataset.save_as(path)
    options = SHARED.model_copy(update={"formats": ("secondary-capture",), "deidentify_key": key})
    first, again = (objects(run(path, tmp_path / "a", engine, options).folder) for path in (source, later))
    one, two = first["montage.dcm"], again["montage.dcm"]
    assert one.PatientID == two.PatientID
    assert one.StudyInstanceUID != two.StudyInstanceUID
    manifest = (tmp_path / "a" / "later" / "run.json").read_text()
    assert str(tmp_path) not in manifest
    assert json.loads(manifest)["options"]["deidentify_key"] is True
    assert run(later, tmp_path / "a", engine, options).state == "skipped"
    key.write_bytes(bytes(range(1, 41)))
    other = run(later, tmp_path / "a", engine, options)
    assert other.state == "done"
    assert objects(other.folder)["montage.dcm"].PatientID != two.PatientID
    without = [
        objects(run(source, tmp_path / name, engine, options.model_copy(update={"deidentify_key": None})).folder)
        for name in ("b", "c")
    ]
    assert without[0]["montage.dcm"].PatientID != without[1]["montage.dcm"].PatientID


def test_a_nifti_case_is_named_by_a_pseudonym_too(scan, out, engine):
    folder = run(scan, out, engine, SHARED.model_copy(update={"formats": ("secondary-capture",)})).folder
    made = objects(folder)
    sha256 = manifest_of(folder)["input"]["sha256"]
    for one in made.values():
        assert one.PatientID.startswith("SUBJ-")
        assert sha256[:12] not in str(one)


def test_the_command_takes_a_key_and_brings_deidentify_with_it(scan, out, key):
    command = ["segment", str(scan), "-o", str(out), "--engine", "threshold", "--formats", "nifti,secondary-capture"]
    result = CliRunner().invoke(app, [*command, "--deidentify-key", str(key), "--layout", "nnunet"])
    assert result.exit_code == 0, result.output
    (folder,) = (out / "results").iterdir()
    told = manifest_of(folder)["options"]
    assert (told["deidentify"], told["deidentify_key"], told["layout"]) == (True, True, "nnunet")
    assert objects(folder)["montage.dcm"].PatientIdentityRemoved == "YES"
    refused = CliRunner().invoke(app, [*command, "--deidentify", "--identify"])
    assert refused.exit_code == 2
    assert "identify and deidentify exclude each other" in " ".join(refused.output.split())


def test_pseudonyms_hang_on_the_secret():
    one, other = Pseudonyms(b"a" * 32, "4711"), Pseudonyms(b"b" * 32, "4711")
    assert one.patient != other.patient
    assert one.patient == Pseudonyms(b"a" * 32, "4711").patient != Pseudonyms(b"a" * 32, "4712").patient
    assert one.uid("1.2.3") == one.uid("1.2.3") != other.uid("1.2.3")
    assert one.uid("1.2.840.10008.1.2.1") == "1.2.840.10008.1.2.1"
    assert "4711" not in one.patient


@pytest.mark.parametrize("content", [b"", b"short", b"a" * 64, bytes(range(256)) * 20])
def test_what_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="key file key is no key"):
        read_secret(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(tmp_path / "none")
    assert read_secret(None) != read_secret(None)


def test_identify_and_deidentify_exclude_each_other(key):
    with pytest.raises(ConfigError, match="identify and deidentify exclude each other"):
        resolve_options(flags={"identify": True, "deidentify": True})
    with pytest.raises(ConfigError, match="deidentify_key needs deidentify"):
        resolve_options(file={"deidentify_key": str(key)})
