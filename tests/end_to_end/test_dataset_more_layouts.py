"""Miniatures of the smaller public layouts and of one's own data, imported from the command line; the list of all."""

import nibabel
import numpy as np
from typer.testing import CliRunner

from conftest import oblique_affine
from metseg.cli.main import app
from metseg.datasets.catalogue import DATASETS
from public_sets import (
    AFFINE,
    BOXES,
    SHAPE,
    Replica,
    brats_case,
    description,
    labels_in,
    manifest,
    messages,
    run_import,
    voxels_of,
)
from synthetic_hosts import write_small_hosts


def proteas_patient(replica, name, values, visits=("baseline", "fu1"), folder="tumor segmentation"):
    for visit in visits:
        for kind in ("t1", "t1c", "t2", "fla"):
            replica.image(f"{name}/BraTS/{visit}/{kind}.nii.gz")
        replica.mask(f"{name}/{folder}/{name}_tumor_mask_{visit}.nii.gz", values)
    ct = AFFINE.copy()
    ct[:3, 3] += AFFINE[:3, 0] * 2  # two voxels along i
    replica.image(f"{name}/{name}_CT.nii.gz", affine=ct, low=-1000)


def test_proteas_labels_by_intensity_from_folders_and_zips(replica, dst):
    values = {1: 1, 3: 2, 2: 3}  # files say 2 for enhancing tumour, 3 for oedema
    proteas_patient(replica, "P01", values)
    proteas_patient(replica, "P02", values, folder="tumor_segmentation")
    expected = replica.mask("P09/none.nii.gz", (1, 2, 3))
    (replica.root / "P09" / "none.nii.gz").unlink()
    replica.zip("P02.zip", "P02")
    (replica.root / "P03.zip").write_bytes(b"PK\x03\x04 cut off")
    done = run_import("proteas", replica, dst, code=1)
    assert done["counts"] == {"imported": 4, "kept": 0, "left-out": 0, "failed": 1}
    assert messages(done, "failed") == ["P03.zip is no whole zip, or a file in it is damaged."]
    assert any("4 of 4 visits: labels were taken as enhancing-2" in m for m in messages(done, "note"))
    for case in ("proteas_P01_baseline", "proteas_P02_fu1"):
        assert np.array_equal(labels_in(dst, case), expected)
    assert manifest(dst)["proteas_P02_fu1", "t1c"]["source"] == "P02.zip!P02/BraTS/fu1/t1c.nii.gz"
    wrong = run_import("proteas", replica, dst.with_name("w"), "--set", "labels=oedema-2", code=1)
    assert len(messages(wrong, "doubt")) == 4
    assert "labels may be swapped" in messages(wrong, "doubt")[0]


def test_proteas_that_tells_nothing_asks(replica, dst):
    proteas_patient(replica, "P01", {1: 1, 3: 2, 2: 3}, visits=("baseline",))
    proteas_patient(replica, "P02", {1: 1, 2: 2, 3: 3}, visits=("baseline",))
    error = run_import("proteas", replica, dst, code=2)["error"]
    assert "1 of 2 visits" in error["message"]
    assert "labels=enhancing-2" in error["hint"]


def test_proteas_ct_takes_the_mask_of_its_visit(replica, dst):
    proteas_patient(replica, "P01", {1: 1, 2: 2, 3: 3})
    done = run_import("proteas", replica, dst, "--sequences", "ct")
    assert done["counts"] == {"imported": 1, "kept": 0, "left-out": 1, "failed": 0}
    assert description(dst)["channel_names"] == {"0": "CT"}
    mask = voxels_of(replica.root / "P01/tumor segmentation/P01_tumor_mask_baseline.nii.gz")
    expected = np.zeros_like(mask)
    expected[:-2] = mask[2:]
    assert np.array_equal(labels_in(dst, "proteas_P01_baseline"), expected)


