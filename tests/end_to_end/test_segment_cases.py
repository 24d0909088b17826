"""Cases from files to result folders, with the numpy engine: whole, skipped, redone, failed, killed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from metseg.config.options import SegmentOptions
from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.engines.registry import load_engine
from metseg.engines.threshold_engine import ThresholdEngine
from metseg.io.discover import find_sources, named_sources
from metseg.io.nifti import write_nifti
from metseg.pipeline import outputs
from metseg.pipeline.batch import batch_exit_code, run_batch
from metseg.pipeline.case import run_case
from metseg.pipeline.intake import find_cases
from metseg.testing.phantoms import Ellipsoid, make_phantom

QUICK = SegmentOptions(engine="threshold", formats="nifti,json,csv")
SHAPE, SPACING = (44, 50, 40), (3.6, 3.2, 2.9)


def make_grid() -> Grid:
    affine = np.diag([-SPACING[0], SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = 77, -80, -58
    return Grid(SHAPE, affine)


LESIONS = (Ellipsoid.sphere((20, 12, 5), 20), Ellipsoid.sphere((-30, -20, -8), 15))


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(make_grid(), LESIONS, noise=16)


@pytest.fixture
def scan(tmp_path, phantom) -> Path:
    path = tmp_path / "in" / "Köpfe 1.nii.gz"
    path.parent.mkdir()
    write_nifti(path, phantom.study.images["t1c"])
    return path


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "aus gabe"


@pytest.fixture
def engine():
    return load_engine("threshold")


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def run(path, out, engine, options=QUICK, **more):
    (case,) = find_sources([path])
    return run_case(case, out, engine, options, **more)


def test_a_case_gives_every_file_and_they_agree(scan, out, engine, phantom):
    options = SegmentOptions(engine="threshold", formats="nifti,json,csv,png,html,probability")
    outcome = run(scan, out, engine, options)
    folder = out / "Köpfe 1"
    assert (outcome.state, outcome.lesions, outcome.exit_code) == ("done", 2, 0)
    assert outcome.folder == folder
    assert outcome.report == folder / "report.html"
    written = {"segmentation.nii.gz", "lesions.nii.gz", "probability.nii.gz", "lesions.json", "lesions.csv"}
    assert {path.name for path in folder.iterdir()} == written | {"preview.png", "report.html", "run.json"}
    instances = nib.load(folder / "lesions.nii.gz")
    source = nib.load(scan)
    np.testing.assert_array_equal(instances.affine, source.affine)
    assert (instances.header["sform_code"], instances.header["qform_code"]) == (
        source.header["sform_code"],
        source.header["qform_code"],
    )
    array = np.asarray(instances.dataobj)
    segmentation = np.asarray(nib.load(folder / "segmentation.nii.gz").dataobj)
    np.testing.assert_array_equal(segmentation, array > 0)
    probability = np.asarray(nib.load(folder / "probability.nii.gz").dataobj)
    np.testing.assert_array_equal(probability >= 0.5, array > 0)
    table = json.loads((folder / "lesions.json").read_text())["lesions"]
    assert [lesion["id"] for lesion in table] == [1, 2]
    for lesion, shape in zip(table, LESIONS, strict=True):
        assert lesion["centre_mm"] == pytest.approx(shape.centre_mm, abs=1.5)
        assert lesion["volume_mm3"] == pytest.approx((array == lesion["id"]).sum() * np.prod(SPACING), rel=1e-4)
    assert len((folder / "lesions.csv").read_text().splitlines()) == 3
    assert (folder / "preview.png").read_bytes().startswith(b"\x89PNG")
    both = (array > 0) & (phantom.truth.array > 0)
    assert 2 * both.sum() / ((array > 0).sum() + (phantom.truth.array > 0).sum()) > 0.8


def test_the_manifest_says_how_and_names_every_file(scan, out, engine):
    run(scan, out, engine)
    folder = out / "Köpfe 1"
    manifest = manifest_of(folder)
    listed = {item["name"]: item["sha256"] for item in manifest["outputs"]}
    assert listed == {name: value for name, value in hashes(folder).items() if name != "run.json"}
    assert manifest["input"]["sha256"] == hashlib.sha256(scan.read_bytes()).hexdigest()
    assert manifest["input"]["files"] == ["Köpfe 1.nii.gz"]
    assert manifest["options"]["formats"] == ["nifti", "json", "csv"]
    assert manifest["lesions"]["count"] == 2
    assert set(manifest["timings_s"]) == {"read", "check", "predict", "label", "measure", "write"}
    assert any("3.6 mm apart" in warning for warning in manifest["warnings"])
    for path in folder.iterdir():
        assert str(scan.parent).encode() not in path.read_bytes()


def test_users_files_are_left_as_they_are(scan, out, engine):
    (scan.parent / "link to it.nii.gz").symlink_to(scan)
    before, times = hashes(scan.parent), {p.name: p.lstat().st_mtime_ns for p in scan.parent.iterdir()}
    outcomes = run_batch(find_sources([scan.parent]), out, engine, QUICK)
    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert sorted(outcome.case for outcome in outcomes) == ["Köpfe 1", "link to it"]
    assert hashes(scan.parent) == before
    assert {p.name: p.lstat().st_mtime_ns for p in scan.parent.iterdir()} == times
    assert (scan.parent / "link to it.nii.gz").is_symlink()


def inode(folder):
    return (folder / "run.json").stat().st_ino


def test_a_finished_case_is_skipped_and_force_redoes_it(scan, out, engine):
    first = run(scan, out, engine)
    before = inode(first.folder)
    again = run(scan, out, engine)
    assert (again.state, again.lesions, again.volume_mm3) == ("skipped", first.lesions, first.volume_mm3)
    assert inode(first.folder) == before
    assert run(scan, out, engine, QUICK.model_copy(update={"threads": 1})).state == "skipped"
    assert run(scan, out, engine, QUICK.model_copy(update={"operating_point": "default"})).state == "skipped"
    assert run(scan, out, engine, force=True).state == "done"
    assert inode(first.folder) != before


@pytest.mark.parametrize(
    "change",
    [{"operating_point": 0.4}, {"min_volume_mm3": 1.0}, {"formats": ("nifti",)}, {"force_modality": True}],
)
def test_other_options_redo_it(scan, out, engine, change):
    run(scan, out, engine)
    outcome = run(scan, out, engine, QUICK.model_copy(update=change))
    assert outcome.state == "done"
    wanted = set(outputs.file_names(change.get("formats", QUICK.formats))) | {"run.json"}
    assert {path.name for path in outcome.folder.iterdir()} == wanted


def test_another_input_another_model_or_a_missing_file_redo_it(scan, out, engine, phantom):
    folder = run(scan, out, engine).folder
    (folder / "lesions.csv").unlink()
    assert run(scan, out, engine).state == "done"
    assert (folder / "lesions.csv").exists()

    class Other(ThresholdEngine):
        card = ThresholdEngine.card.model_copy(update={"sha256": "f" * 64})

    assert run(scan, out, Other()).state == "done"
    assert run(scan, out, Other()).state == "skipped"
    other = make_phantom(phantom.study.grid, LESIONS[:1], noise=16)
    write_nifti(scan, other.study.images["t1c"])
    outcome = run(scan, out, Other())
    assert (outcome.state, outcome.lesions) == ("done", 1)


def test_a_mask_that_the_user_corrected_is_not_lost(scan, out, engine):
    folder = run(scan, out, engine).folder
    (folder / "segmentation.nii.gz").write_bytes(b"corrected")
    changed = QUICK.model_copy(update={"min_volume_mm3": 1.0})
    with pytest.raises(InputError, match="was changed since metseg wrote it"):
        run(scan, out, engine, changed)
    assert (folder / "segmentation.nii.gz").read_bytes() == b"corrected"
    assert run(scan, out, engine, changed, force=True).state == "done"


def test_a_folder_of_the_user_in_the_way_is_left_alone(scan, out, engine):
    (out / "Köpfe 1").mkdir(parents=True)
    (out / "Köpfe 1" / "thesis.docx").write_text("mine")
    with pytest.raises(InputError, match="metseg did not write"):
        run(scan, out, engine, force=True)
    assert hashes(out) == {"Köpfe 1/thesis.docx": hashlib.sha256(b"mine").hexdigest()}


def test_no_lesion_is_a_result_too(tmp_path, out, engine, phantom):
    path = tmp_path / "nothing.nii.gz"
    write_nifti(path, make_phantom(phantom.study.grid, [], noise=16).study.images["t1c"])
    outcome = run(path, out, engine, SegmentOptions(engine="threshold"))
    assert (outcome.state, outcome.lesions, outcome.volume_mm3) == ("done", 0, 0)
    assert not np.asarray(nib.load(outcome.folder / "lesions.nii.gz").dataobj).any()
    assert json.loads((outcome.folder / "lesions.json").read_text())["lesions"] == []
    assert (outcome.folder / "report.html").exists()


def test_failing_cases_among_good_ones_stop_nobody(scan, out, phantom):
    (scan.parent / "a broken.nii.gz").write_bytes(scan.read_bytes()[:2000])
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[10:20, 10:20, 10:20] = 1
    nib.save(nib.Nifti1Image(mask, make_grid().affine), scan.parent / "b mask.nii.gz")
    for name in ("c memory", "d surprise", "e engine"):
        (scan.parent / f"{name}.nii.gz").write_bytes(scan.read_bytes())

    class Fragile(ThresholdEngine):
        def predict(self, study, **more):
            if study.case == "c memory":
                raise MemoryError
            if study.case == "e engine":
                raise RuntimeError("PatientName Secret^Person")
            return super().predict(study, **more)

    class Surprising(Fragile):
        @property
        def card(self):
            return ThresholdEngine.card

    cases, failures = find_cases([scan.parent, scan.parent / "z nowhere.nii"], out)
    seen = []
    results = [*run_batch(cases, out, Surprising(), QUICK, on_outcome=seen.append), *failures]
    states = {outcome.case: (outcome.state, outcome.exit_code) for outcome in results}
    assert states == {
        "Köpfe 1": ("done", 0),
        "a broken": ("failed", 2),
        "b mask": ("failed", 2),
        "c memory": ("failed", 1),
        "d surprise": ("done", 0),
        "e engine": ("failed", 5),
        "z nowhere.nii": ("failed", 2),
    }
    assert seen == results[:-1]
    assert batch_exit_code(results) == 5
    assert all(outcome.message and outcome.hint for outcome in results if outcome.state == "failed")
    assert not any("Secret" in outcome.message + outcome.hint for outcome in results)
    assert sorted(path.name for path in out.iterdir()) == ["Köpfe 1", "d surprise"]


def test_what_nobody_foresaw_is_told_without_its_text(scan, out, engine, monkeypatch):
    def surprise(*_, **__):
        raise KeyError("Secret^Person")

    monkeypatch.setattr("metseg.pipeline.case.read_study", surprise)
    (outcome,) = run_batch(find_sources([scan]), out, engine, QUICK)
    assert (outcome.state, outcome.exit_code) == ("failed", 1)
    assert outcome.message == "Something unexpected went wrong (KeyError)."
    assert "KeyError" in outcome.details
    assert list(out.iterdir()) == []


def test_an_interrupt_ends_the_batch_and_leaves_no_half_result(scan, out):
    (scan.parent / "a first.nii.gz").write_bytes(scan.read_bytes())

    class Interrupted(ThresholdEngine):
        def predict(self, study, **more):
            if study.case == "Köpfe 1":
                raise KeyboardInterrupt
            return super().predict(study, **more)

    cases = sorted(find_sources([scan.parent]), key=lambda case: case.case != "a first")
    with pytest.raises(KeyboardInterrupt):
        run_batch(cases, out, Interrupted(), QUICK)
    assert [path.name for path in out.iterdir()] == ["a first"]


def test_a_report_that_cannot_be_drawn_does_not_cost_the_mask(scan, out, engine, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no font")

    monkeypatch.setattr("metseg.report.pictures.draw_pictures", fail)
    outcome = run(scan, out, engine, SegmentOptions(engine="threshold"))
    assert (outcome.state, outcome.lesions, outcome.report) == ("done", 2, None)
    assert {path.name for path in outcome.folder.iterdir()} == {
        "segmentation.nii.gz",
        "lesions.nii.gz",
        "lesions.json",
        "lesions.csv",
        "run.json",
    }
    assert any("could not be drawn (ValueError)" in w for w in manifest_of(outcome.folder)["warnings"])


def test_a_disk_that_fills_up_leaves_the_old_result(scan, out, engine, monkeypatch):
    folder = run(scan, out, engine).folder
    before = hashes(out)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "write_lesions_csv", full)
    (outcome,) = run_batch(find_sources([scan]), out, engine, QUICK, force=True)
    assert outcome.message == "The system refused: No space left on device."
    assert hashes(out) == before
    assert folder.is_dir()


def test_named_sequences_make_one_case(scan, out, engine):
    case = named_sources({"t1n": scan, "t1c": scan})
    outcome = run_case(case, out, engine, QUICK)
    assert (outcome.case, outcome.state, outcome.lesions) == ("Köpfe 1", "done", 2)


CANARY = "Zyxwvut^Qponmlk"


def dicom_folder(folder: Path, phantom, storage=MRImageStorage, modality="MR") -> Path:
    """The phantom as a DICOM series that names a patient wherever DICOM has a place for it."""
    folder.mkdir(parents=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    array, grid = phantom.study.images["t1c"].array, phantom.study.grid
    for k in range(array.shape[2]):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = storage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d = pydicom.Dataset()
        d.file_meta = meta
        d.SOPClassUID, d.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
        d.PatientName, d.PatientID, d.PatientBirthDate = CANARY, CANARY, "19331122"
        d.InstitutionName = d.ReferringPhysicianName = d.AccessionNumber = d.StudyID = d.PatientComments = CANARY[:16]
        d.StudyDate = d.SeriesDate = d.ContentDate = d.AcquisitionDate = "19871213"
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = study, series, frame
        d.SeriesDescription, d.ProtocolName = f"T1 {CANARY}", "T1C"
        d.Modality, d.ContrastBolusAgent, d.InstanceNumber = modality, "agent", k + 1
        lps = grid.to_world((0, 0, k)) * (-1, -1, 1)
        d.ImagePositionPatient = [f"{x:.6f}" for x in lps]
        # Columns run along i, which points to the left here; rows along j, to the front.
        d.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
        d.PixelSpacing, d.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
        d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = SHAPE[1], SHAPE[0], 1, "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
        d.PixelData = np.rint(array[:, :, k].T).astype("<i2").tobytes()
        d.save_as(folder / f"IM{k:04d}", enforce_file_format=True)
    return folder


def forbidden(out: Path) -> list[str]:
    """Outputs that hold the patient's name or dates, in the clear or compressed."""
    import gzip

    found = []
    for path in out.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        content = gzip.decompress(content) if path.name.endswith(".gz") else content
        text = (content + str(path.name).encode()).lower()
        found += [path.name for word in (b"zyxwvut", b"qponmlk", b"19331122", b"19871213") if word in text]
    return found


