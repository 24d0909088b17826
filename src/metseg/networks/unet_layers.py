"""What the U-Nets that nnU-Net's plans describe share: blocks of convolutions, an encoder, heads of each resolution.

Weights have the names that PlainConvUNet of dynamic-network-architectures gives them, but each only one.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

Axes = tuple[int, ...]
_TRANSPOSED = {nn.Conv2d: nn.ConvTranspose2d, nn.Conv3d: nn.ConvTranspose3d}


@dataclass(frozen=True)
class Sizes:
    """How large each part of a U-Net is; stages are told from the finest on.

    Args:
        channels: of the input.
        outputs: logits a voxel.
        features: of each stage.
        kernels: of each stage, along each axis.
        strides: by which each stage lowers its resolution; the first is 1.
        depth: convolutions of each stage of the encoder.
        decoder_depth: convolutions of each stage of the decoder, from the coarsest on.
    """

    channels: int
    outputs: int
    features: tuple[int, ...]
    kernels: tuple[Axes, ...]
    strides: tuple[Axes, ...]
    depth: tuple[int, ...]
    decoder_depth: tuple[int, ...]

    def up(self) -> tuple[tuple[int, int], ...]:
        """The way up: place of each stage of the decoder, and of its level, from the coarsest on."""
        return tuple((number, len(self.features) - 2 - number) for number in range(len(self.decoder_depth)))


@dataclass(frozen=True)
class Layers:
    """The kinds of layers that a U-Net is made of.

    Args:
        conv: ``nn.Conv2d`` or ``nn.Conv3d``.
        bias: whether convolutions that are normalised, and those that raise the resolution, have one.
        norm: the kind of normalisation; None for none.
        norm_options: of it.
        dropout: the kind of dropout; None for none.
        dropout_options: of it.
        nonlin: the kind of activation; None for none.
        nonlin_options: of it.
        nonlin_first: the activation comes before the normalisation.
    """

    conv: type[nn.Module]
    bias: bool = True
    norm: Callable[..., nn.Module] | None = None
    norm_options: Mapping[str, Any] = field(default_factory=dict)
    dropout: Callable[..., nn.Module] | None = None
    dropout_options: Mapping[str, Any] = field(default_factory=dict)
    nonlin: Callable[..., nn.Module] | None = None
    nonlin_options: Mapping[str, Any] = field(default_factory=dict)
    nonlin_first: bool = False

    def upsampling(self, inputs: int, outputs: int, stride: Axes) -> nn.Module:
        """A transposed convolution whose kernel is its stride."""
        return _TRANSPOSED[self.conv](inputs, outputs, stride, stride, bias=self.bias)

    def head(self, inputs: int, outputs: int) -> nn.Module:
        """A convolution of one voxel, with a bias."""
        return self.conv(inputs, outputs, 1)


class ConvBlock(nn.Module):
    """A convolution that pads by half its kernel, dropout, a normalisation, and an activation where it is asked for."""

    def __init__(
        self, layers: Layers, inputs: int, outputs: int, kernel: Axes, stride: Axes, *, activated: bool = True
    ) -> None:
        super().__init__()
        padding = tuple((n - 1) // 2 for n in kernel)
        self.conv = layers.conv(inputs, outputs, kernel, stride, padding, bias=layers.bias)
        self.dropout = layers.dropout(**layers.dropout_options) if layers.dropout else nn.Identity()
        self.norm = layers.norm(outputs, **layers.norm_options) if layers.norm else nn.Identity()
        self.nonlin = layers.nonlin(**layers.nonlin_options) if layers.nonlin and activated else nn.Identity()
        self.nonlin_first = layers.nonlin_first

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, *axes) to (n, outputs, *axes/stride)."""
        x = self.dropout(self.conv(x))
        return self.norm(self.nonlin(x)) if self.nonlin_first else self.nonlin(self.norm(x))


class Stacked(nn.Module):
    """Blocks one after the other; the first may lower the resolution."""

    def __init__(self, layers: Layers, inputs: int, outputs: int, kernel: Axes, stride: Axes, depth: int) -> None:
        super().__init__()
        ones = (1,) * len(kernel)
        blocks = [ConvBlock(layers, inputs, outputs, kernel, stride)]
        blocks += [ConvBlock(layers, outputs, outputs, kernel, ones) for _ in range(depth - 1)]
        self.convs = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, *axes) to (n, outputs, *axes/stride)."""
        return self.convs(x)


class Encoder(nn.Module):
    """From an image to features at each resolution."""

    def __init__(self, layers: Layers, sizes: Sizes) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        inputs = sizes.channels
        for outputs, kernel, stride, depth in zip(
            sizes.features, sizes.kernels, sizes.strides, sizes.depth, strict=True
        ):
            self.stages.append(nn.Sequential(Stacked(layers, inputs, outputs, kernel, stride, depth)))
            inputs = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, channel, *axes) to the features of each stage, the finest first."""
        return stage_by_stage(self.stages, x)


