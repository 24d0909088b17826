"""Recipes of ``metseg train``, and what they change in nnU-Net's plans."""

from pathlib import Path

import pytest

from metseg.core.errors import ConfigError, InputError
from metseg.training.nnunet.plan_edits import Topology, check_plans, check_start, with_network, with_patch
from metseg.training.nnunet.recipe import NnunetRecipe
from metseg.training.recipe_file import read_recipe_file

PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


def recipe(**dials):
    return NnunetRecipe(data=Path("Dataset001_A"), out=Path("out"), **dials)


def plan(stages=6, network=PLAIN, **more):
    return {
        "patch_size": [128, 128, 96], "batch_size": 2, "spacing": [1.0, 1.0, 1.0],
        "architecture": {
            "network_class_name": network, "_kw_requires_import": ["conv_op"],
            "arch_kwargs": {
                "n_stages": stages, "features_per_stage": [32, 64, 128, 256, 320, 320][:stages],
                "kernel_sizes": [[3, 3, 3]] * stages, "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
                "n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1), "conv_bias": True,
                **more,
            },
        },
    }  # fmt: skip


TINY = Topology((16, 16, 32), ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 2)), ((3, 3, 3),) * 4)


def test_a_file_with_several_wrong_keys_is_refused_with_all_of_them(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text('data = "d"\nepoch = 3\nnetwork = "vnet"\nfolds = [0, 0]\nbatch = 1\nsave_every = 0\n')
    with pytest.raises(ConfigError) as error:
        read_recipe_file(path, NnunetRecipe)
    message = error.value.message
    assert message.startswith("The recipe wrong.toml is wrong: ")
    for part in ("out: Field required", "epoch: Extra inputs", "network: Input should be 'nnunet'", "batch: ",
                 'folds: should be a list of numbers of folds, each once, or "all"', "save_every: "):  # fmt: skip
        assert part in message


def test_a_file_that_is_none_is_refused_by_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        read_recipe_file(tmp_path / "nowhere.toml", NnunetRecipe)
    (tmp_path / "broken.toml").write_text("data = \n")
    with pytest.raises(ConfigError, match=r"broken\.toml cannot be read"):
        read_recipe_file(tmp_path / "broken.toml", NnunetRecipe)


@pytest.mark.parametrize(
    ("dials", "told"),
    [
        ({"configuration": "2d", "patch": (32, 32, 32)}, "the patch of 2d has 2 sides"),
        ({"patch": (32, 32)}, "the patch of 3d_fullres has 3 sides"),
        ({"patch": (8, 8, 8)}, "one of at least 16 voxels"),
        ({"configuration": "2d", "mirror_axes": (2,)}, "mirror_axes of 2d are some of 0, 1, once"),
        ({"mirror_axes": (0, 0)}, "mirror_axes of 3d_fullres"),
        ({"batch": 2, "gpus": 3}, "each of 3 gpus needs a patch of a batch, which is 2"),
        ({"device": "mps", "gpus": 2}, "mps has one GPU"),
        ({"loss": "dice"}, "loss"),
        ({"start": "models/a", "patch": (32, 32, 32)}, "come with the bundle that start names"),
    ],
)
def test_parts_that_do_not_agree_are_refused(dials, told):
    with pytest.raises(ValueError, match=told):
        recipe(**dials)


def test_a_cascade_trains_low_resolution_first_and_prepares_full_resolution():
    both = recipe(configuration="3d_cascade_fullres")
    assert both.stages == ("3d_lowres", "3d_cascade_fullres")
    assert both.prepared == ("3d_lowres", "3d_fullres")
    assert recipe(configuration="2d").stages == recipe(configuration="2d").prepared == ("2d",)


def test_the_hash_is_of_what_decides_the_result():
    known = recipe(seed=3).sha256
    elsewhere = NnunetRecipe(data=Path("far/Dataset001_A"), out=Path("o"), seed=3, workers=0, threads=1, device="cpu")
    assert elsewhere.sha256 == known
    assert len({known, recipe(seed=4).sha256, recipe(seed=3, epochs=2).sha256, recipe(seed=3, folds="all").sha256}) == 4


def test_a_network_is_replaced_and_all_else_stays():
    before = plan()
    after = with_network(before, "metseg.networks.unet_plus_plus.UNetPlusPlus")
    assert after["architecture"]["network_class_name"] == "metseg.networks.unet_plus_plus.UNetPlusPlus"
    assert before["architecture"]["network_class_name"] == PLAIN
    after["architecture"]["network_class_name"] = PLAIN
    assert after == before == with_network(before, None)


def test_a_patch_gets_the_stages_that_it_can_have():
    after = with_patch(plan(), TINY, 32, 100)
    kwargs = after["architecture"]["arch_kwargs"]
    assert after["patch_size"] == [16, 16, 32]
    assert (kwargs["n_stages"], kwargs["features_per_stage"]) == (4, [32, 64, 100, 100])
    assert kwargs["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2], [1, 1, 2]]
    assert (kwargs["n_conv_per_stage"], kwargs["n_conv_per_stage_decoder"]) == ([2] * 4, [2] * 3)
    assert (kwargs["kernel_sizes"], kwargs["conv_bias"]) == ([[3, 3, 3]] * 4, True)
    assert plan() == plan()  # nothing of it was changed in place


def test_a_patch_may_have_more_stages_than_the_plan_and_residual_blocks_are_kept():
    before = plan(stages=3, n_blocks_per_stage=[1, 3, 4])
    del before["architecture"]["arch_kwargs"]["n_conv_per_stage"]
    kwargs = with_patch(before, TINY, 32, 320)["architecture"]["arch_kwargs"]
    assert kwargs["n_blocks_per_stage"] == [1, 3, 4, 4]
    assert "n_conv_per_stage" not in kwargs
    assert kwargs["n_conv_per_stage_decoder"] == [2, 2, 2]


def test_plans_that_lack_the_configuration_are_refused():
    known = {"configurations": {"2d": plan(), "3d_fullres": plan()}}
    check_plans(known, recipe())
    with pytest.raises(ConfigError, match="plans no 3d_lowres") as error:
        check_plans(known, recipe(configuration="3d_cascade_fullres"))
    assert "smaller patch" in error.value.hint
    with pytest.raises(ConfigError, match="plans no 3d_fullres") as error:
        check_plans({"configurations": {"2d": plan()}}, recipe())
    assert error.value.hint == "Take the configuration 2d."


def test_a_planned_batch_that_cannot_be_shared_is_refused():
    known = {"configurations": {"3d_fullres": plan()}}
    check_plans(known, recipe(gpus=2))
    with pytest.raises(ConfigError, match="A batch of 3d_fullres has 2 patches, fewer than 3 GPUs"):
        check_plans(known, recipe(gpus=3))


def test_networks_of_two_stages_are_refused():
    """With nnU-Net's deep supervision their loss would be 0 / 0."""
    with pytest.raises(ConfigError, match="too small for 3d_fullres"):
        check_plans({"configurations": {"3d_fullres": plan(stages=2)}}, recipe())


def test_a_model_to_start_from_must_be_of_the_same_kind():
    plans, dataset = {"configurations": {"3d_fullres": plan()}}, {"channel_names": {"0": "t1c"}}
    check_start(plans, dataset, recipe(), 1)
    with pytest.raises(InputError, match="takes 1 channels, and the data set has 4"):
        check_start(plans, dataset, recipe(), 4)
    with pytest.raises(ConfigError, match=r"has the network PlainConvUNet, not that of unet\+\+"):
        check_start(plans, dataset, recipe(network="unet++"), 1)
    with pytest.raises(ConfigError, match="PlainConvUNet, not that of resenc-m"):
        check_start(plans, dataset, recipe(network="resenc-m"), 1)