def test_brain_mets_lung_core_and_whole(replica, dst):
    folder = "YG_ABC123"
    replica.image(f"{folder}/YG_ABC123_t1ce_img.nii.gz")
    replica.image(f"{folder}/YG_ABC123_flair_img.nii.gz")
    replica.mask(f"{folder}/YG_ABC123_core_seg.nii.gz", {1: 1, 3: 1})
    replica.mask(f"{folder}/YG_ABC123_whole_seg.nii.gz", {1: 1, 2: 1, 3: 1})
    run_import("brain-mets-lung", replica, dst)
    assert manifest(dst)["brain-mets-lung_YG-ABC123", "mask"]["labels"] == "1:80"
    run_import("brain-mets-lung", replica, dst.with_name("w"), "--set", "masks=core+whole", "--sequences", "t1c,t2f")
    row = manifest(dst.with_name("w"))["brain-mets-lung_YG-ABC123", "mask"]
    assert (row["labels"], row["lesions"]) == ("1:80 2:48", "1")
    assert "|" in row["source"]
    assert description(dst.with_name("w"))["labels"] == {"background": 0, "lesion": 1, "surrounding oedema": 2}


def test_motum_takes_metastases_only(replica, dst):
    for name in ("001-Glioma-AYEY", "002-Metastasis-BQRS"):
        for kind in ("flair", "t1", "t2", "t1ce"):
            replica.image(f"{name}/{kind}.nii.gz")
        replica.mask(f"{name}/flair_seg_label1.nii.gz", {2: 1, 3: 1})
        replica.mask(f"{name}/t1ce_seg_label2.nii.gz", {3: 2})
    done = run_import("motum", replica, dst)
    assert done["cases"] == {"motum_002-Metastasis-BQRS": "imported"}
    assert manifest(dst)["motum_002-Metastasis-BQRS", "mask"]["labels"] == "1:48 2:48"
    assert any(message.startswith("1 cases were left out") for message in messages(done, "note"))


def test_bids_with_sessions_and_named_labels(replica, dst):
    for session in ("1", "2"):
        anat = f"sub-a/ses-{session}/anat"
        replica.image(f"{anat}/sub-a_ses-{session}_ce-gadolinium_T1w.nii.gz")
        replica.image(f"{anat}/sub-a_ses-{session}_T1w.nii.gz")
        replica.mask(f"derivatives/truth/{anat}/sub-a_ses-{session}_dseg.nii.gz", (1, 3))
        replica.mask(f"derivatives/truth/{anat}/sub-a_ses-{session}_desc-lesions_dseg.nii.gz", {3: 1})
    replica.text("derivatives/truth/dseg.tsv", "index\tname\n1\tcore\n3\tenhancing\n")
    done = run_import("bids", replica, dst)
    rows = manifest(dst)
    assert rows["a_2", "mask"]["labels"] == "1:32 3:48"
    assert (rows["a_2", "mask"]["patient"], rows["a_2", "mask"]["time_point"]) == ("a", "2")
    assert description(dst)["labels"] == {"background": 0, "core": 1, "enhancing": 3}
    assert messages(done, "doubt") == ["Labels are numbered 1, 3; nnU-Net wants 1, 2, 3 … without a gap."]
    assert description(dst)["channel_names"] == {"0": "t1c", "1": "t1n"}
    assert rows["a_1", "t1c"]["source"].endswith("ce-gadolinium_T1w.nii.gz")


def test_bids_of_metseg_comes_back_as_it_was(tmp_path, dst):
    """metseg synthesise --layout bids, imported: the same voxels, labels and names."""
    made = tmp_path / "bids"
    hosts = str(write_small_hosts(tmp_path / "hosts"))
    flags = ("--layout", "bids", "--workers", "1", "--seed", "4")
    command = ["synthesise", str(made), "--hosts", hosts, "-n", "1", *flags]
    assert CliRunner().invoke(app, command).exit_code == 0
    run_import("bids", Replica(made), dst)
    name = "synthetic0001"
    source = nibabel.load(made / f"sub-{name}/anat/sub-{name}_ce-gadolinium_T1w.nii.gz")
    written = nibabel.load(dst / f"imagesTr/{name}_0000.nii.gz")
    assert np.array_equal(np.asarray(source.dataobj), np.asarray(written.dataobj))
    assert np.array_equal(source.affine, written.affine)
    truth = voxels_of(made / f"derivatives/truth/sub-{name}/anat/sub-{name}_dseg.nii.gz")
    assert np.array_equal(labels_in(dst, name), truth)
    assert description(dst)["labels"]["resection cavity"] == 4


