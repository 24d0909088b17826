"""nnU-Net's networks in double precision with scipy alone, and weights for them by their names in torch."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.ndimage import correlate

from metseg.engines.nnunet.unet_graph import UNetArguments

SLOPE, EPSILON = 0.01, 1e-5


def make_weights(it: UNetArguments, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of a network, with those of the coarser heads, which only training needs."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}

    def conv(name, outputs, inputs, kernel, *, norm=True):
        scale = 1 / np.sqrt(inputs * np.prod(kernel))
        place = f"{name}.conv" if norm else name
        weights[f"{place}.weight"] = rng.normal(0, scale, (outputs, inputs, *kernel))
        if ".skip." not in name:  # nnU-Net's way around a residual block has none
            weights[f"{place}.bias"] = rng.normal(0, 0.1, outputs)
        if norm:
            weights[f"{name}.norm.weight"] = rng.normal(1, 0.3, outputs)
            weights[f"{name}.norm.bias"] = rng.normal(0, 0.3, outputs)

    for name, outputs, inputs, kernel in _convolutions(it):
        conv(name, outputs, inputs, kernel)
    for n in range(len(it.decoder_depth)):
        level = len(it.features) - 2 - n
        stride = it.strides[level + 1]
        weights[f"decoder.transpconvs.{n}.weight"] = rng.normal(
            0, 1 / np.sqrt(it.features[level + 1]), (it.features[level + 1], it.features[level], *stride)
        )
        weights[f"decoder.transpconvs.{n}.bias"] = rng.normal(0, 0.1, it.features[level])
        conv(f"decoder.seg_layers.{n}", it.outputs, it.features[level], (1,) * len(stride), norm=False)
    return {name: w.astype(np.float32) for name, w in weights.items()}


def folds_of(weights: Sequence[dict[str, np.ndarray]]) -> list[Callable[[], dict[str, np.ndarray]]]:
    """What reads the weights of each fold."""
    return [lambda one=one: one for one in weights]


def with_running_statistics(weights: dict[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """The weights of the same network with batch normalisation: what training saw is among them."""
    rng = np.random.default_rng(seed)
    seen: dict[str, np.ndarray] = {}
    for name in [name.removesuffix(".weight") for name in weights if name.endswith("norm.weight")]:
        count = weights[f"{name}.weight"].size
        seen[f"{name}.running_mean"] = rng.normal(0, 0.5, count).astype(np.float32)
        seen[f"{name}.running_var"] = rng.uniform(0.5, 2, count).astype(np.float32)
        seen[f"{name}.num_batches_tracked"] = np.array(250)
    return weights | seen


def _convolutions(it: UNetArguments) -> Iterator[tuple[str, int, int, tuple[int, ...]]]:
    """Name, outputs, inputs and kernel of each convolution that is normalised."""
    inputs, ones = it.channels, (1,) * len(it.strides[0])
    if it.encoder == "residual":
        yield "encoder.stem.convs.0", it.features[0], inputs, it.kernels[0]
        inputs = it.features[0]
    for stage, (features, kernel, stride, depth) in enumerate(zip(it.features, it.kernels, it.strides, it.depth)):
        for n in range(depth):
            if it.encoder == "plain":
                yield f"encoder.stages.{stage}.0.convs.{n}", features, inputs, kernel
            else:
                name = f"encoder.stages.{stage}.blocks.{n}"
                yield f"{name}.conv1", features, inputs, kernel
                yield f"{name}.conv2", features, features, kernel
                if inputs != features:
                    position = 1 if n == 0 and max(stride) > 1 else 0
                    yield f"{name}.skip.{position}", features, inputs, ones
            inputs = features
    for n, depth in enumerate(it.decoder_depth):
        level = len(it.features) - 2 - n
        for m in range(depth):
            inputs = it.features[level] * (2 if m == 0 else 1)
            yield f"decoder.stages.{n}.convs.{m}", it.features[level], inputs, it.kernels[level]


class Oracle:
    """The network on one image (channel, *axes), float64."""

    def __init__(self, it: UNetArguments, weights: dict[str, np.ndarray]) -> None:
        self.it, self.w = it, {name: w.astype(np.float64) for name, w in weights.items()}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        it, x, skips = self.it, image.astype(np.float64), []
        if it.encoder == "residual":
            x = rectified(self.conv_norm(x, "encoder.stem.convs.0"))
        for stage, (stride, depth) in enumerate(zip(it.strides, it.depth)):
            for n in range(depth):
                step = stride if n == 0 else (1,) * len(stride)
                if it.encoder == "plain":
                    x = rectified(self.conv_norm(x, f"encoder.stages.{stage}.0.convs.{n}", step))
                else:
                    x = self.residual(x, f"encoder.stages.{stage}.blocks.{n}", step)
            skips.append(x)
        for n, depth in enumerate(it.decoder_depth):
            x = np.concatenate([self.upsampled(x, f"decoder.transpconvs.{n}"), skips[-2 - n]])
            for m in range(depth):
                x = rectified(self.conv_norm(x, f"decoder.stages.{n}.convs.{m}"))
        return self.conv(x, f"decoder.seg_layers.{len(it.decoder_depth) - 1}")

    def residual(self, x, name, stride):
        around = x
        if max(stride) > 1:
            for axis, step in enumerate(stride, 1):
                shape = (*around.shape[:axis], around.shape[axis] // step, step, *around.shape[axis + 1 :])
                around = around.reshape(shape).mean(axis=axis + 1)
        for position in (0, 1):
            if f"{name}.skip.{position}.conv.weight" in self.w:
                around = self.conv_norm(around, f"{name}.skip.{position}")
        inner = rectified(self.conv_norm(x, f"{name}.conv1", stride))
        return rectified(self.conv_norm(inner, f"{name}.conv2") + around)

    def conv(self, x, name, stride=None):
        kernels = self.w[f"{name}.weight"]
        full = np.stack([
            sum(correlate(channel, part, mode="constant") for channel, part in zip(x, kernel)) for kernel in kernels
        ])  # fmt: skip
        steps = stride or (1,) * (x.ndim - 1)
        strided = full[(slice(None), *(slice(None, None, step) for step in steps))]
        return strided + self.w.get(f"{name}.bias", np.zeros(1)).reshape(-1, *[1] * (x.ndim - 1))

    def conv_norm(self, x, name, stride=None):
        x = self.conv(x, f"{name}.conv", stride)
        axes, spread = tuple(range(1, x.ndim)), (-1, *[1] * (x.ndim - 1))
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        if f"{name}.norm.running_mean" in self.w:
            mean, variance = (self.w[f"{name}.norm.running_{part}"].reshape(spread) for part in ("mean", "var"))
        scored = (x - mean) / np.sqrt(variance + EPSILON)
        return scored * self.w[f"{name}.norm.weight"].reshape(spread) + self.w[f"{name}.norm.bias"].reshape(spread)

    def upsampled(self, x, name):
        weight = self.w[f"{name}.weight"]  # (in, out, *stride)
        stride = weight.shape[2:]
        blocks = np.tensordot(weight, x, axes=(0, 0))  # (out, *stride, *axes)
        n = len(stride)
        order = [0, *(axis for pair in zip(range(n + 1, 2 * n + 1), range(1, n + 1)) for axis in pair)]
        shape = [blocks.shape[0], *(size * step for size, step in zip(x.shape[1:], stride))]
        bias = self.w[f"{name}.bias"].reshape(-1, *[1] * n)
        return blocks.transpose(order).reshape(shape) + bias


def rectified(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, SLOPE * x, x)
