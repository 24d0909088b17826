"""Networks of nnU-Net on OpenVINO, compiled for one size of window."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.core.progress import Progress, no_progress
from metseg.engines.nnunet.predictor import Passes, predict_logits
from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.unet_graph import Weights, unet_graph
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
        self,
        stage: Stage,
        folds: Iterable[Weights],
        channels: Float[np.ndarray, "channel i j k"],
        *,
        passes: Passes,
        regions: bool = False,
        progress: Progress = no_progress,
    ) -> NDArray[np.float32]:
        """``predict_logits`` with networks that are compiled one after the other."""
        networks = (WindowNetwork(stage, weights, self._runtime).logits for weights in folds)
        return predict_logits(stage, networks, channels, passes=passes, regions=regions, progress=progress)
