"""Bundles on torch: metseg's own networks, and those of nnU-Net."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.core.errors import InferenceError
from metseg.engines.base import Mode
from metseg.engines.bundle import Bundle
from metseg.engines.bundle_engine import BundleEngine
from metseg.engines.manifest import Tiling
from metseg.engines.memory import sized
from metseg.engines.nnunet.cascade import Predict
from metseg.engines.nnunet_engine import NnunetEngine
from metseg.engines.skull import Network
from metseg.engines.torch.device import find_device, free_unused, is_out_of_memory, no_room, predicting
from metseg.engines.torch.onnx_graph import OnnxGraph
from metseg.engines.torch.predictor import TorchPredictor


class TorchNetwork:
    """An ONNX network with one input (1, channel, i, j, k) and one output of probabilities (1, output, i, j, k).

    Args:
        path: of the ONNX file.
        channels: of its input.
        outputs: channels of its output.
        device: where it runs.
        threads: at most so many CPU threads; None for as many as torch takes by itself.
        model: name of the model that it belongs to, for messages.

    Raises:
        ModelError: it cannot be read, or has something that the torch engine does not know.
    """

    def __init__(
        self, path: Path, channels: int, outputs: int, *, device: torch.device, threads: int | None, model: str
    ) -> None:
        self.outputs, self.device, self.threads, self.model = outputs, device, threads, model
        self._graph = OnnxGraph(path, channels).to(device).eval()

    def infer(self, channels: Float[np.ndarray, "channel i j k"]) -> NDArray[np.float32]:
        """One pass in single precision: (channel, i, j, k) to (output, i, j, k).

        Raises:
            OutOfMemoryError: it does not fit.
            InferenceError: it gave something else than probabilities.
        """
        output: NDArray[np.float32] | None = None
        try:
            image = torch.from_numpy(np.array(channels[np.newaxis], dtype=np.float32))  # flipped views have no tensor
            with predicting(self.threads):
                output = self._graph(image.to(self.device)).cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if output is None:
            free_unused(self.device)
            raise no_room(self.device, f"The network of {self.model} with {sized(channels.shape[1:])} voxels")
        expected = (1, self.outputs, *channels.shape[1:])
        if output.shape != expected or not np.isfinite(output).all():
            raise InferenceError(f"The network of {self.model} gave no finite array of shape {expected}.")
        return np.asarray(np.clip(output[0], 0, 1))

    def release(self) -> None:
        """Let go of the memory that torch keeps for the next pass."""
        free_unused(self.device)


class TorchEngine(BundleEngine):
    """Runs a bundle of metseg's own: its ONNX networks, computed by torch.

    Args:
        bundle: see ``BundleEngine``.
        threads: at most so many CPU threads; None for as many as torch takes by itself.
        device: as torch spells it.
        tiling: instead of the bundle's.
        mode: see ``BundleEngine``.

    Raises:
        ModelError: a network cannot be read, or has something that the torch engine does not know.
        ConfigError: there is no such device.
    """

    name = "torch"

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        device: str = "cpu",
        tiling: Tiling | None = None,
        mode: Mode | None = None,
    ) -> None:
        place = find_device(device)

        def network(path: Path, channels: int, outputs: int) -> Network:
            return TorchNetwork(path, channels, outputs, device=place, threads=threads, model=bundle.name)

        super().__init__(bundle, network, tiling, mode)


class TorchNnunetEngine(NnunetEngine):
    """Runs a bundle that ``metseg models import`` made of an nnU-Net model; its arguments are ``NnunetEngine``'s."""

    name = "torch"

    def _predictor(self, device: str, threads: int | None, cache: Path | None) -> Predict:  # noqa: ARG002  # no cache
        return TorchPredictor(find_device(device), threads=threads)
