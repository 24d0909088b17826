"""nnU-Net's networks in torch, as ``metseg.engines.nnunet.unet_graph`` has them for OpenVINO.

PlainConvUNet and ResidualEncoderUNet of dynamic-network-architectures (MIT). Modules are named as there, so that
weights are found by their names. The heads of lower resolutions, which training alone needs, are left out.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from metseg.engines.nnunet.unet_graph import Axes, UNetArguments, fitting, once, refuse_left_over

_CONV: Final = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: Final = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: Final = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_BATCH: Final = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE: Final = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_OPTIONAL: Final = re.compile(r"(\.conv|transpconvs\.\d+|seg_layers\.\d+)\.bias$")
_COUNTER: Final = ".num_batches_tracked"  # of training; nothing hangs on it here


@dataclass(frozen=True)
class Parts:
    """The layers that one network is made of.

    Args:
        axes: 2 or 3.
        batch: normalised by the statistics of training, not by those of each image.
        epsilon: that the normalisation adds to the variance.
        slope: of the rectifier below 0.
    """

    axes: int
    batch: bool
    epsilon: float
    slope: float

    def conv(self, inputs: int, outputs: int, kernel: Axes, stride: Axes) -> nn.Module:
        """A convolution that pads by half its kernel."""
        return _CONV[self.axes](inputs, outputs, kernel, stride, tuple((n - 1) // 2 for n in kernel))

    def upsampling(self, inputs: int, outputs: int, stride: Axes) -> nn.Module:
        """A transposed convolution whose kernel is its stride."""
        return _TRANSPOSED[self.axes](inputs, outputs, stride, stride)

    def norm(self, features: int) -> nn.Module:
        """A normalisation with a gain and an offset."""
        kind = _BATCH if self.batch else _INSTANCE
        return kind[self.axes](features, eps=self.epsilon, affine=True)

    def pool(self, stride: Axes) -> nn.Module:
        """The mean of each block."""
        return _POOL[self.axes](stride, stride)

    @property
    def ones(self) -> Axes:
        """The stride, or kernel, that does nothing."""
        return (1,) * self.axes


class ConvNorm(nn.Module):
    """A convolution, a normalisation, and a leaky rectifier where it is asked for."""

    def __init__(
        self, parts: Parts, inputs: int, outputs: int, kernel: Axes, stride: Axes, *, rectified: bool = True
    ) -> None:
        super().__init__()
        self.conv = parts.conv(inputs, outputs, kernel, stride)
        self.norm = parts.norm(outputs)
        self.slope = parts.slope if rectified else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, *axes) to (n, outputs, *axes/stride)."""
        x = self.norm(self.conv(x))
        return x if self.slope is None else functional.leaky_relu_(x, self.slope)


class Stacked(nn.Module):
    """Convolutions one after the other; the first may lower the resolution."""

    def __init__(self, parts: Parts, inputs: int, outputs: int, kernel: Axes, stride: Axes, depth: int) -> None:
        super().__init__()
        layers = [ConvNorm(parts, inputs, outputs, kernel, stride)]
        layers += [ConvNorm(parts, outputs, outputs, kernel, parts.ones) for _ in range(depth - 1)]
        self.convs = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, *axes) to (n, outputs, *axes/stride)."""
        return self.convs(x)


class Residual(nn.Module):
    """Two convolutions and a way around them, pooled and widened where need be (BasicBlockD)."""

    def __init__(self, parts: Parts, inputs: int, outputs: int, kernel: Axes, stride: Axes) -> None:
        super().__init__()
        self.conv1 = ConvNorm(parts, inputs, outputs, kernel, stride)
        self.conv2 = ConvNorm(parts, outputs, outputs, kernel, parts.ones, rectified=False)
        around = [parts.pool(stride)] if max(stride) > 1 else []
        if inputs != outputs:
            around.append(ConvNorm(parts, inputs, outputs, parts.ones, parts.ones, rectified=False))
        self.skip = nn.Sequential(*around)
        self.slope = parts.slope

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, *axes) to (n, outputs, *axes/stride)."""
        return functional.leaky_relu_(self.conv2(self.conv1(x)) + self.skip(x), self.slope)


class Blocks(nn.Module):
    """Residual blocks one after the other; the first may lower the resolution."""

    def __init__(self, parts: Parts, inputs: int, outputs: int, kernel: Axes, stride: Axes, depth: int) -> None:
        super().__init__()
        blocks = [Residual(parts, inputs, outputs, kernel, stride)]
        blocks += [Residual(parts, outputs, outputs, kernel, parts.ones) for _ in range(depth - 1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, *axes) to (n, outputs, *axes/stride)."""
        return self.blocks(x)


class Encoder(nn.Module):
    """From an image to features at each resolution."""

    def __init__(self, parts: Parts, it: UNetArguments) -> None:
        super().__init__()
        plain = it.encoder == "plain"
        self.stem = None if plain else Stacked(parts, it.channels, it.features[0], it.kernels[0], parts.ones, 1)
        self.stages = nn.ModuleList()
        inputs = it.channels if plain else it.features[0]
        for outputs, kernel, stride, depth in zip(it.features, it.kernels, it.strides, it.depth, strict=True):
            stage = (Stacked if plain else Blocks)(parts, inputs, outputs, kernel, stride, depth)
            self.stages.append(nn.Sequential(stage) if plain else stage)  # so they are named
            inputs = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, channel, *axes) to the features of each stage, the finest first."""
        x = x if self.stem is None else self.stem(x)
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        return skips


class Decoder(nn.Module):
    """From features at each resolution to logits at the finest."""

    def __init__(self, parts: Parts, it: UNetArguments) -> None:
        super().__init__()
        self.transpconvs, self.stages = nn.ModuleList(), nn.ModuleList()
        for number, depth in enumerate(it.decoder_depth):
            level = len(it.features) - 2 - number
            fine, coarse = it.features[level], it.features[level + 1]
            self.transpconvs.append(parts.upsampling(coarse, fine, it.strides[level + 1]))
            self.stages.append(Stacked(parts, 2 * fine, fine, it.kernels[level], parts.ones, depth))
        self.last = str(len(it.decoder_depth) - 1)
        head = _CONV[parts.axes](it.features[0], it.outputs, 1)
        self.seg_layers = nn.ModuleDict({self.last: head})

    def forward(self, skips: list[Tensor]) -> Tensor:
        """Features of each stage, which are used up, to (n, output, *axes)."""
        x = skips.pop()
        for upsample, stage in zip(self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat([upsample(x), skips.pop()], 1))
        return self.seg_layers[self.last](x)


class UNet(nn.Module):
    """Images (n, channel, *window) to logits (n, output, *window)."""

    def __init__(self, parts: Parts, it: UNetArguments) -> None:
        super().__init__()
        self.encoder = Encoder(parts, it)
        self.decoder = Decoder(parts, it)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, output, *window)."""
        return self.decoder(self.encoder(images))


def build_unet(arguments: UNetArguments, weights: Mapping[str, NDArray[Any]]) -> UNet:
    """A network with its weights, on the CPU, in evaluation mode.

    Args:
        arguments: of the network.
        weights: by their names in the state that torch saved.

    Raises:
        ModelError: a weight is missing, of another shape, or left over.
    """
    own = once(weights)
    parts = Parts(
        axes=len(arguments.strides[0]),
        batch=_any_ends(own, ".norm.running_mean"),
        epsilon=arguments.epsilon,
        slope=arguments.slope,
    )
    with torch.device("meta"):  # names and shapes alone: the weights come next
        network = UNet(parts, arguments)
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
