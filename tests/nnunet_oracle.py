"""nnU-Net's networks in double precision with scipy alone, and weights for them by their names in torch."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.ndimage import correlate

from metseg.engines.nnunet.unet_arguments import UNetArguments

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
        fine, coarse, stride = it.features[level], it.features[level + 1], it.strides[level + 1]
        ones = (1,) * len(stride)
        for name in _nodes(it, n):
            weights[f"decoder.transpconvs.{name}.weight"] = rng.normal(0, 1 / np.sqrt(coarse), (coarse, fine, *stride))
            weights[f"decoder.transpconvs.{name}.bias"] = rng.normal(0, 0.1, fine)
        conv(f"decoder.seg_layers.{n}", it.outputs, fine, ones, norm=False)
        if it.decoder == "attention":
            conv(f"decoder.gates.{n}.theta", fine, fine, stride, norm=False)
            del weights[f"decoder.gates.{n}.theta.bias"]
            conv(f"decoder.gates.{n}.phi", fine, coarse, ones, norm=False)
            conv(f"decoder.gates.{n}.psi", 1, fine, ones, norm=False)
            weights[f"decoder.gates.{n}.psi.weight"] *= 4  # so that it weighs clearly
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
        for node, name in enumerate(_nodes(it, n)):
            for m in range(depth):
                inputs = it.features[level] * (2 + node if m == 0 else 1)
                yield f"decoder.stages.{name}.convs.{m}", it.features[level], inputs, it.kernels[level]


def _nodes(it: UNetArguments, stage: int) -> list[str]:
    """Names of what lies at one stage of the decoder: the stage itself, or its nodes where they are nested."""
    return [f"{stage}.{node}" for node in range(stage + 1)] if it.decoder == "nested" else [str(stage)]


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
        decode = {"plain": self.decoded, "nested": self.nested, "attention": self.decoded}[it.decoder]
        return self.conv(decode(skips), f"decoder.seg_layers.{len(it.decoder_depth) - 1}")

    def decoded(self, skips):
        x = skips[-1]
        for n, depth in enumerate(self.it.decoder_depth):
            skip = self.gated(skips[-2 - n], x, n) if self.it.decoder == "attention" else skips[-2 - n]
            x = np.concatenate([self.upsampled(x, f"decoder.transpconvs.{n}"), skip])
            x = self.stacked(x, f"decoder.stages.{n}", depth)
        return x

    def nested(self, skips):
        """X(i, j) by the paper's recursion, node after node."""
        deepest = len(skips) - 1
        known = {(level, 0): skip for level, skip in enumerate(skips)}
        for j in range(1, deepest + 1):
            for i in range(deepest - j + 1):
                name = f"{deepest - 1 - i}.{j - 1}"
                raised = self.upsampled(known[i + 1, j - 1], f"decoder.transpconvs.{name}")
                seen = np.concatenate([*(known[i, before] for before in range(j)), raised])
                depth = self.it.decoder_depth[deepest - 1 - i]
                known[i, j] = self.stacked(seen, f"decoder.stages.{name}", depth)
        return known[0, deepest]

    def gated(self, skip, gating, n):
        name, stride = f"decoder.gates.{n}", self.it.strides[len(self.it.features) - 1 - n]
        spread = (-1, *[1] * len(stride))
        both = self.conv(gating, f"{name}.phi")
        for offset in np.ndindex(stride):  # each voxel of a block has its own part of the kernel
            part = skip[(slice(None), *(slice(start, None, step) for start, step in zip(offset, stride)))]
            both = both + np.tensordot(self.w[f"{name}.theta.weight"][(slice(None), slice(None), *offset)], part, 1)
        psi = np.tensordot(self.w[f"{name}.psi.weight"].reshape(1, -1), np.maximum(both, 0), 1)
        weights = 1 / (1 + np.exp(-psi - self.w[f"{name}.psi.bias"].reshape(spread)))
        for axis, step in enumerate(stride, 1):
            cells = np.arange(weights.shape[axis])
            at = (np.arange(weights.shape[axis] * step) + 0.5) / step - 0.5
            weights = np.apply_along_axis(lambda line, at=at, cells=cells: np.interp(at, cells, line), axis, weights)
        return skip * weights

    def stacked(self, x, name, depth):
        for m in range(depth):
            x = rectified(self.conv_norm(x, f"{name}.convs.{m}"))
        return x

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
