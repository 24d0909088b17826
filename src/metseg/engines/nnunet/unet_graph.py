"""Networks that nnU-Net trained as OpenVINO graphs, built from their weights by name. No torch, no ONNX.

PlainConvUNet and ResidualEncoderUNet of dynamic-network-architectures (MIT), which nnU-Net v2 brings along, and
metseg's own U-Net++ and Attention U-Net. The heads of lower resolutions, which training alone needs, are left out.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from metseg.engines.nnunet.graph_decoders import attention_decoder, nested_decoder, plain_decoder
from metseg.engines.nnunet.graph_encoders import plain_encoder, residual_encoder
from metseg.engines.nnunet.graph_layers import GraphLayers
from metseg.engines.nnunet.unet_arguments import UNetArguments
from metseg.engines.nnunet.unet_weights import Weights, refuse_left_over
from metseg.engines.openvino_runtime import import_openvino

_ENCODERS: Final = {"plain": plain_encoder, "residual": residual_encoder}
_DECODERS: Final = {"plain": plain_decoder, "nested": nested_decoder, "attention": attention_decoder}


def unet_graph(arguments: UNetArguments, weights: Weights, window: Sequence[int]) -> Any:
    """An ``openvino.Model``: image (1, channel, *window) to logits (1, output, *window).

    Args:
        arguments: of the network.
        weights: by their names in the state that torch saved.
        window: voxels along each axis.

    Raises:
        ModelError: a weight is missing, of another shape, or left over.
    """
    layers = GraphLayers(arguments, weights)
    image = layers.ops.parameter([1, arguments.channels, *window], np.float32, name="image")
    skips = _ENCODERS[arguments.encoder](layers, arguments, image)
    features = _DECODERS[arguments.decoder](layers, arguments, skips)
    head = f"decoder.seg_layers.{len(arguments.decoder_depth) - 1}"
    logits = layers.conv(features, head, arguments.outputs, layers.ones, layers.ones)
    refuse_left_over(layers.unused)
    return import_openvino().Model([logits], [image], "unet")
