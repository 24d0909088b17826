"""nnU-Net's networks as OpenVINO graphs, built from their weights by name. No torch, no ONNX.

PlainConvUNet and ResidualEncoderUNet of dynamic-network-architectures (MIT), which nnU-Net v2 trains. Convolutions pad
by half a kernel; each is followed by a normalisation and a leaky rectifier; decoders double their resolution by
transposed convolutions whose kernel is their stride. The heads of lower resolutions, which training alone needs, are
left out.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from metseg.core.errors import ModelError
from metseg.core.options import Options
from metseg.engines.openvino_runtime import import_openvino

Weights = Mapping[str, NDArray[Any]]
Axes = tuple[Annotated[int, Field(ge=1, le=64)], ...]
_TWICE: Final = ("decoder.encoder.", ".all_modules.")  # names under which torch holds the same weights once more


class UNetArguments(Options):
    """What tells one of nnU-Net's networks from another.

    Args:
        channels: of the input.
        outputs: of the last layer.
        encoder: ``"plain"``, or ``"residual"`` for ResidualEncoderUNet.
        features: of each stage, from the finest on.
        kernels: of each stage, along each axis.
        strides: by which each stage lowers its resolution; the first is 1.
        depth: convolutions (plain) or blocks (residual) of each stage of the encoder.
        decoder_depth: convolutions of each stage of the decoder, from the coarsest on.
        epsilon: that the normalisation adds to the variance.
        slope: of the rectifier below 0.
    """

    channels: Annotated[int, Field(ge=1, le=64)]
    outputs: Annotated[int, Field(ge=1, le=256)]
    encoder: Literal["plain", "residual"]
    features: tuple[Annotated[int, Field(ge=1, le=4096)], ...]
    kernels: tuple[Axes, ...]
    strides: tuple[Axes, ...]
    depth: tuple[Annotated[int, Field(ge=1, le=64)], ...]
    decoder_depth: tuple[Annotated[int, Field(ge=1, le=64)], ...]
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    slope: Annotated[float, Field(ge=0, lt=1)] = 0.01


def unet_graph(arguments: UNetArguments, weights: Mapping[str, NDArray[Any]], window: Sequence[int]) -> Any:
    """An ``openvino.Model``: image (1, channel, *window) to logits (1, output, *window).

    Args:
        arguments: of the network.
        weights: by their names in the state that torch saved.
        window: voxels along each axis.

    Raises:
        ModelError: a weight is missing, of another shape, or left over.
    """
    return _Builder(arguments, weights).model(window)


def once(weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The weights, each under one name: torch holds those of shared layers under others too."""
    return {name: w for name, w in weights.items() if not any(part in name for part in _TWICE)}


def under_all_names(weights: Mapping[str, NDArray[Any]], *, dropout: bool) -> dict[str, NDArray[Any]]:
    """The other way round: each weight under every name under which torch saves it.

    Args:
        weights: as ``once`` gives them.
        dropout: whether each convolution is followed by one, which stands before its normalisation.
    """
    place = {"conv": 0, "norm": 2 if dropout else 1}
    named = dict(weights)
    for name, w in weights.items():
        if match := re.fullmatch(r"(.+)\.(conv|norm)\.(\w+)", name):
            named[f"{match[1]}.all_modules.{place[match[2]]}.{match[3]}"] = w
    return named | {f"decoder.{name}": w for name, w in named.items() if name.startswith("encoder.")}


