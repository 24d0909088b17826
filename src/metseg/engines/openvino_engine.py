"""The light engine: a bundle's ONNX network on OpenVINO, without torch."""

from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import ConfigError, InferenceError, ModelError
from metseg.core.grid import Grid
from metseg.core.progress import Progress, no_progress
from metseg.core.study import Study
from metseg.core.volume import ProbabilityMap
from metseg.engines.base import ModelCard
from metseg.engines.brain_mask import brain_region
from metseg.engines.bundle import Bundle
from metseg.engines.catalogue import DEFAULT_BUNDLE, find_bundle
from metseg.engines.manifest import Tiling
from metseg.engines.openvino_runtime import import_openvino
from metseg.engines.tiling import tiles
from metseg.preprocess import steps
from metseg.preprocess.extent import PadToMultiple

NETWORK_FILE: Final = "model.onnx"


class OpenVinoEngine:
    """Runs a bundle: its steps, its network (in one pass, or in tiles), its brain mask.

    Args:
        bundle: holds ``model.onnx``: one input (1, channel, i, j, k), one output of probabilities (1, output, i, j, k).
        threads: at most so many CPU threads; None for as many as there are cores.
        device: as OpenVINO spells it, in any case: ``"cpu"``, ``"gpu"``.
        tiling: instead of the bundle's.
        cache: folder where compiled networks may be kept; None for none.

    Raises:
        ModelError: the network cannot be read, or does not fit the manifest.
        ConfigError: there is no such device.
    """

    name: Final = "openvino"

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        device: str = "cpu",
        tiling: Tiling | None = None,
        cache: Path | None = None,
    ) -> None:
        self.bundle = bundle
        self.card: ModelCard = bundle.card
        self.tiling = bundle.manifest.tiling if tiling is None else tiling
        self._core = import_openvino().Core()
        self._device = _known_device(self._core, device)
        self._config = _configuration(self._device, threads, cache)
        self._network = self._read_network()
        self._compiled: tuple[tuple[int, ...], Any] | None = None

    def predict(self, study: Study, *, progress: Progress = no_progress) -> ProbabilityMap:
        """Probabilities of all outputs on the model's grid; the lesion classes masked by the brain.

        Raises:
            InputError: the study lacks a sequence.
            InferenceError: the network failed, or gave something else than probabilities.
        """
        manifest = self.bundle.manifest
        progress(0, 1, "preprocessing")
        channels, grid = steps.run_study(manifest.preprocessing, study, manifest.sequences)
        array = self._forward(channels, progress)
        self._mask_by_brain(array, grid)
        progress(1, 1, "network")
        return ProbabilityMap(array, grid, manifest.outputs)

    def _read_network(self) -> Any:
        path = self.bundle.path(NETWORK_FILE)
        try:
            network = self._core.read_model(path)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot read {path}.", hint="Is it an ONNX network?") from error
        if len(network.inputs) != 1 or len(network.outputs) != 1:
            raise ModelError(f"{path} must have one input and one output.")
        expected = (len(self.bundle.manifest.sequences), len(self.bundle.manifest.outputs))
        for port, channels, what in zip((network.inputs[0], network.outputs[0]), expected, ("input", "output")):
            shape = port.partial_shape
            if shape.rank.is_static and (len(shape) != 5 or not shape[1].compatible(_dimension(channels))):
                raise ModelError(f"The {what} of {path} has shape {shape}, but should have {channels} channels of 3D.")
        return network

    def _infer(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """One pass: (channel, i, j, k) to (output, i, j, k)."""
        shape = (1, *channels.shape)
        expected = (1, len(self.bundle.manifest.outputs), *channels.shape[1:])
        try:
            if self._compiled is None or self._compiled[0] != shape:
                self._compiled = None  # frees the last one's memory first
                self._network.reshape(list(shape))
                self._compiled = shape, self._core.compile_model(self._network, self._device, self._config)
            request = self._compiled[1].create_infer_request()
            results = request.infer([np.ascontiguousarray(channels[np.newaxis])])
        except RuntimeError as error:
            raise InferenceError(
                f"The network of {self.card.name} failed on {'×'.join(map(str, channels.shape[1:]))} voxels.",
                hint="If memory ran out, use fewer threads or a machine with more memory.",
            ) from error
        output = np.array(results[0], dtype=np.float32)
        if output.shape != expected or not np.isfinite(output).all():
            raise InferenceError(f"The network of {self.card.name} gave no finite array of shape {expected}.")
        return np.asarray(np.clip(output[0], 0, 1, out=output[0]))

    def _mirrored_mean(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of the passes that the bundle's ``mirror_axes`` ask for: (channel, i, j, k) to (output, i, j, k)."""
        axes = self.bundle.manifest.mirror_axes
        mirrors = [tuple(axis + 1 for axis in some) for n in range(len(axes) + 1) for some in combinations(axes, n)]
        total = self._infer(channels)
        for mirror in mirrors[1:]:
            total += np.flip(self._infer(np.flip(channels, mirror)), mirror)
        total /= len(mirrors)
        return total

    def _forward(self, channels: NDArray[np.float32], progress: Progress) -> NDArray[np.float32]:
        """All passes: (channel, i, j, k) to (output, i, j, k)."""
        multiples = [step.multiple for step in self.bundle.manifest.preprocessing if isinstance(step, PadToMultiple)]
        i, j, k = channels.shape[1:]
        parts = tiles((i, j, k), self.tiling, max(multiples, default=1))
        result = np.empty((len(self.bundle.manifest.outputs), i, j, k), dtype=np.float32)
        for done, tile in enumerate(parts):
            progress((done + 0.5) / (len(parts) + 1), 1, "network")
            part = self._mirrored_mean(channels[(slice(None), *tile.reads)])
            result[(slice(None), *tile.keeps)] = part[(slice(None), *tile.keeps_of_tile)]
        return result

    def _mask_by_brain(self, array: NDArray[np.float32], grid: Grid) -> None:
        """Set lesion outputs to 0 outside the brain, in place."""
        manifest = self.bundle.manifest
        if manifest.brain_mask is None:
            return
        region = brain_region(array[manifest.outputs.index(manifest.brain_mask.output)], grid, manifest.brain_mask)
        for name in set(manifest.labels.values()):
            array[manifest.outputs.index(name)] *= region


def _dimension(n: int) -> Any:
    return import_openvino().Dimension(n)


def _known_device(core: Any, device: str) -> str:
    """``device`` as OpenVINO spells it."""
    wanted = device.upper()
    available = [*core.available_devices, "AUTO"]
    if wanted.partition(".")[0] not in {name.partition(".")[0] for name in available}:
        raise ConfigError(
            f"OpenVINO finds no device {device!r} here.", hint=f"Use one of {', '.join(available).lower()}."
        )
    return wanted


def _configuration(device: str, threads: int | None, cache: Path | None) -> dict[str, Any]:
    """Single precision and one request at a time, so that results do not hang on the machine."""
    configuration: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None and device == "CPU":
        configuration["INFERENCE_NUM_THREADS"] = threads
    if cache is not None:
        configuration["CACHE_DIR"] = str(cache)
    return configuration


def load_openvino_engine(model: str | None, *, threads: int | None, device: str) -> OpenVinoEngine:
    """The engine with a bundle, by name or folder; None for the one that metseg uses by default.

    Raises:
        ModelError: the bundle is missing, broken or foreign.
        ConfigError: there is no such device.
    """
    return OpenVinoEngine(find_bundle(DEFAULT_BUNDLE if model is None else model), threads=threads, device=device)