def stage_by_stage(stages: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """What each stage makes of what the one before it made."""
    made = []
    for stage in stages:
        x = stage(x)
        made.append(x)
    return made


class Decoder(nn.Module):
    """From features at each resolution to logits.

    There are heads for all resolutions but the deepest, whether or not deep supervision is on, so that a network that
    was trained with it can be loaded without. They are called ``seg_layers``, a name that nnU-Net knows: it leaves
    them alone when it fine-tunes.
    """

    def __init__(self, layers: Layers, sizes: Sizes, *, deep_supervision: bool) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        self.seg_layers = nn.ModuleList(layers.head(sizes.features[level], sizes.outputs) for _, level in sizes.up())

    def features(self, skips: list[Tensor]) -> list[Tensor]:
        """Features of each stage of the encoder, which are used up, to those that the heads see, the coarsest first."""
        raise NotImplementedError

    def forward(self, skips: list[Tensor]) -> Tensor | list[Tensor]:
        """Features of each stage of the encoder to logits; with deep supervision, of all heads, the finest first."""
        features = self.features(skips)
        if not self.deep_supervision:
            return self.seg_layers[-1](features[-1])
        return [head(x) for head, x in zip(self.seg_layers, features, strict=True)][::-1]


class PlannedUNet(nn.Module):
    """A U-Net of the arguments that nnU-Net's plans have for PlainConvUNet; each kind has a decoder of its own.

    Images (n, input_channels, *axes) become logits (n, num_classes, *axes); with ``decoder.deep_supervision``, a list
    of logits, one for each stage but the deepest, the finest first. Axes must be divisible by all strides above them.
    Where a number or a kernel may differ by stage, one value stands for all.

    Args:
        input_channels: of the images.
        n_stages: resolutions.
        features_per_stage: from the finest stage on.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: of each stage, along each axis.
        strides: by which each stage lowers its resolution; the first is 1.
        n_conv_per_stage: of the encoder.
        num_classes: logits a voxel.
        n_conv_per_stage_decoder: from the coarsest stage on.
        conv_bias: whether convolutions that are normalised have one.
        norm_op: the kind of normalisation.
        norm_op_kwargs: its arguments.
        dropout_op: the kind of dropout.
        dropout_op_kwargs: its arguments.
        nonlin: the kind of activation.
        nonlin_kwargs: its arguments.
        deep_supervision: see above.
        nonlin_first: the activation comes before the normalisation.
    """

    decoder_kind: type[Decoder]

    def __init__(  # noqa: PLR0913, PLR0917  # the arguments are nnU-Net's
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: int | Sequence[int],
        conv_op: type[nn.Module],
        kernel_sizes: int | Sequence[int | Sequence[int]],
        strides: int | Sequence[int | Sequence[int]],
        n_conv_per_stage: int | Sequence[int],
        num_classes: int,
        n_conv_per_stage_decoder: int | Sequence[int],
        conv_bias: bool = False,  # noqa: FBT001, FBT002
        norm_op: Callable[..., nn.Module] | None = None,
        norm_op_kwargs: Mapping[str, Any] | None = None,
        dropout_op: Callable[..., nn.Module] | None = None,
        dropout_op_kwargs: Mapping[str, Any] | None = None,
        nonlin: Callable[..., nn.Module] | None = None,
        nonlin_kwargs: Mapping[str, Any] | None = None,
        deep_supervision: bool = False,  # noqa: FBT001, FBT002
        nonlin_first: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        super().__init__()
        axes = 2 if issubclass(conv_op, nn.Conv2d) else 3
        layers = Layers(
            conv_op, conv_bias, norm_op, norm_op_kwargs or {}, dropout_op, dropout_op_kwargs or {}, nonlin,
            nonlin_kwargs or {}, nonlin_first,
        )  # fmt: skip
        self.sizes = Sizes(
            channels=input_channels,
            outputs=num_classes,
            features=_each(features_per_stage, n_stages),
            kernels=tuple(_each(one, axes) for one in _each(kernel_sizes, n_stages)),
            strides=tuple(_each(one, axes) for one in _each(strides, n_stages)),
            depth=_each(n_conv_per_stage, n_stages),
            decoder_depth=_each(n_conv_per_stage_decoder, n_stages - 1),
        )
        self.encoder = Encoder(layers, self.sizes)
        self.decoder = self.decoder_kind(layers, self.sizes, deep_supervision=deep_supervision)

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Logits (n, num_classes, *axes); with deep supervision, a list of them, the finest first."""
        return self.decoder(self.encoder(images))

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that all convolutions put out for one image of this size; nnU-Net's planner reckons memory by it."""
        counts: list[int] = []
        network = deepcopy(self).to("meta").eval()  # sizes alone are followed, nothing is computed
        for module in network.modules():
            if isinstance(module, _ConvNd):
                module.register_forward_hook(lambda _module, _inputs, output: counts.append(prod(output.shape)))
        network(torch.empty(1, self.sizes.channels, *input_size, device="meta"))
        return sum(counts)

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """How nnU-Net starts its networks: He et al. 2015 for a leaky rectifier of slope 0.01, no biases."""
        if isinstance(module, _ConvNd):
            nn.init.kaiming_normal_(module.weight, a=1e-2)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _each(value: Any, count: int) -> tuple[Any, ...]:
    """A value for each, where one may stand for all.

    Raises:
        ValueError: there are more or fewer.
    """
    values = (value,) * count if isinstance(value, int) else tuple(value)
    if len(values) != count:
        raise ValueError(f"{count} values are needed, one for each stage or axis, not {len(values)}: {value}.")
    return values
