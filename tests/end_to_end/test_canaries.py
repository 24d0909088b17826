"""Canaries in the input, and where they may turn up: nowhere, but in DICOM objects filed with the patient's images."""

import json
import logging
import tempfile
import zipfile

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from canaries import OTHERS, PATHS, PATIENT, everything, may_be_filed, plant, told, unpacked
from end_to_end.cases import run
from end_to_end.test_no_patient_data import dicom_folder
from metseg.cli.main import app
from metseg.config.options import FORMATS, SegmentOptions
from metseg.io.discover import find_sources
from metseg.pipeline.batch import run_batch
from results import why_no_pdf

pytest.importorskip("pypdf", reason="needs pypdf, which reads what PDFs say")
WANTED = tuple(name for name in FORMATS if "pdf" not in name or not why_no_pdf())
ALL = SegmentOptions(engine="threshold", formats=WANTED)


@pytest.fixture(scope="module")
def planted(tmp_path_factory, phantom):
    """A series full of canaries, and these."""
    folder = dicom_folder(tmp_path_factory.mktemp("in") / "study one" / "case 7", phantom)
    return folder.parent, plant(folder)


def leaks(folder, words):
    """What each file below a folder tells, by its name; those that tell nothing left out."""
    found = {path.name: told(everything(path), words) for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: labels for name, labels in found.items() if labels}


def test_the_search_finds_what_is_there(planted, tmp_path):
    """A search that finds nothing anywhere would prove nothing."""
    folder, words = planted
    assert {label for labels in leaks(folder, words).values() for label in labels} >= set(words) - {"folder"}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", "x" * 99 + PATIENT["AccessionNumber"])
    image = nib.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4))
    image.header["descrip"] = PATIENT["PatientID"]
    nib.save(image, tmp_path / "b.nii.gz")
    assert leaks(tmp_path, words) == {"a.zip": {"AccessionNumber"}, "b.nii.gz": {"PatientID"}}
    assert told("born 22.11.1933", words) == told("1933-11-22".encode("utf-16-be"), words) == {"PatientBirthDate"}


@pytest.mark.skipif(bool(why_no_pdf()), reason=f"needs the extra pdf: {why_no_pdf()}")
def test_the_search_reads_the_pages_of_a_pdf():
    from metseg.report.pdf import render_pdf

    page = '<html lang="en"><title>t</title><body>Patient ACCQZ8812</body></html>'
    assert told(unpacked(render_pdf(page)), {"a": "ACCQZ8812"}) == {"a"}


@pytest.mark.parametrize("deidentify", [False, True])
def test_canaries_of_dicom(planted, out, engine, caplog, capfd, deidentify):
    folder, words = planted
    caplog.set_level(logging.DEBUG)
    outcome = run(folder, out, engine, ALL.model_copy(update={"deidentify": deidentify}))
    assert (outcome.case, outcome.state) == ("case 7", "done")
    found = leaks(out, words)
    objects = {path.name for path in outcome.folder.glob("*.dcm")}
    assert objects >= {"seg.dcm", "sr.dcm", "rtstruct.dcm", "montage.dcm"}
    if deidentify:
        assert found == {}
    else:
        assert set(found) == objects
        assert set().union(*found.values()) <= may_be_filed(words)
        assert set(PATIENT) <= set().union(*found.values())
    assert told("".join(capfd.readouterr()), words) == set()
    assert told("\n".join(record.getMessage() for record in caplog.records if "metseg" in record.name), words) == set()
    assert told(caplog.text, words) == set()


def test_canaries_in_what_the_command_prints(planted, tmp_path, caplog):
    """Also with --debug and --json, and of a case that fails."""
    folder, words = planted
    caplog.set_level(logging.DEBUG)
    broken = tmp_path / "broken"
    broken.mkdir()
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        if number % 7:
            (broken / f"IM{number}").write_bytes(path.read_bytes())
    command = ["segment", str(folder), str(broken), "-o", str(tmp_path / "out"), "--engine", "threshold", "--formats"]
    for more in ([], ["--json", "--debug", "--force"]):
        result = CliRunner().invoke(app, [*command, "json,html,sr", *more])
        assert result.exit_code == 2
        assert "case 7" in result.output
        assert told(result.output, words) == set()
    assert told(caplog.text, words) == set()
    assert set(leaks(tmp_path / "out", words)) == {"seg.dcm", "sr.dcm"}


