"""A miniature of each larger public layout, its quirks planted, imported from the command line."""

import json

import nibabel
import numpy as np

from public_sets import (
    AFFINE,
    brats_case,
    description,
    labels_in,
    manifest,
    messages,
    run_import,
    voxels_of,
)


def test_brats_2023_keeps_voxels_labels_and_names(replica, dst):
    top = "ASNR-MICCAI-BraTS2023-MET-Challenge-TrainingData"
    mask = brats_case(replica, "BraTS-MET-00002-000", top=top)
    brats_case(replica, "BraTS-MET-00002-001", top=f"{top}_Additional")
    brats_case(replica, "BraTS-MET-00010-000", top=top)
    done = run_import("brats-mets-2023", replica, dst)
    assert done["cases"] == dict.fromkeys(
        ("BraTS-MET-00002-000", "BraTS-MET-00002-001", "BraTS-MET-00010-000"), "imported"
    )
    assert np.array_equal(labels_in(dst, "BraTS-MET-00002-000"), mask)
    for number, sequence in enumerate(("t1c", "t1n", "t2f", "t2w")):
        source = nibabel.load(replica.root / top / "BraTS-MET-00002-000" / f"BraTS-MET-00002-000-{sequence}.nii.gz")
        written = nibabel.load(dst / "imagesTr" / f"BraTS-MET-00002-000_{number:04d}.nii.gz")
        assert np.array_equal(np.asarray(written.dataobj), np.asarray(source.dataobj))
        assert np.allclose(written.affine, AFFINE, atol=1e-5)
        assert written.get_data_dtype() == np.int16
    plain = description(dst)
    assert plain["channel_names"] == {"0": "t1c", "1": "t1n", "2": "t2f", "3": "t2w"}
    assert plain["labels"] == {
        "background": 0, "non-enhancing tumour core": 1, "surrounding oedema": 2, "enhancing tumour": 3,
    }  # fmt: skip
    assert plain["numTraining"] == 3
    row = manifest(dst)["BraTS-MET-00002-001", "mask"]
    assert (row["patient"], row["time_point"], row["set"]) == ("BraTS-MET-00002", "001", "brats-mets-2023")
    assert row["source"] == f"{top}_Additional/BraTS-MET-00002-001/BraTS-MET-00002-001-seg.nii.gz"
    assert row["labels"] == "1:32 2:48 3:48"
    assert row["spacing_mm"] == "0.9x1.2x2.1"
    folds = json.loads((dst / "splits_final.json").read_text(encoding="utf-8"))
    assert sorted(map(len, (fold["val"] for fold in folds))) == [1, 2]
    assert any("ucsf-bmsr" in message for message in messages(done, "overlap"))


def test_brats_2025_repairs_strays_and_takes_corrected_labels(replica, dst):
    top = "MICCAI-LH-BraTS2025-MET-Challenge-Training"
    brats_case(replica, "BraTS-MET-01094-002", top=top, strays={(1, 1, 1): 6, (1, 2, 1): 6})
    brats_case(replica, "BraTS-MET-01184-002", top=f"{top}/UCSD - Training", labels=(1, 2, 3, 4), strays={(0, 0, 0): 8})
    brats_case(replica, "BraTS-MET-00007-000", top=top)
    corrected = replica.mask("MICCAI-LH-BraTS2025-MET-Challenge-corrected-labels/BraTS-MET-00007-000-seg.nii.gz", (3,))
    brats_case(replica, "BraTS-MET-00008-000", top=top, sequences=("t1c", "t1n", "t2f"))
    done = run_import("brats-mets-2025", replica, dst)
    assert done["cases"]["BraTS-MET-00008-000"] == "left-out"
    assert messages(done, "left-out") == ["It lacks t2w."]
    assert done["counts"] == {"imported": 3, "kept": 0, "left-out": 1, "failed": 0}
    assert messages(done, "repaired") == [
        "2 voxels of BraTS-MET-01094-002-seg.nii.gz held the stray 6; now 0.",
        "1 voxels of BraTS-MET-01184-002-seg.nii.gz held the stray 8; now 0.",
    ]
    assert set(np.unique(labels_in(dst, "BraTS-MET-01094-002")).tolist()) == {0, 1, 2, 3}
    assert set(np.unique(labels_in(dst, "BraTS-MET-01184-002")).tolist()) == {0, 1, 2, 3, 4}
    assert np.array_equal(labels_in(dst, "BraTS-MET-00007-000"), corrected)
    assert description(dst)["labels"]["resection cavity"] == 4
    three = run_import("brats-mets-2025", replica, dst.with_name("three"), "--sequences", "t1c,t1n,t2f")
    assert three["counts"]["imported"] == 4


