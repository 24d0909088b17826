"""Cases from files to result folders, with the numpy engine: whole, skipped, redone, failed, killed."""

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest

from end_to_end.cases import LESIONS, QUICK, SHAPE, SPACING, hashes, make_grid, manifest_of, run
from metseg.config.options import SegmentOptions
from metseg.core.errors import InputError
from metseg.engines.threshold_engine import ThresholdEngine
from metseg.io.discover import find_sources, named_sources
from metseg.io.nifti import write_nifti
from metseg.pipeline import outputs
from metseg.pipeline.batch import batch_exit_code, run_batch
from metseg.pipeline.case import run_case
from metseg.pipeline.intake import find_cases
from metseg.testing.phantoms import make_phantom


def test_a_case_gives_every_file_and_they_agree(scan, out, engine, phantom):
    options = SegmentOptions(engine="threshold", formats="nifti,json,csv,png,html,probability,uncertainty")
    outcome = run(scan, out, engine, options)
    folder = out / "Köpfe 1"
    assert (outcome.state, outcome.lesions, outcome.exit_code) == ("done", 2, 0)
    assert outcome.folder == folder
    assert outcome.report == folder / "report.html"
    written = {"segmentation.nii.gz", "lesions.nii.gz", "probability.nii.gz", "lesions.json", "lesions.csv"}
    written |= {"uncertainty.nii.gz", "preview.png", "report.html", "run.json"}
    assert {path.name for path in folder.iterdir()} == written
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
    bits = np.asarray(nib.load(folder / "uncertainty.nii.gz").dataobj)
    surest = np.where((probability > 0) & (probability < 1), probability, 0.5)
    expected = -surest * np.log2(surest) - (1 - surest) * np.log2(1 - surest)
    np.testing.assert_allclose(bits, np.where((probability > 0) & (probability < 1), expected, 0), atol=1e-5)
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
    outcomes = run_batch(find_sources([scan.parent]), out, lambda *_: engine, QUICK)
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


def test_another_model_or_a_missing_file_redo_it(scan, out, engine):
    folder = run(scan, out, engine).folder
    (folder / "lesions.csv").unlink()
    assert run(scan, out, engine).state == "done"
    assert (folder / "lesions.csv").exists()

    class Other(ThresholdEngine):
        card = ThresholdEngine.card.model_copy(update={"sha256": "f" * 64})

    assert run(scan, out, Other()).state == "done"
    assert run(scan, out, Other()).state == "skipped"


def test_another_input_of_the_same_name_does_not_replace_a_result_unasked(scan, out, engine, phantom):
    folder = run(scan, out, engine).folder
    before = inode(folder)
    other = make_phantom(phantom.study.grid, LESIONS[:1], noise=16)
    write_nifti(scan, other.study.images["t1c"])
    with pytest.raises(InputError, match="another input") as refused:
        run(scan, out, engine)
    assert "--force" in refused.value.hint
    assert inode(folder) == before
    outcome = run(scan, out, engine, force=True)
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
    results = [*run_batch(cases, out, lambda *_: Surprising(), QUICK, on_outcome=seen.append), *failures]
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
    (outcome,) = run_batch(find_sources([scan]), out, lambda *_: engine, QUICK)
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
        run_batch(cases, out, lambda *_: Interrupted(), QUICK)
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
    (outcome,) = run_batch(find_sources([scan]), out, lambda *_: engine, QUICK, force=True)
    assert outcome.message == "The system refused: No space left on device."
    assert hashes(out) == before
    assert folder.is_dir()


def test_named_sequences_make_one_case(scan, out, engine):
    case = named_sources({"t1n": scan, "t1c": scan})
    outcome = run_case(case, out, engine, QUICK)
    assert (outcome.case, outcome.state, outcome.lesions) == ("Köpfe 1", "done", 2)
