"""U-Net++ and Attention U-Net, as nnU-Net's plans size them: what nnU-Net asks of a network, and what they compute."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the torch extra)")

from torch import nn  # noqa: E402

from metseg.engines.torch.unet import build_unet  # noqa: E402
from metseg.networks.attention_unet import AttentionUNet  # noqa: E402
from metseg.networks.unet_plus_plus import UNetPlusPlus  # noqa: E402
from nnunet_oracle import Oracle, make_weights  # noqa: E402
from unit.test_nnunet_graph import FLAT_GATED, FLAT_NESTED, GATED, NESTED, image  # noqa: E402

CASES = pytest.mark.parametrize(
    ("it", "window"),
    [(NESTED, (6, 12, 16)), (GATED, (6, 12, 16)), (FLAT_NESTED, (10, 12)), (FLAT_GATED, (10, 12))],
    ids=["U-Net++", "Attention U-Net", "U-Net++ 2d", "Attention U-Net 2d"],
)
KINDS = {"nested": UNetPlusPlus, "attention": AttentionUNet}


def arguments(it, **more):
    """What nnU-Net calls a network with, for given sizes."""
    flat = len(it.strides[0]) == 2
    return {
        "input_channels": it.channels, "n_stages": len(it.features), "features_per_stage": list(it.features),
        "conv_op": nn.Conv2d if flat else nn.Conv3d, "kernel_sizes": [list(one) for one in it.kernels],
        "strides": [list(one) for one in it.strides], "n_conv_per_stage": list(it.depth), "num_classes": it.outputs,
        "n_conv_per_stage_decoder": list(it.decoder_depth), "conv_bias": True,
        "norm_op": nn.InstanceNorm2d if flat else nn.InstanceNorm3d, "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None, "dropout_op_kwargs": None, "nonlin": nn.LeakyReLU, "nonlin_kwargs": {"inplace": True},
        **more,
    }  # fmt: skip


def make(it, **more):
    return KINDS[it.decoder](**arguments(it, **more))


@CASES
def test_a_network_is_that_of_double_precision(it, window):
    weights = make_weights(it)
    network = make(it).eval()
    network.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})  # strictly
    one = image(it.channels, window)
    with torch.no_grad():
        found = network(torch.from_numpy(one)[None])[0].numpy()
        within = build_unet(it, weights)(torch.from_numpy(one)[None])[0].numpy()
    expected = Oracle(it, weights)(one)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(within, found, atol=1e-6)


@CASES
def test_deep_supervision_has_the_resolutions_of_nnunets_targets(it, window):
    network = make(it, deep_supervision=True)
    logits = network(torch.from_numpy(image(it.channels, window))[None])
    scales = 1 / np.cumprod(np.array(it.strides), axis=0)[:-1]  # nnUNetTrainer's, of a plan's strides
    expected = [(1, it.outputs, *np.round(np.array(window) * scale).astype(int).tolist()) for scale in scales]
    assert [tuple(one.shape) for one in logits] == expected
    network.decoder.deep_supervision = False  # as nnUNetTrainer does to validate
    only = network(torch.from_numpy(image(it.channels, window))[None])
    assert torch.equal(only, logits[0])


@CASES
def test_all_parameters_learn_from_the_finest_heads(it, window):
    """nnU-Net gives the coarsest head no weight, but what it sees must still learn."""
    torch.manual_seed(0)
    network = make(it, deep_supervision=True, conv_bias=False)
    network.apply(network.initialize)
    for name, weight in network.named_parameters():
        if name.endswith("norm.bias"):
            nn.init.normal_(weight, 0, 0.1)
    logits = network(torch.from_numpy(image(it.channels, window))[None])
    sum((one * torch.randn_like(one)).mean() for one in logits[:-1]).backward()
    still = [name for name, w in network.named_parameters() if w.grad is None or not w.grad.abs().max() > 0]
    assert still == [f"decoder.seg_layers.0.{part}" for part in ("weight", "bias")]


@CASES
def test_feature_maps_are_counted_as_nnunet_counts_them(it, window):
    """Values that each convolution puts out, added up by hand."""
    sizes = [np.prod(np.array(window) // total) for total in np.cumprod(np.array(it.strides), axis=0)]
    count = sum(f * n * d for f, n, d in zip(it.features, sizes, it.depth))
    for row, depth in enumerate(it.decoder_depth):
        level = len(it.features) - 2 - row
        nodes = row + 1 if it.decoder == "nested" else 1
        count += nodes * (1 + depth) * it.features[level] * sizes[level]
        if it.decoder == "attention":
            count += (2 * it.features[level] + 1) * sizes[level + 1]
    network = make(it)
    assert network.compute_conv_feature_map_size(window) == count + it.outputs * sizes[0]
    coarser = sum(it.outputs * size for size in sizes[1:-1])
    supervised = make(it, deep_supervision=True).compute_conv_feature_map_size(window)
    assert supervised == count + it.outputs * sizes[0] + coarser
    assert {w.device.type for w in network.parameters()} == {"cpu"}  # it was not touched


def test_one_value_stands_for_all_stages_and_a_wrong_number_is_refused():
    spelt = make(
        FLAT_NESTED, features_per_stage=4, kernel_sizes=3, strides=[1, 2, 2], n_conv_per_stage=1,
        n_conv_per_stage_decoder=2,
    )  # fmt: skip
    assert spelt.sizes.features == (4, 4, 4)
    assert spelt.sizes.kernels == ((3, 3),) * 3
    assert spelt.sizes.strides == ((1, 1), (2, 2), (2, 2))
    assert (spelt.sizes.depth, spelt.sizes.decoder_depth) == ((1, 1, 1), (2, 2))
    with pytest.raises(ValueError, match=r"3 values are needed, one for each stage or axis, not 2: \[1, 2\]"):
        make(FLAT_NESTED, strides=[1, 2])


def test_dropout_batch_norm_and_the_order_of_activations_are_the_plans():
    it = FLAT_GATED
    given = {"dropout_op": nn.Dropout2d, "dropout_op_kwargs": {"p": 0.5}, "norm_op": nn.BatchNorm2d}
    block = make(it, **given).encoder.stages[0][0].convs[0]
    assert (type(block.dropout), block.dropout.p, type(block.norm)) == (nn.Dropout2d, 0.5, nn.BatchNorm2d)
    images = torch.from_numpy(image(1, (10, 12)))[None]
    with torch.no_grad():
        swapped = make(it, nonlin_first=True).encoder.stages[0][0].convs[0]
        assert torch.equal(swapped(images), swapped.norm(nn.functional.leaky_relu(swapped.conv(images))))
        straight = make(it).encoder.stages[0][0].convs[0]
        assert torch.equal(straight(images), nn.functional.leaky_relu(straight.norm(straight.conv(images))))


@CASES
def test_shapes_and_counts_are_those_of_nnunets_own_network(it, window):
    """Where dynamic-network-architectures is installed: the encoder's weights, the resolutions, the feature maps."""
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet", reason="nnU-Net is not installed")
    torch.manual_seed(1)
    peer, own = (kind(**arguments(it, deep_supervision=True)) for kind in (unet.PlainConvUNet, KINDS[it.decoder]))
    theirs = {name: w for name, w in peer.encoder.state_dict().items() if ".all_modules." not in name}
    own.encoder.load_state_dict(theirs)  # strictly
    images = torch.from_numpy(image(it.channels, window))[None]
    for found, expected in zip(own.encoder(images), peer.encoder(images), strict=True):
        assert torch.equal(found, expected)
    assert [one.shape for one in own(images)] == [one.shape for one in peer(images)]
    heads = {name: w.shape for name, w in own.state_dict().items() if "seg_layers" in name}
    assert heads == {name: w.shape for name, w in peer.state_dict().items() if "seg_layers" in name}
    peer.decoder.deep_supervision = False
    own.decoder = peer.decoder  # so that both must count the same
    assert own.compute_conv_feature_map_size(window) == peer.compute_conv_feature_map_size(window)