def test_brats_2025_values_can_be_given_a_meaning(replica, dst):
    brats_case(replica, "BraTS-MET-00005-000", strays={(1, 1, 1): 6, (1, 1, 2): 8}, sequences=("t1c",))
    flags = ("--sequences", "t1c", "--labels", "1=NETC,2=SNFH,3=ET,4=RC,6=RC")
    done = run_import("brats-mets-2025", replica, dst, *flags)
    assert messages(done, "repaired") == ["1 voxels of BraTS-MET-00005-000-seg.nii.gz held the stray 8; now 0."]
    assert manifest(dst)["BraTS-MET-00005-000", "mask"]["labels"] == "1:32 2:48 3:48 4:1"


def test_brats_validation_cases_have_no_mask(replica, dst):
    brats_case(replica, "BraTS-MET-00001-000", top="Training", sequences=("t1c",))
    brats_case(replica, "BraTS-MET-00000-000", top="ValidationData", sequences=("t1c",))
    (replica.root / "ValidationData/BraTS-MET-00000-000/BraTS-MET-00000-000-seg.nii.gz").unlink()
    run_import("brats-mets-2025", replica, dst, "--sequences", "t1c")
    assert [p.name for p in (dst / "imagesTs").iterdir()] == ["BraTS-MET-00000-000_0000.nii.gz"]
    assert [p.name for p in (dst / "imagesTr").iterdir()] == ["BraTS-MET-00001-000_0000.nii.gz"]


def test_a_case_in_two_folders_is_not_chosen_from(replica, dst):
    brats_case(replica, "BraTS-MET-00001-000", top="a")
    brats_case(replica, "BraTS-MET-00001-000", top="b")
    brats_case(replica, "BraTS-MET-00003-000", top="a")
    done = run_import("brats-mets-2025", replica, dst, code=1)
    assert messages(done, "failed") == ["It lies in several folders: a, b."]
    assert done["counts"]["imported"] == 1


def test_pretreat_and_brats_share_cases_and_voxels(replica, dst, tmp_path):
    brats_case(replica, "BraTS-MET-00086-000", top="Pretreat-MetsToBrain-Masks")
    run_import("pretreat-metstobrain", replica, dst)
    brats_case(replica, "BraTS-MET-00900-000")
    done = run_import("brats-mets-2023", replica, tmp_path / "brats", "--against", str(dst))
    assert messages(done, "duplicate") == ["It holds the same voxels as BraTS-MET-00086-000 in Dataset500_Test."]
    assert "1 patients have the same name in Dataset500_Test: BraTS-MET-00086." in messages(done, "overlap")


def ucsf_case(replica, name, mask_affine=None, brats=True):
    for kind in ("T1pre", "T1post", "FLAIR", "subtraction", "T2Synth"):
        replica.image(f"UCSF_BrainMetastases_TRAIN/{name}/{name}_{kind}.nii.gz")
    replica.mask(f"UCSF_BrainMetastases_TRAIN/{name}/{name}_seg.nii.gz", {3: 1}, affine=mask_affine)
    if brats:
        replica.mask(f"UCSF_BrainMetastases_TRAIN/{name}/{name}_BraTS-seg.nii.gz", (1, 2, 3), affine=mask_affine)


def test_ucsf_images_take_the_geometry_of_the_mask(replica, dst):
    moved = AFFINE.copy()
    moved[:3, 3] += (3, -2, 1)
    ucsf_case(replica, "100101A")
    ucsf_case(replica, "100101B", mask_affine=moved)
    ucsf_case(replica, "100414A", brats=False)
    done = run_import("ucsf-bmsr", replica, dst)
    assert done["counts"]["imported"] == 3
    assert len(messages(done, "geometry")) == 3
    assert messages(done, "geometry")[0] == (
        "t1c was given the mask's geometry; its header put it 3.74 mm off."  # √(9 + 4 + 1)
    )
    image = nibabel.load(dst / "imagesTr" / "ucsf-bmsr_100101_B_0000.nii.gz")
    assert np.allclose(image.affine, moved, atol=1e-5)
    source = replica.root / "UCSF_BrainMetastases_TRAIN" / "100101B"
    assert np.array_equal(np.asarray(image.dataobj), voxels_of(source / "100101B_T1post.nii.gz"))
    assert np.array_equal(labels_in(dst, "ucsf-bmsr_100101_B"), voxels_of(source / "100101B_seg.nii.gz"))
    assert description(dst)["labels"] == {"background": 0, "lesion": 1}
    assert manifest(dst)["ucsf-bmsr_100101_B", "mask"]["patient"] == "100101"
    assert next(m for m in messages(done, "note") if "not used" in m).startswith("5 images are not used")
    brats = run_import("ucsf-bmsr", replica, dst.with_name("sub"), "--set", "mask=BraTS-seg", code=1)
    assert messages(brats, "failed") == ["It has no mask."]
    assert brats["cases"]["ucsf-bmsr_100414_A"] == "failed"
    own = run_import("ucsf-bmsr", replica, dst.with_name("own"), "--set", "geometry=own")
    assert len(messages(own, "resampled")) == 1


