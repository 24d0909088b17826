"""What plans.json and dataset.json say, in the layouts of nnU-Net 2.1 to 2.8."""

import numpy as np
import pytest

from metseg.core.errors import ModelError
from metseg.engines.nnunet.resample import Resampling
from metseg.io.nnunet_plans import Plans, model_of, stage_of

ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 3, "features_per_stage": [8, 16, 24], "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2], "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
    },
}  # fmt: skip
FULLRES = {
    "spacing": [5.0, 0.9, 0.8], "patch_size": [16, 64, 64], "normalization_schemes": ["CTNormalization"],
    "use_mask_for_norm": [False], "architecture": ARCHITECTURE, "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
}  # fmt: skip
OLD = {
    "spacing": [1, 1, 1], "patch_size": [32, 32, 32], "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [True], "UNet_class_name": "ResidualEncoderUNet", "UNet_base_num_features": 8,
    "unet_max_num_features": 20, "n_conv_per_stage_encoder": [1, 3, 4], "n_conv_per_stage_decoder": [1, 1],
    "conv_kernel_sizes": [[3, 3, 3]] * 3, "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
}  # fmt: skip
SEEN = {"percentile_00_5": -20.0, "percentile_99_5": 110.0, "mean": 41.0, "std": 17.0, "min": -50, "max": 200}


def plans(configurations=None, labels=None, channels=None, **more):
    files = {
        "configurations": configurations or {"3d_fullres": FULLRES}, "transpose_forward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO", "foreground_intensity_properties_per_channel": {"0": SEEN},
    }  # fmt: skip
    dataset = {
        "labels": labels or {"background": 0, "mets": 1},
        "channel_names": channels or {"0": "CT"},
        "regions_class_order": more.pop("order", None),
    }
    return Plans({**files, **more}, dataset)


def changed(**more):
    return {"3d_fullres": {**FULLRES, **more}}


def network(**more):
    given = {**ARCHITECTURE["arch_kwargs"], **more}
    return changed(architecture={**ARCHITECTURE, "arch_kwargs": given})


def test_a_configuration_becomes_a_stage():
    stage = stage_of(plans(), "3d_fullres", ["a", "b"], (0, 1, 2))
    assert (stage.spacing_mm, stage.window, stage.weights) == ((5.0, 0.9, 0.8), (16, 64, 64), ("a", "b"))
    assert (stage.network.encoder, stage.network.decoder) == ("plain", "plain")
    assert (stage.network.channels, stage.network.outputs) == (1, 2)
    assert stage.network.kernels == ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    assert stage.mirror_axes == (0, 1, 2)
    (scheme,) = stage.normalisation
    assert (scheme.scheme, scheme.low, scheme.high, scheme.mean, scheme.deviation) == ("ct", -20, 110, 41, 17)
    assert stage.image_resampling == Resampling(order=3)
    assert stage.logit_resampling == stage.label_resampling == Resampling(order=1)
    model = model_of(plans(), [stage])
    assert (model.axes, model.labels, model.foreground, model.regions) == ((2, 1, 0), (0, 1), (1,), False)
    assert stage_of(plans(), "3d_fullres", ["a"], None).mirror_axes == ()


def test_plans_of_2_1_name_the_network_in_another_way():
    it = plans(
        {"3d_fullres": OLD}, foreground_intensity_properties_per_channel=None, transpose_forward=[1, 0, 2],
        foreground_intensity_properties_by_modality={"0": SEEN},
    )  # fmt: skip
    stage = stage_of(it, "3d_fullres", ["a"], None)
    assert stage.network.encoder == "residual"
    assert (stage.network.features, stage.network.depth) == ((8, 16, 20), (1, 3, 4))
    assert stage.network.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    assert stage.normalisation[0].masked
    assert model_of(it, [stage]).axes == (1, 2, 0)


@pytest.mark.parametrize(
    ("name", "decoder"), [("unet_plus_plus.UNetPlusPlus", "nested"), ("attention_unet.AttentionUNet", "attention")]
)
def test_metsegs_own_networks_go_by_their_whole_name(name, decoder):
    it = plans(changed(architecture={**ARCHITECTURE, "network_class_name": f"metseg.networks.{name}"}))
    plain = stage_of(plans(), "3d_fullres", ["a"], None).network
    assert stage_of(it, "3d_fullres", ["a"], None).network == plain.model_copy(update={"decoder": decoder})
    foreign = plans(changed(architecture={**ARCHITECTURE, "network_class_name": f"elsewhere.{name}"}))
    with pytest.raises(ModelError, match=r"the network \w+, which metseg does not have") as caught:
        stage_of(foreign, "3d_fullres", ["a"], None)
    assert all(
        known in caught.value.hint for known in ("PlainConvUNet", "ResidualEncoderUNet", f"metseg.networks.{name}")
    )


