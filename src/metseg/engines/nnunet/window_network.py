"""Networks of nnU-Net on OpenVINO, compiled for one size of window."""

from collections.abc import Sequence
from functools import partial
from typing import Unpack

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.engines.mirroring import Infer
from metseg.engines.nnunet.predictor import Fold, HostSums, How, predict_logits
from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.unet_graph import unet_graph
from metseg.engines.nnunet.unet_weights import Weights
from metseg.engines.openvino_network import Runtime, told_of


class WindowNetwork:
    """A network compiled for one size of window.

    Args:
        stage: which network.
        weights: of one fold.
        runtime: where it runs.

    Raises:
        OutOfMemoryError: it does not fit; the window is the plan's, so that nothing smaller can be tried.
        InferenceError: OpenVINO cannot compile it.
        ModelError: the weights are not of this network.
    """

    def __init__(self, stage: Stage, weights: Weights, runtime: Runtime) -> None:
        self._what = f"The network of stage {stage.name}"
        graph = unet_graph(stage.network, weights, stage.window)
        with told_of(self._what, stage.window):
            compiled = runtime.core.compile_model(graph, runtime.device, runtime.configuration)
            self._request = compiled.create_infer_request()

    def logits(self, image: Float[np.ndarray, "channel ..."]) -> NDArray[np.float32]:
        """One pass: (channel, *window) to (output, *window).

        Raises:
            OutOfMemoryError: it does not fit.
            InferenceError: it failed.
        """
        with told_of(self._what, image.shape[1:]):
            results = self._request.infer([np.ascontiguousarray(image[np.newaxis])])
            return np.array(results[0][0], dtype=np.float32)


class OpenVinoPredictor:
    """Runs the stages of nnU-Net models; ``metseg.engines.nnunet.cascade.Predict``.

    Args:
        runtime: where.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __call__(
        self, stage: Stage, folds: Sequence[Fold], channels: Float[np.ndarray, "channel i j k"], **how: Unpack[How]
    ) -> NDArray[np.float32]:
        """``predict_logits`` with networks that are compiled when it is their turn."""

        def ready(fold: Fold) -> Infer:
            return WindowNetwork(stage, fold(), self._runtime).logits

        def sums(image: NDArray[np.float32]) -> HostSums:
            return HostSums(stage, image, [partial(ready, fold) for fold in folds])

        return predict_logits(stage, channels, sums, **how)