def test_no_output_holds_what_dicom_says_of_the_patient(tmp_path, out, engine, phantom):
    folder = dicom_folder(tmp_path / "study one", phantom)
    outcome = run(folder, out, engine, SegmentOptions(engine="threshold"))
    assert (outcome.case, outcome.state, outcome.lesions) == ("study one", "done", 2)
    table = json.loads((outcome.folder / "lesions.json").read_text())["lesions"]
    assert table[0]["centre_mm"] == pytest.approx(LESIONS[0].centre_mm, abs=1.5)
    assert forbidden(out) == []
    assert manifest_of(outcome.folder)["input"]["files"] == []


def test_a_zip_of_dicom_gives_the_same_lesions(tmp_path, out, engine, phantom):
    folder = dicom_folder(tmp_path / "plain", phantom)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"DICOM/{path.name}")
    plain, packed = run(folder, out, engine), run(tmp_path / "packed.zip", out, engine)
    assert hashes(plain.folder)["lesions.nii.gz"] == hashes(packed.folder)["lesions.nii.gz"]
    assert run(tmp_path / "packed.zip", out, engine).state == "skipped"


def test_a_ct_series_is_refused_by_its_header(tmp_path, out, engine, phantom):
    folder = dicom_folder(tmp_path / "ct", phantom, CTImageStorage, "CT")
    (outcome,) = run_batch(find_sources([folder]), out, engine, QUICK)
    assert (outcome.state, outcome.exit_code) == ("failed", 2)
    assert list(out.iterdir()) == []


