"""What in a data set breaks a training, said before it begins; folds; what a run keeps."""

import json
from pathlib import Path

import numpy as np
import pytest

from metseg.core.errors import ConfigError, InputError
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.io.nifti import write_nifti
from metseg.training.nnunet.dataset import check_voxels, folds_of, read_raw
from metseg.training.nnunet.recipe import NnunetRecipe
from metseg.training.nnunet.run import _keep_recipe, epoch_text
from nnunet_raw import make_raw, make_study, write_json, write_study

SMALL = (9, 8, 7)


@pytest.fixture
def data(tmp_path):
    return make_raw(tmp_path / "Dataset007_Mets", count=4, shape=SMALL)


def recipe(data, **dials):
    return NnunetRecipe(data=data, out=Path("out"), **{"folds": (0,), **dials})


def change_dataset(data, **changes):
    path = data / "dataset.json"
    write_json(path, {**json.loads(path.read_text()), **changes})


def test_a_data_set_is_read_as_it_is(data):
    raw = read_raw(data)
    assert (raw.name, raw.channels, raw.cases) == ("Dataset007_Mets", ("t1c",), tuple(f"case_{n}" for n in range(4)))
    assert raw.labels.foreground == (1, 2)
    assert len(raw.files()) == 2 + 4 + 4
    check_voxels(raw, recipe(data))
    folds, told = folds_of(raw, recipe(data))
    assert folds[0] == {"train": ["case_1", "case_3"], "val": ["case_0", "case_2"]}
    assert "splits_final.json" in told


def test_a_folder_of_another_name_gets_one_that_nnunet_takes(tmp_path):
    assert read_raw(make_raw(tmp_path / "my data", count=2, shape=SMALL)).name == "Dataset999_my_data"


def test_all_missing_files_are_told_at_once(data):
    change_dataset(data, channel_names={"0": "t1c", "1": "t2f"})
    (data / "imagesTr" / "case_1_0001.nii.gz").write_bytes(b"")
    (data / "labelsTr" / "case_2.nii.gz").unlink()
    with pytest.raises(InputError) as error:
        read_raw(data)
    for part in ("case_0 lacks channel 1 (t2f)", "case_2 lacks channel 1", "case_2 has no label map", "case_3 lacks"):
        assert part in error.value.message
    assert "case_1" not in error.value.message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"file_ending": ".mha"}, "metseg trains on NIfTI"),
        ({"labels": {"tumour": 1}}, "label 0 as background"),
        ({"labels": {"background": 0}}, "no channels or no labels"),
        ({"dataset": {}}, "lists its files itself"),
        ({"channel_names": {}}, "no channels or no labels"),
    ],
)
def test_a_dataset_json_that_will_not_do_is_refused(data, changes, told):
    change_dataset(data, **changes)
    with pytest.raises(InputError, match=told):
        read_raw(data)


def test_a_folder_without_dataset_json_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.json in .* cannot be read"):
        read_raw(tmp_path)


