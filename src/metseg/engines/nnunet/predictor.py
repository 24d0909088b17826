"""One stage's network over a whole image: window after window, mirrored, all folds."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.core.errors import InferenceError
from metseg.core.progress import Progress, no_progress
from metseg.engines.mirroring import mirrored_mean
from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.unet_graph import unet_graph
from metseg.engines.nnunet.windows import importance, overlap, padding, windows
from metseg.engines.openvino_network import Runtime

Weights = Mapping[str, NDArray[Any]]


class WindowNetwork:
    """A network compiled for one size of window.

    Args:
        stage: which network.
        weights: of one fold.
        runtime: where it runs.
    """

    def __init__(self, stage: Stage, weights: Weights, runtime: Runtime) -> None:
        self._outputs = stage.network.outputs
        graph = unet_graph(stage.network, weights, stage.window)
        compiled = runtime.core.compile_model(graph, runtime.device, runtime.configuration)
        self._request = compiled.create_infer_request()

    def logits(self, image: Float[np.ndarray, "channel ..."]) -> NDArray[np.float32]:
        """One pass: (channel, *window) to (output, *window).

        Raises:
            InferenceError: it failed.
        """
        try:
            results = self._request.infer([np.ascontiguousarray(image[np.newaxis])])
        except RuntimeError as error:
            raise InferenceError(
                f"The network failed on a window of {'×'.join(map(str, image.shape[1:]))} voxels.",
                hint="If memory ran out, use fewer threads or a machine with more memory.",
            ) from error
        return np.array(results[0][0], dtype=np.float32)


def predict_logits(
    stage: Stage,
    folds: Iterable[Weights],
    channels: Float[np.ndarray, "channel i j k"],
    runtime: Runtime,
    *,
    mirror: bool = True,
    step: float = 0.5,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Mean logits of all folds: (channel, i, j, k) to (output, i, j, k).

    Windows overlap by half and count by a Gaussian, as nnU-Net has them; sums are kept in single precision, where
    nnU-Net keeps them in half. Each fold is compiled once and dropped before the next.

    Args:
        stage: what is run.
        folds: weights of each fold.
        channels: as the stage wants them.
        runtime: where it runs.
        mirror: along the axes that the stage allows.
        step: between windows, of their size.
        progress: 0 … 1 over all windows and folds.

    Raises:
        InferenceError: the network failed, or gave something that is not finite.
        ModelError: the weights are not of this network.
    """
    around = padding(channels.shape[1:], stage.window)
    padded = np.pad(channels, [(0, 0), *around])
    places = list(windows(padded.shape[1:], stage.window, step))
    weight = importance(stage.window)
    total = np.zeros((stage.network.outputs, *padded.shape[1:]), dtype=np.float32)
    axes = stage.mirror_axes if mirror else ()
    for number, fold in enumerate(folds):
        network = WindowNetwork(stage, fold, runtime)
        for done, place in enumerate(places):
            progress(number + done / len(places), len(stage.weights), "network")
            _add(network, padded, place, axes, weight, total)
        del network
    total /= overlap(places, weight, padded.shape[1:]) * len(stage.weights)
    inner = tuple(slice(before, n - after) for (before, after), n in zip(around, padded.shape[1:]))
    result = total[(slice(None), *inner)]
    if not np.isfinite(result).all():
        raise InferenceError(f"The network of stage {stage.name} gave values that are not finite.")
    return result


def _add(
    network: WindowNetwork,
    channels: NDArray[np.float32],
    place: tuple[slice, ...],
    axes: tuple[int, ...],
    weight: NDArray[np.float32],
    total: NDArray[np.float32],
) -> None:
    """Add what the network says of one window to ``total``."""
    whole = (slice(None), *place)
    image = channels[whole]
    if weight.ndim == 2:
        total[whole] += (mirrored_mean(network.logits, image[:, 0], axes) * weight)[:, np.newaxis]
    else:
        total[whole] += mirrored_mean(network.logits, image, axes) * weight