def test_ucsf_images_with_other_voxels_are_resampled(replica, dst):
    """As many voxels as the mask, but of half the size: no slip of a header, so nothing is moved."""
    half = AFFINE.copy()
    half[:3, :3] *= 0.5
    ucsf_case(replica, "100101A")
    flair = replica.image("UCSF_BrainMetastases_TRAIN/100101A/100101A_FLAIR.nii.gz", affine=half)
    done = run_import("ucsf-bmsr", replica, dst)
    assert messages(done, "geometry") == []
    assert len(messages(done, "resampled")) == 1
    written = voxels_of(dst / "imagesTr" / "ucsf-bmsr_100101_A_0002.nii.gz")
    assert np.allclose(written[:10, :9, :8], flair[::2, ::2, ::2], atol=1e-2)
    assert written[11:].max() == 0


def test_stanford_png_slices_are_sorted_by_number(replica, dst):
    top = "stanford_release_brainmask/mets_stanford_releaseMask_train/Mets_005"
    rng = np.random.default_rng(4)
    stacks = {kind: rng.integers(1, 255, (21, 17, 19)).astype(np.uint8) for kind in ("0", "1", "2", "3")}
    for kind, stack in stacks.items():
        replica.slices(f"{top}/{kind}", stack)
    mask = np.zeros((21, 17, 19), dtype=np.uint8)
    mask[3:6, 4:9, 10:12] = 255
    replica.slices(f"{top}/seg", mask)
    done = run_import("stanford-png", replica, dst, "--sequences", "t1c,t2f")
    image = nibabel.load(dst / "imagesTr" / "stanford_Mets-005_0000.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), stacks["0"])
    assert np.allclose(image.affine, np.diag([-0.94, -0.94, 1.0, 1.0]))  # to the left, to the back, upwards
    assert np.array_equal(labels_in(dst, "stanford_Mets-005"), mask // 255)
    assert any("0.94×0.94×1 mm and axes LPS" in message for message in messages(done, "note"))
    turned = run_import(
        "stanford-png", replica, dst.with_name("b"), "--sequences", "t1c", "--set", "t1c=spin-echo",
        "--set", "axes=RAS", "--set", "spacing_mm=1,1,3",
    )  # fmt: skip
    assert turned["counts"]["imported"] == 1
    image = nibabel.load(dst.with_name("b") / "imagesTr" / "stanford_Mets-005_0000.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), stacks["2"])
    assert np.allclose(image.affine, np.diag([1.0, 1.0, 3.0, 1.0]))


def test_a_missing_slice_is_a_broken_case(replica, dst):
    for name in ("Mets_001", "Mets_002"):
        for kind in ("0", "1", "3"):
            seed = hash((name, kind)) % 1000
            replica.slices(f"{name}/{kind}", np.random.default_rng(seed).integers(1, 9, (16, 16, 17)).astype(np.uint8))
        replica.slices(f"{name}/seg", np.full((16, 16, 17), 0, dtype=np.uint8))
    (replica.root / "Mets_002" / "3" / "9.png").unlink()
    done = run_import("stanford-png", replica, dst, code=1)
    assert done["cases"] == {"stanford_Mets-001": "imported", "stanford_Mets-002": "failed"}
    assert messages(done, "failed") == ["Slice 9 is missing in 3."]
    assert messages(done, "empty") == ["Its mask is empty."]


def test_stanford_test_cases_have_no_mask(replica, dst):
    for part, name in (("train", "Mets_010"), ("test_2", "Mets_110"), ("train", "Mets_011")):
        for kind in ("bravo", "t1_pre", "t1_gd", "flair"):
            replica.image(f"brainmetshare-3/{part}/{name}/{kind}.nii.gz")
    replica.mask("brainmetshare-3/train/Mets_010/seg.nii.gz", {3: 1})
    done = run_import("stanford-nifti", replica, dst, code=1)
    assert done["cases"] == {
        "stanford_Mets-010": "imported", "stanford_Mets-110": "imported", "stanford_Mets-011": "failed",
    }  # fmt: skip
    assert sorted(p.name for p in (dst / "imagesTs").iterdir()) == [
        f"stanford_Mets-110_{n:04d}.nii.gz" for n in range(3)
    ]
    assert description(dst)["numTraining"] == 1


def test_openbtai_masks_on_other_grids_come_to_the_image(replica, dst):
    coarse = AFFINE.copy()
    coarse[:3, :3] *= 0.5
    replica.image("040102/040102_Img_T0.nii")
    fine = replica.mask("040102/040102_Msk_T0.nii", {3: 7}, affine=coarse, shape=(40, 36, 32))
    replica.image("040102/040102_img_T1.nii")
    replica.mask("040102/040102_msk_T1.nii", {3: 1})
    replica.image("040103/x_img_a.nii")
    replica.mask("040103/y_msk_b.nii", {3: 1})
    replica.image("040104/img_1.nii")
    done = run_import("openbtai-mets", replica, dst, code=1)
    assert done["counts"] == {"imported": 3, "kept": 0, "left-out": 0, "failed": 1}
    rows = manifest(dst)
    assert rows["openbtai_040102_T0", "mask"]["time_point"] == "T0"
    assert rows["openbtai_040102_T0", "mask"]["patient"] == rows["openbtai_040102_T1", "mask"]["patient"] == "040102"
    # Voxel (i, j, k) of the image lies on voxel (2i, 2j, 2k) of the mask.
    assert np.array_equal(labels_in(dst, "openbtai_040102_T0"), (fine[::2, ::2, ::2] > 0).astype(np.uint8))
    assert len(messages(done, "resampled")) == 1
    assert any("paired in sorted order" in message for message in messages(done, "note"))
    assert messages(done, "failed") == ["1 images and 0 masks do not pair: img_1.nii."]
    assert "3 patients were found; the whole set has 75." in messages(done, "note")


def test_openbtai_time_points_by_pattern_and_chosen_values(replica, dst):
    replica.image("040102/040102_img_2019a_x.nii")
    replica.mask("040102/040102_msk_2019a_x.nii", {3: 1, 2: 2})
    run_import("openbtai-mets", replica, dst, "--set", r"time_point=(\d{4})", "--labels", "1=lesion,2=0")
    assert manifest(dst)["openbtai_040102_2019", "mask"]["labels"] == "1:48"


def test_nyumets_studies_and_the_table_of_images(replica, dst):
    for patient, study in (("11", "s1"), ("11", "s2"), ("12", "s1"), ("13", "s9")):
        folder = f"imaging/patientId/{patient}/studyId/{study}"
        for kind in ("T1", "CT1", "T2", "FLAIR"):
            replica.image(f"{folder}/{kind}.nii.gz")
        if patient != "12":
            replica.mask(f"{folder}/RTSTRUCT_segmentation.nii.gz", {3: 1})
    (replica.root / "imaging/patientId/13/studyId/s9/T2.nii.gz").unlink()
    table = "PatientID,StudyID,T1,CT1,T2,FLAIR,RelativeTimepoint,ExpertAdjusted\n"
    table += "11,s1,True,True,True,True,0,True\n11,s2,True,True,True,True,90,True\n"
    table += "12,s1,True,True,True,True,0,False\n13,s9,True,True,True,True,0,True\n"
    replica.text("table.csv", table)
    flags = ("--set", f"metadata={replica.root / 'table.csv'}")
    done = run_import("nyumets", replica, dst, *flags, code=1)
    assert done["cases"] == {
        "nyumets_11_s1": "imported", "nyumets_11_s2": "imported", "nyumets_12_s1": "imported",
        "nyumets_13_s9": "failed",
    }  # fmt: skip
    assert messages(done, "failed") == ["The table of images promises T2, which are not there."]
    assert manifest(dst)["nyumets_11_s2", "mask"]["time_point"] == "90"
    assert min(p.name for p in (dst / "imagesTs").iterdir()) == "nyumets_12_s1_0000.nii.gz"
    expert = run_import("nyumets", replica, dst.with_name("e"), *flags, "--set", "expert_only=true", code=1)
    assert "nyumets_12_s1" not in expert["cases"]


def test_yale_has_images_only(replica, dst):
    for kind in ("PRE", "POST", "T2", "FLAIR"):
        replica.image(f"YG_0A1/2011-03-04/YG_0A1_2011-03-04_101500_{kind}.nii.gz")
        replica.image(f"YG_0A1/2012-05-06/YG_0A1_2012-05-06_080000_{kind}.nii.gz")
        replica.image(f"YG_0A1/2012-05-06/YG_0A1_2012-05-06_170000_{kind}.nii.gz")
    done = run_import("yale-longitudinal", replica, dst)
    assert sorted(done["cases"]) == [
        "yale_YG-0A1_2011-03-04", "yale_YG-0A1_2012-05-06T080000", "yale_YG-0A1_2012-05-06T170000",
    ]  # fmt: skip
    assert not (dst / "labelsTr").exists()
    assert description(dst)["numTraining"] == 0
    source = replica.root / "YG_0A1/2011-03-04/YG_0A1_2011-03-04_101500_POST.nii.gz"
    assert np.array_equal(voxels_of(dst / "imagesTs/yale_YG-0A1_2011-03-04_0000.nii.gz"), voxels_of(source))
