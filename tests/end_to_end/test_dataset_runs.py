"""Imports that stop, go on, meet the same case twice, or are only tried; check and split of what came out."""

import hashlib
import json

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from metseg.cli.main import app
from metseg.core.errors import MetsegError
from metseg.pipeline import dataset_case
from public_sets import AFFINE, Replica, brats_case, call, description, manifest, messages, run_import, voxels_of

LAYOUT = "brats-mets-2023"


@pytest.fixture
def replica(tmp_path):
    """Four cases of three patients."""
    made = Replica(tmp_path / "src")
    for name in ("00001-000", "00001-001", "00002-000", "00003-000"):
        brats_case(made, f"BraTS-MET-{name}", sequences=("t1c",))
    return made


def imported(replica, dst, *flags, code=0, layout=LAYOUT):
    return run_import(layout, replica, dst, "--sequences", "t1c", *flags, code=code)


def kinds(found):
    return [(f["kind"], f["case"]) for f in found["problems"]]


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_an_import_that_is_whole_has_no_problem(replica, dst):
    imported(replica, dst)
    found = call("check", dst)
    assert found == {"cases": 4, "problems": [], "notes": [], "exit_code": 0}
    for row in manifest(dst).values():
        assert row["file_sha256"] == hashlib.sha256((dst / row["file"]).read_bytes()).hexdigest()
        assert row["source_sha256"] == hashlib.sha256((replica.root / row["source"]).read_bytes()).hexdigest()


def test_a_dry_run_says_the_same_and_writes_nothing(replica, dst):
    (replica.root / "BraTS-MET-00003-000" / "BraTS-MET-00003-000-t1c.nii.gz").write_bytes(b"no image at all")
    before = digests(replica.root)
    tried = imported(replica, dst, "--dry-run", code=1)
    assert not dst.exists()
    done = imported(replica, dst, code=1)
    assert (tried["dry_run"], done["dry_run"]) == (True, False)
    assert tried["counts"] == done["counts"] == {"imported": 3, "kept": 0, "left-out": 0, "failed": 1}
    assert tried["findings"] == done["findings"]
    assert digests(replica.root) == before


def test_a_second_run_keeps_what_is_there_and_takes_what_changed(replica, dst):
    imported(replica, dst)
    first = digests(dst)
    again = imported(replica, dst)
    assert again["counts"] == {"imported": 0, "kept": 4, "left-out": 0, "failed": 0}
    assert digests(dst) == first
    replica.mask("BraTS-MET-00002-000/BraTS-MET-00002-000-seg.nii.gz", (1,))
    brats_case(replica, "BraTS-MET-00004-000", sequences=("t1c",))
    (dst / "imagesTr" / "BraTS-MET-00003-000_0000.nii.gz").unlink()
    changed = imported(replica, dst)
    assert changed["counts"] == {"imported": 3, "kept": 2, "left-out": 0, "failed": 0}
    assert set(np.unique(voxels_of(dst / "labelsTr" / "BraTS-MET-00002-000.nii.gz"))) == {0, 1}
    assert description(dst)["numTraining"] == 5
    assert call("check", dst)["problems"] == []


def test_what_a_killed_run_left_of_a_case_is_done_again(replica, dst):
    imported(replica, dst)
    whole = digests(dst)
    (dst / "records" / "BraTS-MET-00002-000.json").unlink()
    (dst / "labelsTr" / "BraTS-MET-00002-000.nii.gz").write_bytes(b"half")
    for name in ("manifest.csv", "dataset.json", "splits_final.json", "findings.csv"):
        (dst / name).unlink()
    assert imported(replica, dst)["counts"] == {"imported": 1, "kept": 3, "left-out": 0, "failed": 0}
    assert digests(dst) == whole


def test_workers_change_no_byte(replica, dst, tmp_path):
    imported(replica, dst)
    imported(replica, tmp_path / "two", "--workers", "2")
    assert digests(tmp_path / "two") == digests(dst)


def test_a_case_that_is_gone_from_the_source_stays(replica, dst):
    imported(replica, dst)
    for path in (replica.root / "BraTS-MET-00003-000").iterdir():
        path.unlink()
    (replica.root / "BraTS-MET-00003-000").rmdir()
    done = imported(replica, dst)
    assert "It is no longer in the source; what was imported of it stays." in messages(done, "note")
    assert call("check", dst)["cases"] == 4