def test_a_table_names_files_and_patients(replica, dst):
    replica.image("a/one.nii.gz")
    replica.image("a/two.nii.gz")
    replica.mask("masks/one.nii.gz", {3: 1})
    replica.text(
        "cases.csv",
        "patient,time_point,t1c,mask\nanna,1,a/one.nii.gz,masks/one.nii.gz\nanna,2,a/two.nii.gz,\n"
        "ben,1,../secret.nii.gz,masks/one.nii.gz\ncara,1,a/none.nii.gz,masks/one.nii.gz\n",
    )
    done = run_import("csv", replica, dst, code=1)
    assert done["cases"] == {"anna_1": "imported", "anna_2": "imported", "ben_1": "failed", "cara_1": "failed"}
    assert "The table leads out of the folder, to secret.nii.gz." in messages(done, "failed")
    assert (dst / "imagesTs" / "anna_2_0000.nii.gz").is_file()


def test_nnunet_raw_comes_back_as_it_was(replica, dst):
    brats_case(replica, "BraTS-MET-00001-000")
    brats_case(replica, "BraTS-MET-00001-001")
    run_import("brats-mets-2023", replica, dst)
    done = run_import("nnunet", Replica(dst), dst.with_name("again"), "--set", r"patient=^(.+)-\d+$")
    assert done["counts"]["imported"] == 2
    for path in sorted(dst.glob("*Tr/*.nii.gz")):
        assert (dst.with_name("again") / path.relative_to(dst)).read_bytes() == path.read_bytes()
    assert manifest(dst.with_name("again"))["BraTS-MET-00001-001", "mask"]["patient"] == "BraTS-MET-00001"
    assert description(dst.with_name("again"))["labels"] == description(dst)["labels"]


def test_channels_on_another_grid_come_to_the_first(replica, dst):
    """A linear ramp over the world is interpolated without error inside; a channel elsewhere is refused."""
    other = oblique_affine((1.3, 0.8, 1.9), rotvec_degrees=(4, -9, 30), origin_mm=(-36, 58, -26))
    name = "BraTS-MET-00001-000"
    replica.image(f"{name}/{name}-t1c.nii.gz")
    replica.mask(f"{name}/{name}-seg.nii.gz", (3,))
    places = np.moveaxis(np.indices((30, 40, 30)), 0, -1) @ other[:3, :3].T + other[:3, 3]
    replica.write(f"{name}/{name}-t2f.nii.gz", (places @ (1.0, 2.0, 3.0) + 500).astype(np.float32), other)
    far = AFFINE.copy()
    far[:3, 3] += 500
    second = "BraTS-MET-00002-000"
    replica.image(f"{second}/{second}-t1c.nii.gz")
    replica.image(f"{second}/{second}-t2f.nii.gz", affine=far)
    replica.mask(f"{second}/{second}-seg.nii.gz", (3,))
    done = run_import("brats-mets-2023", replica, dst, "--sequences", "t1c,t2f", code=1)
    assert messages(done, "failed") == ["The image t2f lies wholly outside the first image."]
    assert len(messages(done, "resampled")) == 1
    written = nibabel.load(dst / "imagesTr" / f"{name}_0001.nii.gz")
    assert np.allclose(written.affine, AFFINE, atol=1e-5)
    ijk = np.moveaxis(np.indices(SHAPE), 0, -1)
    xyz = ijk @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    inside = (xyz - other[:3, 3]) @ np.linalg.inv(other[:3, :3]).T
    within = ((inside >= 0) & (inside <= np.array((30, 40, 30)) - 1)).all(axis=-1)
    assert within.mean() > 0.2
    values = np.asarray(written.dataobj)
    assert np.allclose(values[within], (xyz @ (1.0, 2.0, 3.0) + 500)[within], atol=1e-2)


def test_every_layout_is_listed_and_told_in_detail():
    text = CliRunner().invoke(app, ["datasets", "list"]).output
    for name in DATASETS.names():
        assert f"\n{name}: " in f"\n{text}"
        detail = CliRunner().invoke(app, ["datasets", "list", name])
        assert detail.exit_code == 0
        for line in ("expects: ", "licence: ", "access: ", "sequences: ", "label 1: "):
            assert line in detail.output
    unknown = CliRunner().invoke(app, ["datasets", "list", "nothing"])
    assert unknown.exit_code == 2
    assert "no layout called 'nothing'" in unknown.output


def test_boxes_of_the_replicas_hold_what_the_tests_count():
    assert {label: (stop - start) * 4 * 4 for label, (start, stop) in BOXES.items()} == {1: 32, 3: 48, 2: 48, 4: 32}
