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


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_a_network_that_torch_wrapped_has_the_names_of_the_bare_one(tmp_path, prefix):
    other = 3 * WEIGHT
    weights = {f"{prefix}{name}": w for name, w in CONTENT["network_weights"].items()}
    weights[f"{prefix}decoder.module.b"] = other  # further in, it is a name as any other
    content = {**CONTENT, "network_weights": weights}
    found = read_checkpoint(save(tmp_path / "fold_0" / "checkpoint_final.pth", content)).weights
    assert list(found) == ["encoder.a", "decoder.module.b"]
    np.testing.assert_array_equal(found["encoder.a"], WEIGHT)
    np.testing.assert_array_equal(found["decoder.module.b"], other)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "it has no key network_weights, nor any other."),
        ({"network_weights": 3}, "what it has under the key network_weights are no weights by name."),
        ({"network_weights": {"a": "b"}}, "what it has under the key network_weights are no weights by name."),
        ((1, 2), "it holds a tuple, no keys with values."),
        ({"epoch": 7, "state_dict": {"a": WEIGHT}}, "it has no key network_weights, but 'epoch', 'state_dict'."),
        ({"model": {"a": WEIGHT}, "bad\n\x1b[2J": 1}, "it has no key network_weights, but 'model', 'bad\\n\\x1b[2J'."),
        (
            {f"k{n}": WEIGHT for n in range(10)},
            "it has no key network_weights, but 'k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7' and 2 more.",
        ),
    ],
)
def test_what_is_no_checkpoint_of_nnunet_is_refused_by_the_keys_it_has(tmp_path, content, says):
    with pytest.raises(ModelError) as refusal:
        read_checkpoint(save(tmp_path / "fold_0" / "checkpoint_final.pth", content))
    assert refusal.value.message == f"fold_0/checkpoint_final.pth is no checkpoint of nnU-Net: {says}"
    assert "under the key network_weights" in refusal.value.hint


def test_folders_that_are_hidden_hold_no_models(results):
    put(results / "Dataset001_Mets")
    put(results / ".Dataset001_Mets.partial-7")
    assert [found.path.parent.name for found in find_trained(results)] == ["Dataset001_Mets"]


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
