"""A bundle small enough to know by heart: one 3×3×3 convolution and a sigmoid, as ONNX."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.ndimage import correlate

from metseg.engines.bundle import Bundle, write_manifest
from metseg.engines.manifest import BundleManifest

LESION_WEIGHTS = np.arange(1, 28, dtype=np.float32).reshape(3, 3, 3) / 63  # their sum is 6
LESION_BIAS, BRAIN_GAIN, BRAIN_BIAS = -6.0, 8.0, 5.0
# Air is normalised to a value below -1, tissue to about 0: the brain output tells them apart.
MANIFEST = {
    "name": "tiny",
    "version": "1.0",
    "modality": "MR",
    "sequences": ["t1c"],
    "spacing_mm": [1.0, 1.0, 1.0],
    "labels": {"1": "lesion"},
    "outputs": ["lesion", "brain"],
    "brain_mask": None,
    "preprocessing": [
        {"name": "reorient"},
        {"name": "resample", "spacing_mm": [1.0, 1.0, 1.0]},
        {"name": "normalise_foreground"},
        {"name": "pad_to_multiple", "multiple": 4},
    ],
    "operating_points": {
        "balanced": {"threshold": 0.5, "sensitivity": 0.9, "fp_per_patient": 1.5, "measured_on": "phantoms"},
        "sensitive": {"threshold": 0.2},
        "strict": {"threshold": 0.4, "min_confidence": 0.9},
    },
    "default_operating_point": "balanced",
    "training_data": ["none: its weights are made up"],
    "limits": ["It is a single convolution."],
    "intended_use": "Tests.",
    "licence": "Apache-2.0",
    "files": {},
}


def write_network(path: Path, channels: int = 1, lesion_bias: float = LESION_BIAS) -> None:
    """The lesion output correlates the first channel with ``LESION_WEIGHTS``; the brain output scales the voxel."""
    weights = np.zeros((2, channels, 3, 3, 3), dtype=np.float32)
    weights[0, 0], weights[1, 0, 1, 1, 1] = LESION_WEIGHTS, BRAIN_GAIN
    bias = np.array([lesion_bias, BRAIN_BIAS], dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weights", "bias"], ["logits"], pads=[1] * 6),
            helper.make_node("Sigmoid", ["logits"], ["probability"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, "i", "j", "k"])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 2, "i", "j", "k"])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def write_finder(path: Path, gain: float, bias: float) -> None:
    """A brain finder: the sigmoid of each voxel times ``gain`` plus ``bias``."""
    weights = np.full((1, 1, 1, 1, 1), gain, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weights", "bias"], ["logits"]),
            helper.make_node("Sigmoid", ["logits"], ["probability"]),
        ],
        "finder",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, "i", "j", "k"])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1, "i", "j", "k"])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def write_tiny_bundle(folder: Path, **changes) -> Bundle:
    """Write the bundle; ``changes`` replace entries of its ``model.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = BundleManifest.model_validate({**MANIFEST, **changes})
    write_network(folder / "model.onnx", len(manifest.sequences))
    (folder / "README.md").write_text("# tiny\n", encoding="utf-8")
    return write_manifest(folder, manifest)


def expected_outputs(channel: np.ndarray) -> np.ndarray:
    """What the network gives for a prepared channel, by another library."""
    lesion = correlate(channel.astype(np.float64), LESION_WEIGHTS.astype(np.float64), mode="constant") + LESION_BIAS
    logits = np.stack([lesion, BRAIN_GAIN * channel.astype(np.float64) + BRAIN_BIAS])
    return 1 / (1 + np.exp(-logits))