def test_temporary_files_bear_no_names_and_are_gone(planted, tmp_path, out, engine, monkeypatch):
    folder, words = planted
    aside = tmp_path / "tmp"
    aside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(aside))
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for path in sorted(folder.rglob("*.dcm")):
            archive.write(path, f"{PATHS[0]}/{PATIENT['PatientID']}/{path.name}")
    names: set[str] = set()

    def watch(*_):
        names.update(str(path.relative_to(tmp_path)) for top in (aside, out) for path in top.rglob("*"))

    read = tempfile.TemporaryDirectory.cleanup
    monkeypatch.setattr(tempfile.TemporaryDirectory, "cleanup", lambda self: (watch(), read(self)))
    (case,) = find_sources([tmp_path / "packed.zip"])
    (outcome,) = run_batch([case], out, lambda *_: engine, ALL.model_copy(update={"formats": ("html", "sr")}))
    assert outcome.state == "done"
    assert any(name.startswith("tmp/metseg-") for name in names)
    assert told("\n".join(sorted(names)), words) == set()
    assert list(aside.iterdir()) == []


def test_canaries_of_other_formats(tmp_path, out, engine, phantom):
    """In every field of a NIfTI header that takes text, an extension, and keys of an NRRD header."""
    volume = phantom.study.images["t1c"]
    image = nib.Nifti1Image(np.asarray(volume.array, dtype=np.float32), volume.grid.affine)
    words = {"descrip": "descripqz", "aux_file": "auxqz", "intent_name": "intentqz", "db_name": "databaseqz"}
    for field, text in words.items():
        image.header[field] = text
    words["extension"] = "extensionqz"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"extensionqz 19331122"))
    nib.save(image, tmp_path / "scan.nii.gz")
    direction = " ".join(f"({','.join(f'{x:g}' for x in row)})" for row in volume.grid.affine[:3, :3].T)
    origin = ",".join(f"{x:g}" for x in volume.grid.affine[:3, 3])
    header = (
        "NRRD0004\n# commentqz\ntype: float\ndimension: 3\nspace: right-anterior-superior\n"
        f"sizes: {' '.join(map(str, volume.grid.shape))}\nspace directions: {direction}\nspace origin: ({origin})\n"
        "endian: little\nencoding: raw\ncontent: contentqz\nPatientName:=keyqz\n\n"
    )
    pixels = np.asarray(volume.array, dtype="<f4").tobytes(order="F")
    (tmp_path / "other.nrrd").write_bytes(header.encode() + pixels)
    words |= {"comment": "commentqz", "content": "contentqz", "key": "keyqz", "date": "19331122"}
    for name in ("scan.nii.gz", "other.nrrd"):
        assert leaks(tmp_path, words)[name]
        options = ALL.model_copy(update={"formats": tuple(name for name in WANTED if "pdf" not in name)})
        assert run(tmp_path / name, out, engine, options).state == "done"
    assert leaks(out, words) == {}


def test_identity_goes_where_it_was_asked_for_and_no_further(planted, out, engine):
    folder, words = planted
    options = ALL.model_copy(
        update={"identify": True, "formats": tuple(f for f in WANTED if f in {"html", "pdf", "json", "rtstruct"})}
    )
    outcome = run(folder, out, engine, options)
    asked = {"PatientName", "PatientID", "PatientBirthDate", "StudyDate"}
    found = leaks(out, words)
    for name in ("report.html", "report.pdf") if "pdf" in WANTED else ("report.html",):
        assert found.pop(name) == asked
    assert not {name for name in found if not name.endswith(".dcm")}
    assert not set().union(*found.values()) & {*OTHERS} - {"StudyTime"}
    assert json.loads((outcome.folder / "run.json").read_text())["options"]["identify"] is True
