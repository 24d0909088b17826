"""Decoders of nnU-Net's networks as OpenVINO graphs: from features of each stage to those that the last head sees.

They double their resolution by transposed convolutions whose kernel is their stride. Stages are counted from the
coarsest on, as in torch.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from metseg.engines.nnunet.graph_layers import GraphLayers
from metseg.engines.nnunet.unet_arguments import UNetArguments


def plain_decoder(layers: GraphLayers, it: UNetArguments, skips: Sequence[Any]) -> Any:
    """PlainConvUNet's and ResidualEncoderUNet's: each stage sees the one below and the encoder's."""
    x = skips[-1]
    for stage, level, depth in _up(it):
        x = layers.raised(x, f"decoder.transpconvs.{stage}", it.features[level], it.strides[level + 1])
        x = layers.ops.concat([x, skips[level]], 1)
        x = layers.stacked(x, f"decoder.stages.{stage}", it.features[level], it.kernels[level], depth)
    return x


def nested_decoder(layers: GraphLayers, it: UNetArguments, skips: Sequence[Any]) -> Any:
    """That of ``metseg.networks.unet_plus_plus``: each node sees those before it in its row, and one below."""
    below = [skips[-1]]
    for stage, level, depth in _up(it):
        features, kernel = it.features[level], it.kernels[level]
        row = [skips[level]]
        for node, deeper in enumerate(below):
            name = f"{stage}.{node}"
            raised = layers.raised(deeper, f"decoder.transpconvs.{name}", features, it.strides[level + 1])
            seen = layers.ops.concat([*row, raised], 1)
            row.append(layers.stacked(seen, f"decoder.stages.{name}", features, kernel, depth))
        below = row
    return below[-1]


def attention_decoder(layers: GraphLayers, it: UNetArguments, skips: Sequence[Any]) -> Any:
    """That of ``metseg.networks.attention_unet``: the plain one, whose skips are weighed by the stage below."""
    x = skips[-1]
    for stage, level, depth in _up(it):
        features, stride = it.features[level], it.strides[level + 1]
        skip = _gated(layers, skips[level], x, f"decoder.gates.{stage}", features, stride)
        x = layers.raised(x, f"decoder.transpconvs.{stage}", features, stride)
        x = layers.stacked(
            layers.ops.concat([x, skip], 1), f"decoder.stages.{stage}", features, it.kernels[level], depth
        )
    return x


def _gated(layers: GraphLayers, skip: Any, gating: Any, name: str, features: int, stride: tuple[int, ...]) -> Any:
    """The skip connection, its voxels weighed by additive attention on the gating signal's grid."""
    ops = layers.ops
    lowered = layers.lowered(skip, f"{name}.theta", features, stride)
    both = ops.relu(ops.add(lowered, layers.conv(gating, f"{name}.phi", features, layers.ones, layers.ones)))
    weights = ops.sigmoid(layers.conv(both, f"{name}.psi", 1, layers.ones, layers.ones))
    return ops.multiply(skip, layers.resized(weights, skip))


def _up(it: UNetArguments) -> Iterator[tuple[int, int, int]]:
    """Each stage on the way up: its number, its level of the encoder, its depth."""
    for stage, depth in enumerate(it.decoder_depth):
        yield stage, len(it.features) - 2 - stage, depth
