"""Parameters and FLOPs of a network, against a count by hand."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the torch extra)")

from metseg.engines.nnunet.unet_arguments import UNetArguments  # noqa: E402
from metseg.engines.torch.cost import network_cost  # noqa: E402
from nnunet_oracle import make_weights  # noqa: E402
from unit.test_nnunet_graph import FLAT, KINDS, stage_of  # noqa: E402

# Three stages, anisotropic: strides and kernels differ by axis.
SMALL = UNetArguments(
    channels=2, outputs=3, encoder="plain", features=(4, 6, 10), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 1)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 1)), depth=(1, 2, 1), decoder_depth=(1, 2),
)  # fmt: skip
WINDOW = (8, 16, 12)


def test_a_small_network_costs_what_its_layers_cost():
    inner = [np.array(WINDOW)]
    for stride in SMALL.strides[1:]:
        inner.append(inner[-1] // stride)
    sizes = [int(np.prod(shape)) for shape in inner]
    flops, inputs = 0, SMALL.channels
    for features, kernel, depth, size in zip(SMALL.features, SMALL.kernels, SMALL.depth, sizes, strict=True):
        for _ in range(depth):
            flops += 2 * size * features * inputs * int(np.prod(kernel))
            inputs = features
    for level, depth in zip((1, 0), SMALL.decoder_depth, strict=True):
        fine, coarse = SMALL.features[level], SMALL.features[level + 1]
        flops += 2 * sizes[level] * coarse * fine  # each fine voxel has one of the transposed kernel's places
        widths = [2 * fine] + [fine] * depth
        flops += sum(2 * sizes[level] * a * b * int(np.prod(SMALL.kernels[level])) for a, b in pairwise(widths))
    flops += 2 * sizes[0] * SMALL.features[0] * SMALL.outputs
    weights = make_weights(SMALL)
    cost = network_cost(stage_of(SMALL, WINDOW), weights)
    assert cost.flops == flops
    used = [w for name, w in weights.items() if not name.startswith("decoder.seg_layers.0.")]
    assert cost.parameters == sum(w.size for w in used)


@KINDS
def test_twice_the_window_costs_twice_as_much(network, window):
    weights = make_weights(network)
    one, two = (network_cost(stage_of(network, (n * window[0], *window[1:])), weights) for n in (1, 2))
    assert two.flops == 2 * one.flops
    assert two.parameters == one.parameters


def test_a_flat_network_is_counted_too():
    assert network_cost(stage_of(FLAT, (32, 48)), make_weights(FLAT)).flops > 0
