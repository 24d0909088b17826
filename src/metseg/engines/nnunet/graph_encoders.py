"""Encoders of nnU-Net's networks as OpenVINO graphs: from an image to features of each stage, the finest first."""

from typing import Any

from metseg.engines.nnunet.graph_layers import GraphLayers
from metseg.engines.nnunet.unet_arguments import Axes, UNetArguments


def plain_encoder(layers: GraphLayers, it: UNetArguments, image: Any) -> list[Any]:
    """PlainConvUNet's: convolutions, the first of each stage strided."""
    x, skips = image, []
    for stage, (features, kernel, stride, depth) in enumerate(
        zip(it.features, it.kernels, it.strides, it.depth, strict=True)
    ):
        x = layers.stacked(x, f"encoder.stages.{stage}.0", features, kernel, depth, stride)
        skips.append(x)
    return skips


def residual_encoder(layers: GraphLayers, it: UNetArguments, image: Any) -> list[Any]:
    """ResidualEncoderUNet's: a stem, then residual blocks."""
    x, skips = layers.conv_norm(image, "encoder.stem.convs.0", it.features[0], it.kernels[0]), []
    for stage, (features, kernel, stride, depth) in enumerate(
        zip(it.features, it.kernels, it.strides, it.depth, strict=True)
    ):
        for n in range(depth):
            step = stride if n == 0 else layers.ones
            x = _residual(layers, x, f"encoder.stages.{stage}.blocks.{n}", features, kernel, step)
        skips.append(x)
    return skips


def _residual(layers: GraphLayers, x: Any, name: str, features: int, kernel: Axes, stride: Axes) -> Any:
    """Two convolutions and a way around them, pooled and widened where need be (BasicBlockD)."""
    around = layers.pooled(x, stride) if max(stride) > 1 else x
    for position in (0, 1):
        if f"{name}.skip.{position}.conv.weight" in layers.weights:
            around = layers.conv_norm(around, f"{name}.skip.{position}", features, layers.ones, rectified=False)
    x = layers.conv_norm(x, f"{name}.conv1", features, kernel, stride)
    x = layers.conv_norm(x, f"{name}.conv2", features, kernel, rectified=False)
    return layers.rectified(layers.ops.add(x, around))
