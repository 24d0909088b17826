"""Weights stored in half the bytes: a bundle of twice the network at the same size."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_FEWEST = 256  # numbers; biases and the like stay as they are


def halve_weights(path: Path) -> None:
    """Store the large float32 constants of an ONNX graph as float16, each followed by a cast back.

    The graph computes in single precision as before; its weights are rounded to 11 bits. Runtimes fold the casts away
    when they load the graph.
    """
    model = onnx.load(path)
    graph = model.graph
    casts = []
    for constant in list(graph.initializer):
        if constant.data_type != TensorProto.FLOAT or int(np.prod(constant.dims)) < _FEWEST:
            continue
        halved = numpy_helper.to_array(constant).astype(np.float16)
        if not np.isfinite(halved).all():
            continue  # beyond half precision's range
        name = f"{constant.name}_half"
        casts.append(helper.make_node("Cast", [name], [constant.name], to=TensorProto.FLOAT))
        graph.initializer.remove(constant)
        graph.initializer.append(numpy_helper.from_array(halved, name))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(model)
    onnx.save(model, path)
