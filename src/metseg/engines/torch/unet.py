"""Networks that nnU-Net trained in torch, as ``metseg.engines.nnunet.unet_graph`` has them for OpenVINO.

PlainConvUNet and ResidualEncoderUNet of dynamic-network-architectures (MIT), and metseg's own U-Net++ and Attention
U-Net, from ``metseg.networks``. Modules are named as there, so that weights are found by their names. The heads of
lower resolutions, which training alone needs, are left out.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from metseg.engines.nnunet.unet_arguments import UNetArguments
from metseg.engines.nnunet.unet_weights import Weights, fitting, once, refuse_left_over
from metseg.networks.attention_unet import AttentionDecoder
from metseg.networks.unet_layers import Axes, ConvBlock, Decoder, Encoder, Layers, Sizes, Stacked, stage_by_stage
from metseg.networks.unet_plus_plus import NestedDecoder

_CONV: Final = {2: nn.Conv2d, 3: nn.Conv3d}
_POOL: Final = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_BATCH: Final = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE: Final = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_OPTIONAL: Final = re.compile(r"(\.conv|transpconvs\.\d+(\.\d+)?|seg_layers\.\d+)\.bias$")
_COUNTER: Final = ".num_batches_tracked"  # of training; nothing hangs on it here


class Residual(nn.Module):
    """Two convolutions and a way around them, pooled and widened where need be (BasicBlockD)."""

    def __init__(self, layers: Layers, inputs: int, outputs: int, kernel: Axes, stride: Axes) -> None:
        super().__init__()
        ones = (1,) * len(stride)
        self.conv1 = ConvBlock(layers, inputs, outputs, kernel, stride)
        self.conv2 = ConvBlock(layers, outputs, outputs, kernel, ones, activated=False)
        around = [_POOL[len(stride)](stride, stride)] if max(stride) > 1 else []
        if inputs != outputs:
            around.append(ConvBlock(layers, inputs, outputs, ones, ones, activated=False))
        self.skip = nn.Sequential(*around)
        self.slope = layers.nonlin_options["negative_slope"]

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, *axes) to (n, outputs, *axes/stride)."""
        return functional.leaky_relu_(self.conv2(self.conv1(x)) + self.skip(x), self.slope)


class Blocks(nn.Module):
    """Residual blocks one after the other; the first may lower the resolution."""

    def __init__(self, layers: Layers, inputs: int, outputs: int, kernel: Axes, stride: Axes, depth: int) -> None:
        super().__init__()
        ones = (1,) * len(stride)
        blocks = [Residual(layers, inputs, outputs, kernel, stride)]
        blocks += [Residual(layers, outputs, outputs, kernel, ones) for _ in range(depth - 1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, *axes) to (n, outputs, *axes/stride)."""
        return self.blocks(x)


class ResidualEncoder(nn.Module):
    """From an image to features at each resolution, by residual blocks."""

    def __init__(self, layers: Layers, sizes: Sizes) -> None:
        super().__init__()
        first, kernel = sizes.features[0], sizes.kernels[0]
        self.stem = Stacked(layers, sizes.channels, first, kernel, (1,) * len(kernel), 1)
        inputs = (first, *sizes.features)
        stages = zip(inputs, sizes.features, sizes.kernels, sizes.strides, sizes.depth)
        self.stages = nn.ModuleList(Blocks(layers, *stage) for stage in stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, channel, *axes) to the features of each stage, the finest first."""
        return stage_by_stage(self.stages, self.stem(x))


class PlainDecoder(Decoder):
    """A U-Net's decoder."""

    def __init__(self, layers: Layers, sizes: Sizes, *, deep_supervision: bool) -> None:
        super().__init__(layers, sizes, deep_supervision=deep_supervision)
        self.transpconvs, self.stages = nn.ModuleList(), nn.ModuleList()
        for number, level in sizes.up():
            fine, coarse, kernel = sizes.features[level], sizes.features[level + 1], sizes.kernels[level]
            self.transpconvs.append(layers.upsampling(coarse, fine, sizes.strides[level + 1]))
            self.stages.append(Stacked(layers, 2 * fine, fine, kernel, (1,) * len(kernel), sizes.decoder_depth[number]))

    def features(self, skips: list[Tensor]) -> list[Tensor]:
        """Features of the finest stage: it is the only one with a head here."""
        x = skips.pop()
        for upsample, stage in zip(self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat([upsample(x), skips.pop()], 1))
        return [x]


_ENCODERS: Final[Mapping[str, type[nn.Module]]] = {"plain": Encoder, "residual": ResidualEncoder}
_DECODERS: Final = {"plain": PlainDecoder, "nested": NestedDecoder, "attention": AttentionDecoder}


class UNet(nn.Module):
    """Images (n, channel, *window) to logits (n, output, *window)."""

    def __init__(self, layers: Layers, it: UNetArguments) -> None:
        super().__init__()
        sizes = Sizes(**it.model_dump(include=set(Sizes.__dataclass_fields__)))
        self.encoder = _ENCODERS[it.encoder](layers, sizes)
        self.decoder = _DECODERS[it.decoder](layers, sizes, deep_supervision=False)
        for coarse in range(len(self.decoder.seg_layers) - 1):
            self.decoder.seg_layers[coarse] = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, output, *window)."""
        return self.decoder(self.encoder(images))


def build_unet(arguments: UNetArguments, weights: Weights) -> UNet:
    """A network with its weights, on the CPU, in evaluation mode.

    Args:
        arguments: of the network.
        weights: by their names in the state that torch saved.

    Raises:
        ModelError: a weight is missing, of another shape, or left over.
    """
    own = once(weights)
    axes = len(arguments.strides[0])
    layers = Layers(
        conv=_CONV[axes],
        norm=(_BATCH if _any_ends(own, ".norm.running_mean") else _INSTANCE)[axes],
        norm_options={"eps": arguments.epsilon, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_options={"negative_slope": arguments.slope, "inplace": True},
    )
    with torch.device("meta"):  # names and shapes alone: the weights come next
        network = UNet(layers, arguments)
    state = {name: _state(own, name, tuple(expected.shape)) for name, expected in network.state_dict().items()}
    refuse_left_over(own.keys() - state.keys())
    network.load_state_dict(state, assign=True)
    return network.eval()


def _state(own: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> Tensor:
    """One weight; convolutions need not have a bias, and those of the way around a residual block never do."""
    if name.endswith(_COUNTER):
        return torch.zeros((), dtype=torch.long)
    if name not in own and _OPTIONAL.search(name):
        return torch.zeros(shape)
    return torch.from_numpy(fitting(own, name, shape))


def _any_ends(names: Iterable[str], end: str) -> bool:
    return any(name.endswith(end) for name in names)