def test_one_number_stands_for_all_stages_and_axes():
    it = plans(network(kernel_sizes=3, strides=[1, 2, 2], n_conv_per_stage=2, n_conv_per_stage_decoder=1))
    found = stage_of(it, "3d_fullres", ["a"], None).network
    assert found.kernels == ((3, 3, 3),) * 3
    assert found.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    assert (found.depth, found.decoder_depth) == ((2, 2, 2), (1, 1))


def test_a_cascade_inherits_and_sees_the_labels_of_the_stage_before():
    low = {**FULLRES, "spacing": [5.0, 2.0, 2.0]}
    last = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    it = plans(
        {"3d_lowres": low, "3d_fullres": FULLRES, "3d_cascade_fullres": last},
        {"background": 0, "core": 1, "oedema": 2, "ignore": 3},
    )
    stages = [stage_of(it, name, ["a"], None) for name in ("3d_lowres", "3d_cascade_fullres")]
    assert [stage.network.channels for stage in stages] == [1, 3]
    assert [stage.network.outputs for stage in stages] == [3, 3]
    assert stages[1].spacing_mm == (5.0, 0.9, 0.8)
    assert model_of(it, stages).foreground == (1, 2)


def test_regions():
    it = plans(labels={"background": 0, "whole": [1, 2, 3], "core": [2, 3], "et": 3}, order=[1, 2, 3])
    found = it.labels()
    assert (found.names, found.values, found.foreground, found.regions) == (
        ("whole", "core", "et"), (1, 2, 3), (1, 2, 3), True,
    )  # fmt: skip
    assert stage_of(it, "3d_fullres", ["a"], None).network.outputs == 3


def test_what_is_not_resampled_stays():
    it = plans(changed(resampling_fn_data="no_resampling_hack", resampling_fn_data_kwargs={}))
    assert stage_of(it, "3d_fullres", ["a"], None).image_resampling is None


@pytest.mark.parametrize(
    ("it", "message"),
    [
        (plans(network(nonlin="torch.nn.Mish")), "needs the activation Mish, which metseg does not have"),
        (plans(network(norm_op="torch.nn.GroupNorm")), "needs the normalisation GroupNorm"),
        (plans(network(squeeze_excitation=True)), "has squeeze_excitation, which metseg does not support"),
        (plans(changed(architecture={**ARCHITECTURE, "network_class_name": "x.SwinUNETR"})), "the network SwinUNETR"),
        (plans(changed(normalization_schemes=["MyNormalization"])), "the normalisation MyNormalization"),
        (plans(changed(resampling_fn_seg="resample_by_magic")), "the resampling resample_by_magic"),
        (plans(changed(spacing=[5.0, 0.0, 1.0])), r"not valid: spacing_mm.1: Input should be greater than 0"),
        (plans({"2d": FULLRES}), "no configuration '3d_fullres'"),
        (plans(changed(inherits_from="3d_fullres")), "inherits from itself"),
        (plans({"3d_fullres": {k: v for k, v in FULLRES.items() if k != "spacing"}}), "lacks 'spacing'"),
        (plans(labels={"mets": 1}), "does not name label 0 as background"),
        (plans(labels={"background": 0, "mets": 2}), "are not 0, 1, 2"),
        (plans(labels={"background": 0, "a": [1, 2], "b": 2}, order=[1]), "regions_class_order"),
    ],
)
def test_what_is_not_supported_is_named(it, message):
    with pytest.raises(ModelError, match=message):
        stage_of(it, "3d_fullres", ["a"], None)


def test_readers_of_other_kinds_of_images_are_refused():
    stage = stage_of(plans(), "3d_fullres", ["a"], None)
    assert model_of(plans(image_reader_writer="NibabelIOWithReorient"), [stage]).canonical
    with pytest.raises(ModelError, match="reader of images NaturalImage2DIO"):
        model_of(plans(image_reader_writer="NaturalImage2DIO"), [stage])


def test_channels_come_in_the_order_of_their_numbers():
    names = {str(n): name for n, name in enumerate("abcdefghijk")}
    shuffled = {key: names[key] for key in np.random.default_rng(0).permutation(list(names)).tolist()}
    assert plans(channels=shuffled).channels() == tuple("abcdefghijk")
