"""The layers of nnU-Net's networks as OpenVINO operations, with an account of the weights that they took."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metseg.engines.nnunet.unet_arguments import Axes, UNetArguments
from metseg.engines.nnunet.unet_weights import Weights, fitting, once
from metseg.engines.openvino_runtime import import_openvino


class GraphLayers:
    """Adds layers to a graph; each takes its weights by name.

    Convolutions pad by half a kernel. Shapes are (1, features, *axes).

    Args:
        arguments: of the network.
        weights: by their names in the state that torch saved.
    """

    def __init__(self, arguments: UNetArguments, weights: Weights) -> None:
        self.weights = once(weights)
        self.unused = set(self.weights)
        self.ops = import_openvino().opset13
        self.ones: Axes = (1,) * len(arguments.strides[0])
        self._epsilon, self._slope = arguments.epsilon, arguments.slope

    def conv(self, x: Any, name: str, features: int, kernel: Axes, stride: Axes) -> Any:
        """A convolution, with a bias if there is one; its kernel must be odd."""
        pads = [(k - 1) // 2 for k in kernel]
        return self._convolved(x, name, features, kernel, stride, pads)

    def lowered(self, x: Any, name: str, features: int, stride: Axes) -> Any:
        """A convolution whose kernel is its stride, with a bias if there is one; it pads nothing."""
        return self._convolved(x, name, features, stride, stride, [0] * len(stride))

    def raised(self, x: Any, name: str, features: int, stride: Axes) -> Any:
        """A transposed convolution whose kernel is its stride, with a bias if there is one."""
        weight = self._take(f"{name}.weight", (_features(x), features, *stride))
        none = [0] * len(stride)
        x = self.ops.convolution_backprop_data(x, weight, list(stride), pads_begin=none, pads_end=none)
        return self._biased(x, f"{name}.bias", features)

    def conv_norm(
        self, x: Any, name: str, features: int, kernel: Axes, stride: Axes | None = None, *, rectified: bool = True
    ) -> Any:
        """A convolution, a normalisation, and a leaky rectifier where it is asked for."""
        x = self.conv(x, f"{name}.conv", features, kernel, stride or self.ones)
        x = self._normalised(x, f"{name}.norm", features)
        return self.rectified(x) if rectified else x

    def stacked(self, x: Any, name: str, features: int, kernel: Axes, depth: int, stride: Axes | None = None) -> Any:
        """``conv_norm`` so many times; the first may lower the resolution."""
        for n in range(depth):
            x = self.conv_norm(x, f"{name}.convs.{n}", features, kernel, stride if n == 0 else None)
        return x

    def rectified(self, x: Any) -> Any:
        """A leaky rectifier."""
        return self.ops.prelu(x, np.array([self._slope], dtype=np.float32))

    def pooled(self, x: Any, stride: Axes) -> Any:
        """The mean of each block."""
        none = [0] * len(stride)
        return self.ops.avg_pool(x, list(stride), none, none, list(stride), True)

    def resized(self, x: Any, like: Any) -> Any:
        """By linear interpolation between centres of cells to the axes of another, as torch without corners aligned."""
        size = [axis.get_length() for axis in like.get_output_partial_shape(0)][2:]
        axes = np.arange(2, 2 + len(size))
        return self.ops.interpolate(
            x, np.array(size), "linear_onnx", "sizes", axes=axes, coordinate_transformation_mode="half_pixel"
        )

    def _convolved(
        self, x: Any, name: str, features: int, kernel: Axes, stride: Axes, pads: Sequence[int]
    ) -> Any:  # fmt: skip
        weight = self._take(f"{name}.weight", (features, _features(x), *kernel))
        x = self.ops.convolution(x, weight, list(stride), list(pads), list(pads), list(self.ones))
        return self._biased(x, f"{name}.bias", features)

    def _normalised(self, x: Any, name: str, features: int) -> Any:
        """By the statistics of each image (instance), or by those of training (batch) where the weights hold some."""
        gain, offset = (self._take(f"{name}.{part}", (features,)) for part in ("weight", "bias"))
        if f"{name}.running_mean" in self.weights:
            mean, variance = (self._take(f"{name}.running_{part}", (features,)) for part in ("mean", "var"))
            self.unused.discard(f"{name}.num_batches_tracked")
            return self.ops.batch_norm_inference(x, gain, offset, mean, variance, self._epsilon)
        x = self.ops.subtract(x, self._mean(x))
        deviation = self.ops.sqrt(self.ops.add(self._mean(self.ops.multiply(x, x)), np.float32(self._epsilon)))
        return self.ops.add(self.ops.multiply(x, self.ops.divide(self._spread(gain), deviation)), self._spread(offset))

    def _mean(self, x: Any) -> Any:
        """Of each channel, one axis after the other.

        OpenVINO makes its MVN of whatever averages over all axes at once, and that adds up a million numbers one by
        one: at 96³ voxels its error is 25 times torch's. Sums by axis are not recognised, and are nearer to the truth
        than torch's.
        """
        for axis in range(1 + len(self.ones), 1, -1):
            share = np.float32(1 / x.get_output_partial_shape(0)[axis].get_length())
            x = self.ops.multiply(self.ops.reduce_sum(x, np.array([axis]), True), share)
        return x

    def _biased(self, x: Any, name: str, features: int) -> Any:
        return self.ops.add(x, self._spread(self._take(name, (features,)))) if name in self.weights else x

    def _spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values.reshape(1, -1, *self.ones)

    def _take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        self.unused.discard(name)
        return fitting(self.weights, name, shape)


def _features(x: Any) -> int:
    return int(x.get_output_partial_shape(0)[1].get_length())