def test_no_output_holds_what_nifti_says_of_the_patient(tmp_path, out, engine, phantom):
    image = nib.Nifti1Image(phantom.study.images["t1c"].array, phantom.study.grid.affine)
    image.header["descrip"] = image.header["aux_file"] = CANARY[:20].encode()
    image.header["intent_name"] = CANARY.encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", f"{CANARY} 19331122".encode()))
    nib.save(image, tmp_path / "scan.nii.gz")
    outcome = run(tmp_path / "scan.nii.gz", out, engine, SegmentOptions(engine="threshold"))
    assert outcome.state == "done"
    assert forbidden(out) == []


# A metseg whose engine, or whose writing of tables, waits for ever; what waits says so in a file first.
HANGING = """
import sys, time
from pathlib import Path
from metseg.cli.main import app
from metseg.engines import registry
from metseg.engines.threshold_engine import ThresholdEngine
from metseg.pipeline import outputs

where, flag = sys.argv[1], Path(sys.argv[2])

def hang(*_, **__):
    flag.touch()
    time.sleep(120)

class Slow(ThresholdEngine):
    def predict(self, study, **more):
        return hang()

if where == "predict":
    registry.load_engine = lambda *_, **__: Slow()
else:
    outputs.write_lesions_csv = hang
app(sys.argv[3:])
"""


