"""What a file says of the patient reaches no output."""

import gzip
import json
import re
import struct
import zipfile
import zlib
from base64 import b64decode
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from end_to_end.cases import LESIONS, QUICK, SHAPE, SPACING, hashes, manifest_of, run
from metseg.config.options import DEFAULT_FORMATS, SegmentOptions
from metseg.io.discover import find_sources
from metseg.pipeline.batch import run_batch
from results import why_no_pdf

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


def opened(path: Path) -> bytes:
    """A file's bytes, and those of its compressed parts: of gzip, of the streams of a PDF, of the chunks of a PNG."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".pdf":
        for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
            with suppress(zlib.error):
                content += zlib.decompress(stream)
    if path.suffix == ".html":
        for uri in re.findall(rb"data:image/png;base64,([\w+/=]+)", content):
            content += b64decode(uri)
    return content


def png_chunks(content: bytes) -> set[bytes]:
    """Names of the chunks of every PNG in these bytes."""
    names = set()
    for start in (found.start() + 8 for found in re.finditer(rb"\x89PNG\r\n\x1a\n", content)):
        place, name = start, b""
        while name != b"IEND":
            (length,), name = struct.unpack(">I", content[place : place + 4]), content[place + 4 : place + 8]
            names.add(name)
            place += length + 12
    return names


def forbidden(out: Path) -> list[str]:
    """Outputs that hold the patient's name or dates, in the clear or compressed."""
    found = []
    for path in out.rglob("*"):
        text = ((opened(path) if path.is_file() else b"") + str(path.name).encode()).lower()
        words = (b"zyxwvut", b"qponmlk", b"19331122", b"19871213", b"1933-11-22", b"1987-12-13")
        # A PDF may write text as UTF-16.
        found += [path.name for word in words if word in text or word.decode().encode("utf-16-be") in text]
    return found


def test_no_output_holds_what_dicom_says_of_the_patient(tmp_path, out, engine, phantom):
    folder = dicom_folder(tmp_path / "study one", phantom)
    (folder / "Zyxwvut_Qponmlk_19331122_Befund.pdf").write_bytes(b"%PDF")
    (folder / "Befund.Qponmlk").write_bytes(b"letter")
    pdf = ("pdf",) if not why_no_pdf() else ()
    outcome = run(folder, out, engine, SegmentOptions(engine="threshold", formats=(*DEFAULT_FORMATS, *pdf)))
    assert (outcome.case, outcome.state, outcome.lesions) == ("study one", "done", 2)
    assert manifest_of(outcome.folder)["options"]["identify"] is False
    assert "Ignored 2 files that are no image (.pdf, others)." in manifest_of(outcome.folder)["notes"]
    table = json.loads((outcome.folder / "lesions.json").read_text())["lesions"]
    assert table[0]["centre_mm"] == pytest.approx(LESIONS[0].centre_mm, abs=1.5)
    assert forbidden(out) == []
    assert manifest_of(outcome.folder)["input"]["files"] == []
    pictures = opened(outcome.folder / "report.html") + opened(outcome.folder / "preview.png")
    assert png_chunks(pictures) == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}  # none that holds text
    page = (outcome.folder / "report.html").read_text(encoding="utf-8")
    assert "No patient identity on this report." in page
    for lesion in table:  # slices ascend along their normal, which points to the feet here; InstanceNumber to the head
        assert f'{lesion["slice_number"]} <span class="dim">(image {SHAPE[2] - lesion["slice_number"]})' in page


def test_identity_stands_in_the_report_alone_where_it_is_asked_for(tmp_path, out, engine, phantom):
    folder = dicom_folder(tmp_path / "study one", phantom)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "<script>alert(1)</script>"
        dataset.save_as(path)
    options = SegmentOptions(engine="threshold", identify=True)
    outcome = run(folder, out, engine, options)
    assert forbidden(out) == ["report.html"] * 4  # name, first name, both dates
    page = (outcome.folder / "report.html").read_text(encoding="utf-8")
    assert "Zyxwvut, Qponmlk" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert all(date in page for date in ("1933-11-22", "1987-12-13"))
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"DICOM/{path.name}")
    zipped = run(tmp_path / "zipped.zip", out, engine, options)
    assert "Zyxwvut, Qponmlk" in (zipped.folder / "report.html").read_text(encoding="utf-8")
    assert run(folder, out, engine, SegmentOptions(engine="threshold")).state == "done"
    assert "Zyxwvut" not in (outcome.folder / "report.html").read_text(encoding="utf-8")


def test_a_pdf_that_cannot_be_drawn_is_refused_before_the_network_runs(scan, out, engine, monkeypatch):
    monkeypatch.setattr("metseg.report.pdf.importlib.util.find_spec", lambda _: None)
    (outcome,) = run_batch(find_sources([scan]), out, lambda *_: engine, SegmentOptions(formats="nifti,pdf"))
    assert (outcome.state, outcome.exit_code) == ("failed", 3)
    assert outcome.message == "A report as PDF needs WeasyPrint, which is not installed."
    assert "metseg[pdf]" in outcome.hint
    assert not out.exists()


def test_identity_of_a_scan_that_names_nobody(scan, out, engine):
    outcome = run(scan, out, engine, SegmentOptions(engine="threshold", formats="html", identify=True))
    assert "the input names no patient" in (outcome.folder / "report.html").read_text(encoding="utf-8")


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
    (outcome,) = run_batch(find_sources([folder]), out, lambda *_: engine, QUICK)
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


def test_no_output_holds_what_a_zip_calls_its_image(tmp_path, out, engine, phantom):
    image = nib.Nifti1Image(phantom.study.images["t1c"].array, None)
    image.header.set_zooms(SPACING)
    nib.save(image, tmp_path / "plain.nii.gz")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.write(tmp_path / "plain.nii.gz", "Zyxwvut/Qponmlk_19331122.nii")  # not named .gz: gives a note
    outcome = run(tmp_path / "packed.zip", out, engine, SegmentOptions(engine="threshold"))
    assert outcome.state == "done"
    assert any(note.startswith("image 1 of the zip is compressed") for note in manifest_of(outcome.folder)["notes"])
    assert forbidden(out) == []
