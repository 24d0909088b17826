"""``metseg synthesise``: data sets of studies with known truth, from the command line to the files."""

import csv
import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from metseg.cli.main import app
from synthetic_hosts import write_small_hosts


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    return write_small_hosts(tmp_path_factory.mktemp("hosts"))


def run(out, hosts, *flags, code=0):
    result = CliRunner().invoke(app, ["synthesise", str(out), "--hosts", str(hosts), "--seed", "4", *flags])
    assert result.exit_code == code, result.output
    return result


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory, hosts):
    out = tmp_path_factory.mktemp("made") / "Dataset901_Synthetic"
    run(out, hosts, "-n", "6", "--workers", "1")
    return out


def test_the_number_of_workers_changes_no_byte(made, hosts, tmp_path):
    run(tmp_path / "b", hosts, "-n", "6", "--workers", "3")
    assert digests(tmp_path / "b") == digests(made)


def test_a_short_series_is_the_beginning_of_a_long_one_and_goes_on(made, hosts, tmp_path):
    run(tmp_path / "c", hosts, "-n", "2", "--workers", "1")
    before = digests(tmp_path / "c" / "imagesTr")
    again = run(tmp_path / "c", hosts, "-n", "6", "--workers", "1")
    assert "4 studies made, 2 there already" in again.output
    assert before.items() <= digests(tmp_path / "c" / "imagesTr").items()
    assert digests(tmp_path / "c") == digests(made)


def test_a_study_whose_record_is_missing_is_made_again(made, hosts, tmp_path):
    run(tmp_path / "d", hosts, "-n", "6", "--workers", "1")
    (tmp_path / "d" / "records" / "synthetic-0003.json").unlink()
    (tmp_path / "d" / "labelsTr" / "synthetic-0003.nii.gz").write_bytes(b"half")
    assert "1 studies made, 5 there already" in run(tmp_path / "d", hosts, "-n", "6").output
    assert digests(tmp_path / "d") == digests(made)


def test_nnunet_finds_what_it_wants(made):
    description = json.loads((made / "dataset.json").read_text(encoding="utf-8"))
    assert description["channel_names"] == {"0": "t1c"}
    assert sorted(description["labels"].values()) == [0, 1, 2, 3, 4]
    assert description["numTraining"] == 6
    for number in range(1, 7):
        image = nib.load(made / "imagesTr" / f"synthetic-{number:04d}_0000.nii.gz")
        labels = nib.load(made / "labelsTr" / f"synthetic-{number:04d}.nii.gz")
        assert image.shape == labels.shape
        assert np.array_equal(image.affine, labels.affine)
        assert set(np.unique(np.asarray(labels.dataobj)).tolist()) <= {0, 1, 2, 3, 4}


def test_no_head_is_on_both_sides_of_a_fold(made):
    folds = json.loads((made / "splits_final.json").read_text(encoding="utf-8"))
    host = {row["case"]: row["host"] for row in rows(made / "studies.csv")}
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(host)
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == sorted(host)
        assert not {host[c] for c in fold["train"]} & {host[c] for c in fold["val"]}


def test_the_table_agrees_with_the_maps(made):
    table, checked = rows(made / "lesions.csv"), 0
    for study in rows(made / "studies.csv"):
        case = study["case"]
        lesions = nib.load(made / "instancesTr" / f"{case}.nii.gz")
        labels = np.asarray(nib.load(made / "labelsTr" / f"{case}.nii.gz").dataobj)
        instances = np.asarray(lesions.dataobj)
        assert np.array_equal(instances > 0, np.isin(labels, (1, 3)))
        own = [row for row in table if row["case"] == case and row["nature"] == "metastasis"]
        assert len(own) == int(study["metastases"])
        voxel = abs(np.linalg.det(lesions.affine[:3, :3]))
        for row in own:
            volume = np.count_nonzero(instances == int(row["number"])) * voxel
            assert volume == pytest.approx(float(row["labelled_mm3"]), abs=0.01)
            checked += volume > 0
    assert checked >= 6


def test_bids_names_and_its_truth(hosts, tmp_path):
    run(tmp_path / "e", hosts, "-n", "2", "--modality", "mr4", "--layout", "bids", "--workers", "1")
    names = {p.relative_to(tmp_path / "e").as_posix() for p in (tmp_path / "e").rglob("*.nii.gz")}
    subject = "sub-synthetic0001"
    for suffix in ("ce-gadolinium_T1w", "T1w", "FLAIR", "T2w"):
        assert f"{subject}/anat/{subject}_{suffix}.nii.gz" in names
    assert f"derivatives/truth/{subject}/anat/{subject}_dseg.nii.gz" in names
    assert f"derivatives/truth/{subject}/anat/{subject}_desc-lesions_dseg.nii.gz" in names
    description = json.loads((tmp_path / "e" / "dataset_description.json").read_text(encoding="utf-8"))
    assert description["DatasetType"] == "raw"
    participants = (tmp_path / "e" / "participants.tsv").read_text(encoding="utf-8").split()
    assert participants == ["participant_id", subject, "sub-synthetic0002"]


def test_ct_is_in_hounsfield_units(hosts, tmp_path):
    run(tmp_path / "f", hosts, "-n", "1", "--modality", "ct", "--workers", "1")
    image = nib.load(tmp_path / "f" / "imagesTr" / "synthetic-0001_0000.nii.gz")
    values = np.asarray(image.dataobj)
    assert values.min() < -900
    assert values.max() > 300
    middle = values[tuple(slice(int(n * 0.4), int(n * 0.6)) for n in values.shape)]
    assert -10 < np.median(middle) < 60
    assert json.loads((tmp_path / "f" / "dataset.json").read_text(encoding="utf-8"))["channel_names"] == {"0": "CT"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--modality", "pet"), "modality"),
        (("--layout", "zip"), "layout"),
        (("-n", "10000"), "count"),
    ],
)
def test_a_wrong_option_is_named(hosts, tmp_path, flags, words):
    assert words in run(tmp_path / "g", hosts, *flags, code=2).output
    assert not (tmp_path / "g").exists()


def test_what_is_there_already_is_not_touched(made, hosts, tmp_path):
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("words", encoding="utf-8")
    assert "is no series of synthetic studies" in run(foreign, hosts, "-n", "1", code=2).output
    assert [p.name for p in foreign.iterdir()] == ["thesis.txt"]
    before = digests(made)
    assert "other settings" in run(made, hosts, "-n", "7", "--modality", "ct", code=2).output
    assert digests(made) == before


def test_a_folder_without_hosts_is_named(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "There are no hosts in empty" in run(tmp_path / "h", empty, "-n", "1", code=2).output


def test_one_study_that_cannot_be_made_does_not_stop_the_others(made, tmp_path):
    hosts = write_small_hosts(tmp_path / "hosts")
    names = {row["case"]: row["host"] for row in rows(made / "studies.csv")}
    broken = names["synthetic-0001"]
    (hosts / "hosts_labels" / f"{broken}.nii.gz").write_bytes(b"no image")
    result = run(tmp_path / "i", hosts, "-n", "6", "--workers", "2", code=1)
    failed = sorted(case for case, host in names.items() if host == broken)
    assert f"{6 - len(failed)} studies made, {len(failed)} failed" in result.output
    for case in failed:
        assert f"Error: {case}:" in result.output
        assert not (tmp_path / "i" / "labelsTr" / f"{case}.nii.gz").exists()
