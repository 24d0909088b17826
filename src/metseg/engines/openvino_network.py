"""One ONNX network on OpenVINO: read, checked, compiled for each shape that it meets."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.core.errors import ConfigError, InferenceError, ModelError
from metseg.engines.memory import MORE_MEMORY, OutOfMemoryError, sized
from metseg.engines.openvino_runtime import import_openvino

# OpenVINO has no error of its own for it. These are what its CPU plugin says, the C++ libraries of Linux, macOS and
# Windows, oneDNN, its code generator, and OpenCL on GPUs.
_NO_MEMORY: Final = re.compile(
    r"failed to allocate \d+ bytes|bad_alloc|bad allocation|could not allocate memory|out[ _]of[ _]memory|can't alloc|"
    r"exceeded max size of memory|out of gpu resources|out_of_resources|out_of_host_memory|"
    r"mem_object_allocation_failure",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Runtime:
    """Where networks run.

    Args:
        core: OpenVINO's.
        device: as OpenVINO spells it.
        configuration: for compiling.
    """

    core: Any
    device: str
    configuration: dict[str, Any]

    @classmethod
    def on(cls, device: str, threads: int | None, cache: Path | None) -> "Runtime":
        """A device by its name in any case.

        Raises:
            ConfigError: there is no such device.
        """
        core = import_openvino().Core()
        known = _known_device(core, device)
        return cls(core, known, _configuration(known, threads, cache))


class OpenVinoNetwork:
    """A network with one input (1, channel, i, j, k) and one output of probabilities (1, output, i, j, k).

    Args:
        path: of the ONNX file.
        channels: of its input.
        outputs: channels of its output.
        runtime: where it runs.
        model: name of the model that it belongs to, for messages.

    Raises:
        ModelError: it cannot be read, or has other channels.
    """

    def __init__(self, path: Path, channels: int, outputs: int, runtime: Runtime, model: str) -> None:
        self.outputs = outputs
        self.model = model
        self._runtime = runtime
        self._network = _read(path, channels, outputs, runtime)
        self._request: tuple[tuple[int, ...], Any] | None = None

    def infer(self, channels: Float[np.ndarray, "channel i j k"]) -> NDArray[np.float32]:
        """One pass: (channel, i, j, k) to (output, i, j, k).

        Raises:
            OutOfMemoryError: it does not fit.
            InferenceError: it failed, or gave something else than probabilities.
        """
        shape = (1, *channels.shape)
        expected = (1, self.outputs, *channels.shape[1:])
        with told_of(f"The network of {self.model}", channels.shape[1:]):
            if self._request is None or self._request[0] != shape:
                self._request = None  # frees the last one's memory first
                self._network.reshape(list(shape))
                runtime = self._runtime
                compiled = runtime.core.compile_model(self._network, runtime.device, runtime.configuration)
                # One request for all passes of a shape: its memory is costly to get anew.
                self._request = shape, compiled.create_infer_request()
            results = self._request[1].infer([np.ascontiguousarray(channels[np.newaxis])])
            output = np.array(results[0], dtype=np.float32)
        if output.shape != expected or not np.isfinite(output).all():
            raise InferenceError(f"The network of {self.model} gave no finite array of shape {expected}.")
        return np.asarray(np.clip(output[0], 0, 1, out=output[0]))

    def release(self) -> None:
        """Let go of the memory that is kept for the next pass of the same shape."""
        self._request = None


@contextmanager
def told_of(what: str, size: tuple[int, ...]) -> Iterator[None]:
    """Tell of OpenVINO's failures as metseg's.

    Args:
        what: failed, at the beginning of a sentence.
        size: of the pass in voxels.

    Raises:
        OutOfMemoryError: there was not enough memory for it.
        InferenceError: it failed for another reason.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"{what} does not fit into the memory with {sized(size)} voxels.", hint=MORE_MEMORY
            ) from error
        raise InferenceError(
            f"{what} failed on {sized(size)} voxels.", hint="Run again with --debug to see what OpenVINO says."
        ) from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether that is what an error says."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def _read(path: Path, channels: int, outputs: int, runtime: Runtime) -> Any:
    try:
        network = runtime.core.read_model(path)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot read {path}.", hint="Is it an ONNX network?") from error
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ModelError(f"{path} must have one input and one output.")
    ports = (network.inputs[0], network.outputs[0])
    for port, expected, what in zip(ports, (channels, outputs), ("input", "output")):
        shape = port.partial_shape
        if shape.rank.is_static and (len(shape) != 5 or not shape[1].compatible(_dimension(expected))):
            raise ModelError(f"The {what} of {path} has shape {shape}, but should have {expected} channels of 3D.")
    return network


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