def fitting(weights: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A weight of the shape that the plan asks for.

    Raises:
        ModelError: it is missing, or of another shape.
    """
    if name not in weights:
        raise ModelError(f"The network lacks the weight {name}.", hint="It is another network than its plan says.")
    found = weights[name]
    if found.shape != shape:
        raise ModelError(
            f"The weight {name} has shape {found.shape}, but its plan asks for {shape}.",
            hint="Plans and checkpoint are not of one training.",
        )
    return np.ascontiguousarray(found, dtype=np.float32)


def refuse_left_over(unused: Iterable[str]) -> None:
    """Nothing but the heads of lower resolutions may be left over.

    Raises:
        ModelError: something else is.
    """
    if left := sorted(name for name in unused if not name.startswith("decoder.seg_layers.")):
        raise ModelError(
            f"{len(left)} weights of the network have no place in it, {left[0]} for one.",
            hint="It is another architecture than its plan says.",
        )


class _Builder:
    """Puts layers one after the other and keeps account of the weights that were used."""

    def __init__(self, arguments: UNetArguments, weights: Mapping[str, NDArray[Any]]) -> None:
        self.it = arguments
        self.weights = once(weights)
        self.unused = set(self.weights)
        self.ov = import_openvino()
        self.ops = self.ov.opset13
        self.axes = len(arguments.strides[0])

    def model(self, window: Sequence[int]) -> Any:
        image = self.ops.parameter([1, self.it.channels, *window], np.float32, name="image")
        logits = self._decode(self._encode(image))
        refuse_left_over(self.unused)
        return self.ov.Model([logits], [image], "unet")

    def _encode(self, x: Any) -> list[Any]:
        it, skips = self.it, []
        if it.encoder == "residual":
            x = self._conv_norm(x, "encoder.stem.convs.0", it.features[0], it.kernels[0], rectified=True)
        for stage, (features, kernel, stride, depth) in enumerate(
            zip(it.features, it.kernels, it.strides, it.depth, strict=True)
        ):
            for n in range(depth):
                step = stride if n == 0 else (1,) * self.axes
                if it.encoder == "plain":
                    name = f"encoder.stages.{stage}.0.convs.{n}"
                    x = self._conv_norm(x, name, features, kernel, step, rectified=True)
                else:
                    x = self._residual(x, f"encoder.stages.{stage}.blocks.{n}", features, kernel, step)
            skips.append(x)
        return skips

    def _residual(self, x: Any, name: str, features: int, kernel: Axes, stride: Axes) -> Any:
        """Two convolutions and a way around them, pooled and widened where need be (BasicBlockD)."""
        around = x
        if max(stride) > 1:
            none = [0] * self.axes
            around = self.ops.avg_pool(around, list(stride), none, none, list(stride), True)
        for position in (0, 1):
            if f"{name}.skip.{position}.conv.weight" in self.weights:
                around = self._conv_norm(around, f"{name}.skip.{position}", features, (1,) * self.axes, rectified=False)
        x = self._conv_norm(x, f"{name}.conv1", features, kernel, stride, rectified=True)
        x = self._conv_norm(x, f"{name}.conv2", features, kernel, rectified=False)
        return self._rectified(self.ops.add(x, around))

    def _decode(self, skips: Sequence[Any]) -> Any:
        it = self.it
        x = skips[-1]
        for stage, depth in enumerate(it.decoder_depth):
            level = len(it.features) - 2 - stage
            x = self._upsampled(x, f"decoder.transpconvs.{stage}", it.features[level], it.strides[level + 1])
            x = self.ops.concat([x, skips[level]], 1)
            for n in range(depth):
                name = f"decoder.stages.{stage}.convs.{n}"
                x = self._conv_norm(x, name, it.features[level], it.kernels[level], rectified=True)
        return self._conv(x, f"decoder.seg_layers.{len(it.decoder_depth) - 1}", it.outputs, (1,) * self.axes)

    def _conv(self, x: Any, name: str, features: int, kernel: Axes, stride: Axes | None = None) -> Any:
        inputs = x.get_output_partial_shape(0)[1].get_length()
        weight = self._take(f"{name}.weight", (features, inputs, *kernel))
        pads = [(k - 1) // 2 for k in kernel]
        ones = [1] * self.axes
        x = self.ops.convolution(x, weight, list(stride or ones), pads, pads, ones)
        return self._biased(x, f"{name}.bias", features)

    def _upsampled(self, x: Any, name: str, features: int, stride: Axes) -> Any:
        inputs = x.get_output_partial_shape(0)[1].get_length()
        weight = self._take(f"{name}.weight", (inputs, features, *stride))
        x = self.ops.convolution_backprop_data(
            x, weight, list(stride), pads_begin=[0] * self.axes, pads_end=[0] * self.axes
        )
        return self._biased(x, f"{name}.bias", features)

    def _conv_norm(
        self, x: Any, name: str, features: int, kernel: Axes, stride: Axes | None = None, *, rectified: bool
    ) -> Any:
        x = self._normalised(self._conv(x, f"{name}.conv", features, kernel, stride), f"{name}.norm", features)
        return self._rectified(x) if rectified else x

    def _normalised(self, x: Any, name: str, features: int) -> Any:
        """By the statistics of each image (instance), or by those of training (batch) where the weights hold some."""
        gain, offset = (self._take(f"{name}.{part}", (features,)) for part in ("weight", "bias"))
        if f"{name}.running_mean" in self.weights:
            mean, variance = (self._take(f"{name}.running_{part}", (features,)) for part in ("mean", "var"))
            self.unused.discard(f"{name}.num_batches_tracked")
            return self.ops.batch_norm_inference(x, gain, offset, mean, variance, self.it.epsilon)
        x = self.ops.subtract(x, self._mean(x))
        deviation = self.ops.sqrt(self.ops.add(self._mean(self.ops.multiply(x, x)), np.float32(self.it.epsilon)))
        return self.ops.add(self.ops.multiply(x, self.ops.divide(self._spread(gain), deviation)), self._spread(offset))

    def _mean(self, x: Any) -> Any:
        """Of each channel, one axis after the other.

        OpenVINO makes its MVN of whatever averages over all axes at once, and that adds up a million numbers one by
        one: at 96³ voxels its error is 25 times torch's. Sums by axis are not recognised, and are nearer to the truth
        than torch's.
        """
        for axis in range(1 + self.axes, 1, -1):
            share = np.float32(1 / x.get_output_partial_shape(0)[axis].get_length())
            x = self.ops.multiply(self.ops.reduce_sum(x, np.array([axis]), True), share)
        return x

    def _rectified(self, x: Any) -> Any:
        return self.ops.prelu(x, np.array([self.it.slope], dtype=np.float32))

    def _biased(self, x: Any, name: str, features: int) -> Any:
        return self.ops.add(x, self._spread(self._take(name, (features,)))) if name in self.weights else x

    def _spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values.reshape(1, -1, *[1] * self.axes)

    def _take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        self.unused.discard(name)
        return fitting(self.weights, name, shape)
