"""Folders of nnU-Net: which model is meant, and what is read of it."""

import json

import numpy as np
import pytest

from metseg.core.errors import ModelError
from metseg.io.nnunet_folder import choose, find_trained, read_checkpoint
from torch_files import save
from unit.test_nnunet_plans import FULLRES

WEIGHT = np.arange(6, dtype="<f4").reshape(2, 3)
CONTENT = {
    "network_weights": {"encoder.a": WEIGHT, "decoder.encoder.a": WEIGHT, "encoder.all_modules.0": WEIGHT},
    "trainer_name": "nnUNetTrainer",
    "init_args": {"configuration": "3d_fullres", "fold": 0},
    "inference_allowed_mirroring_axes": (0, 1, 2),
    "logging": {"loss": 1},
}


def put(folder, name="nnUNetTrainer__nnUNetPlans__3d_fullres", folds=("0",), checkpoint="checkpoint_final.pth"):
    """A trained folder."""
    path = folder / name
    path.mkdir(parents=True)
    last = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    known = {"3d_fullres": FULLRES, "3d_lowres": FULLRES, "3d_cascade_fullres": last, "2d": FULLRES}
    (path / "plans.json").write_text(json.dumps({"configurations": known}))
    (path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "mets": 1}}))
    for fold in folds:
        save(path / f"fold_{fold}" / checkpoint, CONTENT)
    return path


@pytest.fixture
def results(tmp_path):
    return tmp_path / "nnUNet_results"


def test_a_model_is_found_from_any_of_its_folders(results):
    path = put(results / "Dataset001_Mets", folds=("0", "3", "all"))
    for root in (results, path.parent, path):
        (found,) = find_trained(root)
        assert choose(root, [found]) == found
        assert (found.trainer, found.plans_name, found.configuration) == ("nnUNetTrainer", "nnUNetPlans", "3d_fullres")
        assert list(found.folds) == ["0", "3"]  # "all" is another training
        assert found.plans().configuration("3d_fullres")["spacing"] == [5.0, 0.9, 0.8]


def test_fold_all_serves_where_there_is_no_other_and_best_where_there_is_no_final(results):
    put(results / "Dataset001_Mets", folds=("all",), checkpoint="checkpoint_best.pth")
    (found,) = find_trained(results)
    assert {name: file.name for name, file in found.folds.items()} == {"all": "checkpoint_best.pth"}


def test_the_cascade_comes_first_and_brings_its_first_stage(results):
    folder = results / "Dataset001_Mets"
    for configuration in ("2d", "3d_fullres", "3d_cascade_fullres", "3d_lowres"):
        put(folder, f"nnUNetTrainer__nnUNetPlans__{configuration}")
    put(folder, "nnUNetTrainerX__nnUNetPlans__3d_lowres")
    found = find_trained(results)
    cascade = choose(results, found)
    assert cascade.configuration == "3d_cascade_fullres"
    first = cascade.previous(found)
    assert (first.trainer, first.configuration) == ("nnUNetTrainer", "3d_lowres")
    assert first.previous(found) is None
    assert choose(results, found, "2d").configuration == "2d"
    low = folder / "nnUNetTrainer__nnUNetPlans__3d_lowres"
    assert choose(low, find_trained(low)).path == low
    assert len(find_trained(low)) == 5


def test_a_cascade_without_its_first_stage_is_refused(results):
    put(results / "Dataset001_Mets", "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres")
    put(results / "Dataset002_Mets", "nnUNetTrainer__nnUNetPlans__3d_lowres")
    found = find_trained(results)
    with pytest.raises(ModelError, match="needs the labels of 3d_lowres, but Dataset001_Mets has no trained"):
        choose(results, found).previous(found)


def test_what_is_not_clear_is_asked(results):
    for name in ("Dataset001_Mets", "Dataset002_Mets"):
        put(results / name)
    found = find_trained(results)
    with pytest.raises(ModelError, match="holds 2 models, and nothing tells which is meant") as error:
        choose(results, found)
    assert "Dataset002_Mets/nnUNetTrainer__nnUNetPlans__3d_fullres" in error.value.hint
    with pytest.raises(ModelError, match="No trained model has the configuration 2d"):
        choose(results, found, "2d")


def test_a_folder_without_a_model_is_refused(tmp_path, results):
    put(results / "Dataset001_Mets", folds=())  # planned, but not trained
    for folder in (tmp_path, results):
        with pytest.raises(ModelError, match="There is no trained nnU-Net model in"):
            find_trained(folder)


def test_a_checkpoint_holds_each_weight_once(tmp_path):
    found = read_checkpoint(save(tmp_path / "fold_0" / "checkpoint_final.pth", CONTENT))
    assert list(found.weights) == ["encoder.a"]
    np.testing.assert_array_equal(found.weights["encoder.a"], WEIGHT)
    assert (found.trainer, found.configuration, found.mirror_axes) == ("nnUNetTrainer", "3d_fullres", (0, 1, 2))


@pytest.mark.parametrize("content", [{}, {"network_weights": 3}, {"network_weights": {"a": "b"}}, (1, 2)])
def test_what_is_no_checkpoint_of_nnunet_is_refused(tmp_path, content):
    with pytest.raises(ModelError, match=r"fold_0/checkpoint_final.pth is no checkpoint of nnU-Net"):
        read_checkpoint(save(tmp_path / "fold_0" / "checkpoint_final.pth", content))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is no JSON"), ("[1]", "is not what nnU-Net writes"), (None, "cannot be read")]
)
def test_a_broken_json_file_is_named(results, text, message):
    path = put(results / "Dataset001_Mets")
    (found,) = find_trained(results)
    (path / "plans.json").unlink()
    if text is not None:
        (path / "plans.json").write_text(text)
    with pytest.raises(ModelError, match=f"__3d_fullres/plans.json {message}"):
        found.plans()