def test_a_full_disk_fails_one_case_and_leaves_nothing_of_it(replica, dst, monkeypatch):
    write = dataset_case.write_nifti

    def full(path, volume, codes=None):
        if path.name == "BraTS-MET-00002-000.nii.gz":
            raise MetsegError(f"{path.name} could not be written: No space left on device.")
        write(path, volume, codes)

    with monkeypatch.context() as patch:
        patch.setattr(dataset_case, "write_nifti", full)
        done = imported(replica, dst, code=1)
    assert messages(done, "failed") == ["BraTS-MET-00002-000.nii.gz could not be written: No space left on device."]
    assert done["counts"] == {"imported": 3, "kept": 0, "left-out": 0, "failed": 1}
    assert [path for path in dst.rglob("*") if "00002" in path.name] == []
    assert call("check", dst)["problems"] == []
    assert imported(replica, dst)["counts"] == {"imported": 1, "kept": 3, "left-out": 0, "failed": 0}


def test_other_options_or_a_foreign_folder_are_refused(replica, dst, tmp_path):
    imported(replica, dst)
    error = call("import", LAYOUT, replica.root, dst, "--sequences", "t1c", "--repair", "6=0", code=2)["error"]
    assert "with other settings" in error["message"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words", encoding="utf-8")
    assert "no imported data set" in imported(replica, tmp_path / "mine", code=2)["error"]["message"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--sequences", "t1c,pet"), "no sequence 'pet'"),
        (("--sequences", "t1c,t1c"), "not each named once"),
        (("--set", "mask=seg"), "has no option 'mask'"),
        (("--set", "mask"), "no NAME=VALUE"),
        (("--labels", "1=9"), "no label '9'"),
        (("--labels", "one"), "'one' says no label"),
        (("--repair", "6"), "'6' says no label"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_written(replica, dst, flags, words):
    error = call("import", LAYOUT, replica.root, dst, *flags, code=2)["error"]
    assert words in error["message"]
    assert error["hint"]
    assert not dst.exists()


def test_a_folder_of_another_layout_is_told_what_is_expected(replica, dst):
    error = imported(replica, dst, layout="ucsf-bmsr", code=2)["error"]
    assert "There is no case of ucsf-bmsr" in error["message"]
    assert "100101A" in error["hint"]


def test_values_outside_the_scheme_are_refused_until_explained(replica, dst):
    replica.mask("BraTS-MET-00003-000/BraTS-MET-00003-000-seg.nii.gz", (3,), strays={(0, 0, 1): 5, (0, 0, 2): 5})
    done = imported(replica, dst, code=1)
    assert messages(done, "failed") == [
        "BraTS-MET-00003-000-seg.nii.gz holds the value 5 (2 voxels), outside its scheme (1, 2, 3)."
    ]
    other = imported(replica, dst.with_name("r"), "--repair", "5=2")
    assert messages(other, "repaired") == ["2 voxels of BraTS-MET-00003-000-seg.nii.gz held the stray 5; now 2."]
    swapped = imported(replica, dst.with_name("s"), "--labels", "1=ET,2=SNFH,3=NETC,5=RC")
    assert swapped["counts"]["imported"] == 4
    assert description(dst.with_name("s"))["labels"]["resection cavity"] == 4
    mask = voxels_of(dst.with_name("s") / "labelsTr" / "BraTS-MET-00001-000.nii.gz")
    source = voxels_of(replica.root / "BraTS-MET-00001-000" / "BraTS-MET-00001-000-seg.nii.gz")
    assert np.array_equal(mask, np.array([0, 3, 2, 1])[source])


def test_a_repair_wins_over_the_layouts_labels(replica, dst):
    done = imported(replica, dst, "--repair", "2=0")
    assert len(messages(done, "repaired")) == 4
    assert set(np.unique(voxels_of(dst / "labelsTr" / "BraTS-MET-00002-000.nii.gz"))) == {0, 1, 3}


def test_a_mask_elsewhere_and_a_missing_one_are_failures(replica, dst):
    far = AFFINE.copy()
    far[:3, 3] += 400
    replica.mask("BraTS-MET-00002-000/BraTS-MET-00002-000-seg.nii.gz", (3,), affine=far)
    (replica.root / "BraTS-MET-00003-000" / "BraTS-MET-00003-000-seg.nii.gz").unlink()
    done = imported(replica, dst, code=1)
    assert sorted(messages(done, "failed")) == ["It has no mask.", "Nothing of the mask lies inside the image."]
    assert done["counts"]["imported"] == 2


def test_twins_under_two_names_stay_on_one_side(replica, dst):
    """The same voxels, but flipped and stored as another type: still the same."""
    source = nibabel.load(replica.root / "BraTS-MET-00001-000" / "BraTS-MET-00001-000-t1c.nii.gz")
    flip = AFFINE.copy()
    flip[:3, 3] += flip[:3, 0] * (source.shape[0] - 1)
    flip[:3, 0] *= -1
    name = "BraTS-MET-00003-000"
    array = np.asarray(source.dataobj)[::-1].astype(np.float32)
    replica.write(f"{name}/{name}-t1c.nii.gz", array, flip)
    done = imported(replica, dst)
    twins = "BraTS-MET-00001-000, BraTS-MET-00003-000 hold the same voxels"
    assert messages(done, "duplicate") == [f"{twins}, called different patients; folds keep them together."]
    folds = json.loads((dst / "splits_final.json").read_text(encoding="utf-8"))
    sides = sorted(fold["val"] for fold in folds)
    assert sides == [["BraTS-MET-00001-000", "BraTS-MET-00001-001", "BraTS-MET-00003-000"], ["BraTS-MET-00002-000"]]
    fold = {"train": ["BraTS-MET-00003-000"], "val": ["BraTS-MET-00001-000", "BraTS-MET-00001-001"]}
    fold["train"].append("BraTS-MET-00002-000")
    (dst / "splits_final.json").write_text(json.dumps([fold]), encoding="utf-8")
    assert ("patient", "") in kinds(call("check", dst, code=1))


def test_against_a_foreign_data_set_without_a_manifest(replica, dst, tmp_path):
    imported(replica, dst)
    for name in ("manifest.csv", "import.json", "findings.csv"):
        (dst / name).unlink()
    other = Replica(tmp_path / "other", seed=100)
    brats_case(other, "BraTS-MET-00077-000", sequences=("t1c",))
    (dst / "imagesTr" / "BraTS-MET-00001-001_0000.nii.gz").write_bytes(b"cut off")
    source = replica.root / "BraTS-MET-00002-000" / "BraTS-MET-00002-000-t1c.nii.gz"
    (other.root / "BraTS-MET-00077-000" / "BraTS-MET-00077-000-t1c.nii.gz").write_bytes(source.read_bytes())
    done = imported(other, tmp_path / "out", "--against", dst)
    assert messages(done, "duplicate") == ["It holds the same voxels as BraTS-MET-00002-000 in Dataset500_Test."]
    unread = "BraTS-MET-00001-001_0000.nii.gz in Dataset500_Test cannot be read, and were not compared."
    assert unread in messages(done, "note")


def test_what_cannot_be_compared_with_is_told_before_anything_is_written(replica, dst, tmp_path):
    error = imported(replica, dst, "--against", tmp_path / "nothing", code=2)["error"]
    assert "There is no readable dataset.json in nothing" in error["message"]
    assert "compared with itself" in imported(replica, dst, "--against", dst, code=2)["error"]["message"]
    assert not dst.exists()


def spoilt(dst):
    """One problem of each kind in an import that was whole."""
    images, labels = dst / "imagesTr", dst / "labelsTr"
    one, two, three = (f"BraTS-MET-0000{n}-000" for n in (1, 2, 3))
    mask = nibabel.load(labels / f"{one}.nii.gz")
    array = np.asarray(mask.dataobj).copy()
    array[0, 0, :3] = 7
    nibabel.save(nibabel.Nifti1Image(array, mask.affine), labels / f"{one}.nii.gz")
    moved = AFFINE.copy()
    moved[0, 3] += 4
    nibabel.save(nibabel.Nifti1Image(np.asarray(mask.dataobj), moved), labels / f"{two}.nii.gz")
    (images / f"{three}_0000.nii.gz").unlink()
    (labels / "BraTS-MET-00001-001.nii.gz").write_bytes(b"cut off")
    (images / "notes.docx").write_text("words", encoding="utf-8")
    flat = np.zeros((20, 18, 1), dtype=np.int16)
    flat[3] = 1
    nibabel.save(nibabel.Nifti1Image(flat, AFFINE), images / "flat_0000.nii.gz")


def test_check_lists_all_that_is_wrong_at_once(replica, dst):
    imported(replica, dst)
    folds = json.loads((dst / "splits_final.json").read_text(encoding="utf-8"))
    moved = folds[0]["val"].pop()
    folds[0]["train"].append(moved)
    folds[1]["val"].append("nobody")
    folds.append({
        "train": ["BraTS-MET-00001-000", "BraTS-MET-00002-000", "BraTS-MET-00003-000"],
        "val": ["BraTS-MET-00001-001", "BraTS-MET-00003-000"],
    })  # fmt: skip
    (dst / "splits_final.json").write_text(json.dumps(folds), encoding="utf-8")
    spoilt(dst)
    found = call("check", dst, code=1)
    text = [f["message"] for f in found["problems"]]
    one, two, three = (f"BraTS-MET-0000{n}-000" for n in (1, 2, 3))
    assert {
        ("label", one), ("grid", two), ("channel", three), ("broken", "BraTS-MET-00001-001"), ("no-mask", "flat"),
        ("one-slice", "flat"), ("missing", three), ("hash", one), ("hash", two), ("left-over", ""), ("splits", ""),
    } <= set(kinds(found))  # fmt: skip
    assert "Its mask holds 7 (3 voxels), which dataset.json does not name." in text
    assert "It lacks the channel t1c." in text
    assert "imagesTr/notes.docx belongs to no case." in text
    assert "imagesTr/flat_0000.nii.gz is not in the manifest." in text
    assert "It is one slice (20×18×1), no volume." in text
    assert f"Fold 3 has {three} on both sides." in text
    assert "Fold 1 names nobody, which are not there." in text
    assert any(line.startswith("the mask (20×18×16 voxels of") and "does not lie on" in line for line in text)


def test_check_sees_a_patient_on_both_sides(replica, dst):
    imported(replica, dst)
    fold = {
        "train": ["BraTS-MET-00001-000", "BraTS-MET-00002-000"],
        "val": ["BraTS-MET-00001-001", "BraTS-MET-00003-000"],
    }
    (dst / "splits_final.json").write_text(json.dumps([fold]), encoding="utf-8")
    found = call("check", dst, code=1)
    assert [f["message"] for f in found["problems"] if f["kind"] == "patient"] == [
        "Fold 0 has patient BraTS-MET-00001 on both sides."
    ]
    call("split", dst, "--folds", "3", "--seed", "2")
    assert call("check", dst)["problems"] == []


def test_check_sees_that_nothing_is_marked(tmp_path, dst):
    replica = Replica(tmp_path / "src")
    for name in ("BraTS-MET-00001-000", "BraTS-MET-00002-000"):
        brats_case(replica, name, sequences=("t1c",), labels=())
    done = imported(replica, dst)
    assert messages(done, "empty") == ["Its mask is empty."] * 2
    assert kinds(call("check", dst, code=1)) == [("no-foreground", "")]


def test_split_needs_to_know_the_patients(replica, dst):
    imported(replica, dst)
    (dst / "manifest.csv").unlink()
    assert "Nothing tells the patients of 4 cases" in call("split", dst, code=2)["error"]["message"]
    assert len(call("check", dst)["notes"]) == 1
    made = call("split", dst, "--patient-regex", r"^(.+)-\d+$", "--folds", "2", "--seed", "5")
    assert made["folds"] == json.loads((dst / "splits_final.json").read_text(encoding="utf-8"))
    assert made["groups"]["BraTS-MET-00001-001"] == "BraTS-MET-00001"
    for fold in made["folds"]:
        assert not {made["groups"][c] for c in fold["train"]} & {made["groups"][c] for c in fold["val"]}
    error = call("split", dst, "--patient-regex", "^(BraTS)", code=2)["error"]
    assert "All cases of Dataset500_Test are of one patient" in error["message"]


def test_a_folder_that_is_no_data_set_is_told_so(tmp_path):
    (tmp_path / "none").mkdir()
    error = call("check", tmp_path / "none", code=2)["error"]
    assert "no data set in nnU-Net raw layout" in error["message"]


def test_text_for_people(replica, dst):
    (replica.root / "BraTS-MET-00003-000" / "BraTS-MET-00003-000-seg.nii.gz").unlink()
    run = CliRunner().invoke(app, ["datasets", "import", LAYOUT, str(replica.root), str(dst), "--sequences", "t1c"])
    assert run.exit_code == 1
    assert "failed: BraTS-MET-00003-000: It has no mask." in run.stderr
    assert f"3 cases imported, 0 there already, 0 left out, 1 failed. Data set: {dst}" in run.stdout
    split = CliRunner().invoke(app, ["datasets", "split", str(dst)])
    assert split.stdout == "2 patients in 2 folds; validation cases: 2, 1.\n"
    checked = CliRunner().invoke(app, ["datasets", "check", str(dst)])
    assert checked.stdout == "3 cases, 0 problems.\n"
