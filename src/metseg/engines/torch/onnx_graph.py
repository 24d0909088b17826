"""An ONNX graph run by torch: the few operations that metseg's own networks are made of."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from metseg.core.errors import ModelError
from metseg.core.extras import require

Operation = Callable[[Sequence[Tensor], Mapping[str, Any]], Tensor]
_CONV: Final = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}


def _conv(x: Sequence[Tensor], it: Mapping[str, Any]) -> Tensor:
    pads = list(it.get("pads", [0] * 2 * (x[0].ndim - 2)))
    both = [width for axis in reversed(range(x[0].ndim - 2)) for width in pads[axis :: x[0].ndim - 2]]
    even = pads[: len(pads) // 2] == pads[len(pads) // 2 :]
    ones = [1] * (x[0].ndim - 2)
    return _CONV[x[0].ndim](
        x[0] if even else functional.pad(x[0], both),
        x[1],
        x[2] if len(x) > 2 else None,
        it.get("strides", ones),
        pads[: len(pads) // 2] if even else 0,
        it.get("dilations", ones),
        it.get("group", 1),
    )


def _reshape(x: Sequence[Tensor], _: Mapping[str, Any]) -> Tensor:
    return x[0].reshape([n or x[0].shape[axis] for axis, n in enumerate(x[1].tolist())])


def _resize(x: Sequence[Tensor], it: Mapping[str, Any]) -> Tensor:
    known = {"mode": b"nearest", "nearest_mode": b"floor", "coordinate_transformation_mode": b"asymmetric"}
    if any(it.get(key) != value for key, value in known.items()) or len(x) != 3 or x[2].tolist()[:2] != [1, 1]:
        raise ModelError("The network resizes otherwise than by repeating voxels.", hint="Use --engine openvino.")
    return functional.interpolate(x[0], scale_factor=x[2].tolist()[2:], mode="nearest")


def _divide(x: Sequence[Tensor], _: Mapping[str, Any]) -> Tensor:
    return x[0] / x[1] if x[0].is_floating_point() else torch.div(x[0], x[1], rounding_mode="trunc")


def _unsqueeze(x: Sequence[Tensor], _: Mapping[str, Any]) -> Tensor:
    for axis in sorted(x[1].tolist()):
        x = [x[0].unsqueeze(axis)]
    return x[0]


OPERATIONS: Final[Mapping[str, Operation]] = {
    "Add": lambda x, _: x[0] + x[1],
    "Cast": lambda x, it: x[0].to({1: torch.float32, 7: torch.int64, 10: torch.float16}[it["to"]]),
    "Concat": lambda x, it: torch.cat(list(x), it["axis"]),
    "Constant": lambda _, it: it["value"],
    "Conv": _conv,
    "Div": _divide,
    "Gather": lambda x, it: x[0][(slice(None),) * it.get("axis", 0) + (x[1],)],
    "InstanceNormalization": lambda x, it: functional.instance_norm(
        x[0], weight=x[1], bias=x[2], eps=it.get("epsilon", 1e-5)
    ),
    "Mul": lambda x, _: x[0] * x[1],
    "Relu": lambda x, _: x[0].relu(),
    "Reshape": _reshape,
    "Resize": _resize,
    # Shapes are computed with on the host, where the numbers are that they meet.
    "Shape": lambda x, _: torch.tensor(x[0].shape),
    "Sigmoid": lambda x, _: x[0].sigmoid(),
    "Transpose": lambda x, it: x[0].permute(it["perm"]),
    "Unsqueeze": _unsqueeze,
}


class OnnxGraph(nn.Module):
    """A graph with one input and one output.

    Args:
        path: of the ONNX file.
        channels: of its input.

    Raises:
        MissingExtraError: the package ``onnx`` is not installed.
        ModelError: it cannot be read, has other channels, or an operation that is not in ``OPERATIONS``.
    """

    def __init__(self, path: Path, channels: int) -> None:
        super().__init__()
        graph = _read(path)
        held = {constant.name for constant in graph.initializer}
        inputs = [port for port in graph.input if port.name not in held]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ModelError(f"{path} must have one input and one output.")
        sizes = [size.dim_value for size in inputs[0].type.tensor_type.shape.dim]
        if len(sizes) != 5 or sizes[1] not in {0, channels}:
            raise ModelError(f"The input of {path} has shape {sizes}, but should have {channels} channels of 3D.")
        self.input, self.output = inputs[0].name, graph.output[0].name
        self.nodes = [_node(node, path) for node in graph.node]
        self.last = {name: number for number, node in enumerate(self.nodes) for name in node[1]}
        for constant in graph.initializer:
            self.register_buffer(_key(constant.name), _tensor(constant))
        self.held = held

    def forward(self, image: Tensor) -> Tensor:
        """What the graph gives; each value is dropped after its last use."""
        values = {"": image[:0], self.input: image}
        values |= {name: self.get_buffer(_key(name)) for name in self.held}
        for number, (operation, inputs, output, attributes) in enumerate(self.nodes):
            values[output] = operation([values[name] for name in inputs], attributes)
            for name in {name for name in inputs if name and self.last[name] == number}:
                del values[name]
        return values[self.output]


def _key(name: str) -> str:
    """A buffer's name may hold no dot."""
    return name.replace(".", "/")


def _read(path: Path) -> Any:
    onnx = require("onnx", "torch")
    try:
        return onnx.load(str(path), load_external_data=False).graph  # no file that the manifest does not name
    except require("google.protobuf.message", "torch").DecodeError as error:
        raise ModelError(f"onnx cannot read {path}.", hint="Is it an ONNX network?") from error


def _tensor(constant: Any) -> Tensor:
    return torch.from_numpy(np.array(require("onnx.numpy_helper", "torch").to_array(constant)))


def _node(node: Any, path: Path) -> tuple[Operation, tuple[str, ...], str, dict[str, Any]]:
    """An operation, the names of its inputs and of its output, and its attributes."""
    if node.op_type not in OPERATIONS or len(node.output) != 1:
        raise ModelError(
            f"{path} has the operation {node.op_type}, which the torch engine does not know.",
            hint="Use --engine openvino.",
        )
    value_of = require("onnx.helper", "torch").get_attribute_value
    attributes = {attribute.name: value_of(attribute) for attribute in node.attribute}
    if node.op_type == "Constant":
        attributes = {"value": _tensor(attributes["value"])}
    return OPERATIONS[node.op_type], tuple(node.input), node.output[0], attributes