def hang_in(where, tmp_path, scan, out):
    script, flag = tmp_path / "hanging.py", tmp_path / "waiting"
    script.write_text(HANGING)
    arguments = ["segment", str(scan), "-o", str(out), "--engine", "threshold", "--formats", "nifti,csv", "--force"]
    process = subprocess.Popen(
        [sys.executable, str(script), where, str(flag), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 90
    while not flag.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"it never got there: {process.communicate()[1].decode()}")
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("where", ["predict", "write"])
def test_a_killed_run_leaves_the_old_result_whole_and_the_next_run_tidies_up(where, tmp_path, scan, out, engine):
    run(scan, out, engine)
    before = hashes(out / "Köpfe 1")
    process = hang_in(where, tmp_path, scan, out)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert hashes(out / "Köpfe 1") == before
    assert sorted(path.name for path in out.iterdir()) == [f".Köpfe 1.partial-{process.pid}", "Köpfe 1"]
    assert run(scan, out, engine).state == "skipped"
    assert [path.name for path in out.iterdir()] == ["Köpfe 1"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_asked_to_stop_tidies_up_itself(number, code, tmp_path, scan, out):
    process = hang_in("write", tmp_path, scan, out)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert b"Traceback" not in errors
    assert list(out.iterdir()) == []
    assert os.path.lexists(scan)