def test_labels_outside_the_scheme_sizes_that_differ_and_broken_files_are_told_at_once(data):
    _, labels = make_study(0, SMALL)
    array = np.array(labels.array)
    array[0, 0, 0] = 7
    write_nifti(data / "labelsTr" / "case_0.nii.gz", LabelMap(array, labels.grid))
    write_nifti(data / "labelsTr" / "case_1.nii.gz", make_study(1, (9, 8, 6))[1])
    (data / "imagesTr" / "case_2_0000.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError) as error:
        check_voxels(read_raw(data), recipe(data))
    assert "case_0 has the label 7, which dataset.json does not name" in error.value.message
    assert "case_1: images and label map differ in size (9×8×7, 9×8×6)" in error.value.message
    assert "case_2: an image cannot be read" in error.value.message


def test_an_ignored_value_is_no_stray_label(data):
    change_dataset(data, labels={"background": 0, "tumour": 1, "ignore": 2})
    raw = read_raw(data)
    assert raw.labels.foreground == (1,)
    check_voxels(raw, recipe(data))


def test_no_foreground_anywhere_is_refused(data):
    for number in range(4):
        _, labels = make_study(number, SMALL)
        write_nifti(data / "labelsTr" / f"case_{number}.nii.gz", LabelMap(0 * labels.array, labels.grid))
    with pytest.raises(InputError, match="no label map marks anything"):
        check_voxels(read_raw(data), recipe(data))


def test_single_slices_are_for_2d(data):
    grid = Grid((9, 8, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
    flat = np.arange(72, dtype=np.float32).reshape(9, 8, 1)
    write_study(data, "case_0", Volume(flat, grid), LabelMap((flat > 40).astype(np.uint8), grid))
    with pytest.raises(InputError, match=r"case_0 is a single slice \(9×8×1\), and 3d_fullres is 3D"):
        check_voxels(read_raw(data), recipe(data))
    check_voxels(read_raw(data), recipe(data, configuration="2d"))


def test_patients_and_cases_on_both_sides_are_refused(data):
    write_json(data / "splits_final.json", [
        {"train": ["case_0", "case_1"], "val": ["case_1", "case_9"]}, {"train": ["case_0", "case_1"], "val": ["case_2"]}
    ])  # fmt: skip
    (data / "manifest.csv").write_text("case,patient\n" + "".join(f"case_{n},p{n // 3}\n" for n in range(4)))
    with pytest.raises(InputError) as error:
        folds_of(read_raw(data), recipe(data))
    for part in ("fold 0 names case_9", "in fold 0 case_1 is on both sides", "in fold 1 the patient of case_2 is on"):
        assert part in error.value.message
    write_json(data / "splits_final.json", [{"train": [], "val": ["case_0"]}])
    with pytest.raises(InputError, match="fold 0 has a side without cases"):
        folds_of(read_raw(data), recipe(data))


def test_folds_are_made_by_patient_where_nobody_made_them(data):
    (data / "splits_final.json").unlink()
    assert "by study" in folds_of(read_raw(data), recipe(data))[1]
    (data / "manifest.csv").write_text("case,patient\n" + "".join(f"case_{n},p{n // 2}\n" for n in range(4)))
    folds, told = folds_of(read_raw(data), recipe(data))
    assert sorted(fold["val"] for fold in folds) == [["case_0", "case_1"], ["case_2", "case_3"]]
    assert told == "The folds were made by patient."
    with pytest.raises(InputError, match="wants the fold 2, but Dataset007_Mets gives 2 folds"):
        folds_of(read_raw(data), recipe(data, folds=(0, 2)))


def test_a_run_goes_on_with_its_own_recipe_and_data_alone(data, tmp_path):
    raw, known = read_raw(data), recipe(data).model_copy(update={"out": tmp_path})
    _keep_recipe(known, raw, None)
    _keep_recipe(known.model_copy(update={"workers": 9}), raw, None)
    with pytest.raises(ConfigError, match="begun with another recipe: it differs in epochs, seed"):
        _keep_recipe(known.model_copy(update={"epochs": 7, "seed": 1}), raw, None)
    change_dataset(data, labels={"background": 0, "tumour": 1, "oedema": 2, "cavity": 3})
    with pytest.raises(InputError, match="has changed since the run"):
        _keep_recipe(known, read_raw(data), None)
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(InputError, match=r"recipe\.json in .* cannot be read"):
        _keep_recipe(known, raw, None)


def test_an_epoch_is_told_in_a_line():
    content = {"epoch": 3, "epochs": 10, "train_loss": -0.12345, "pseudo_dice": None, "left_s": 7200.0,
               "lesion_sensitivity": None}  # fmt: skip
    assert epoch_text(content) == "epoch 3 of 10, loss -0.123, 2.0 h left"
    more = {**content, "pseudo_dice": 0.5, "lesion_sensitivity": 2 / 3, "left_s": 61}
    assert epoch_text(more).endswith("pseudo Dice 0.500, 67% of lesions found, 1 min left")
