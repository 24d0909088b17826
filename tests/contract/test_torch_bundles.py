"""Bundles on the torch engine: the laws of the seam, and the same answers as on OpenVINO."""

import json
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the torch extra)")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (the torch extra)")

from onnx import TensorProto, helper  # noqa: E402

from metseg.core.errors import ConfigError, InferenceError, ModelError  # noqa: E402
from metseg.core.grid import Grid  # noqa: E402
from metseg.engines import Engine, load_engine  # noqa: E402
from metseg.engines.catalogue import find_bundle  # noqa: E402
from metseg.engines.manifest import Tiling  # noqa: E402
from metseg.engines.nnunet_engine import NnunetEngine  # noqa: E402
from metseg.engines.openvino_engine import OpenVinoEngine  # noqa: E402
from metseg.engines.openvino_network import OpenVinoNetwork, Runtime  # noqa: E402
from metseg.engines.openvino_runtime import import_openvino  # noqa: E402
from metseg.engines.torch.engine import TorchEngine, TorchNetwork, TorchNnunetEngine  # noqa: E402
from metseg.engines.torch.onnx_graph import OnnxGraph  # noqa: E402
from metseg.io.nnunet_import import import_nnunet  # noqa: E402
from metseg.testing import check_engine  # noqa: E402
from metseg.testing.phantoms import Ellipsoid, make_phantom  # noqa: E402
from nnunet_oracle import make_weights  # noqa: E402
from tiny_bundle import write_network, write_tiny_bundle  # noqa: E402
from torch_files import save  # noqa: E402
from unit.test_nnunet_graph import PLAIN  # noqa: E402
from unit.test_nnunet_plans import ARCHITECTURE, FULLRES  # noqa: E402


@pytest.fixture(scope="module")
def phantom():
    affine = np.array([[0, 0.1, 1.6, -20], [-0.9, 0.2, 0.1, 30], [-0.1, -1.1, 0.3, 12], [0, 0, 0, 1]])
    grid = Grid((31, 27, 15), affine)
    first, second = (tuple(grid.to_world(at).tolist()) for at in ((12, 12, 7), (20, 15, 8)))
    return make_phantom(grid, [Ellipsoid.sphere(first, 9.0), Ellipsoid.sphere(second, 6.0)])


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    """A bundle of two folds, imported."""
    folder = tmp_path_factory.mktemp("nnunet")
    trained = folder / "Dataset007_Mets" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    put_model(trained)
    return import_nnunet(trained, folder / "mets")


def put_model(path):
    path.mkdir(parents=True)
    given = {"features_per_stage": [4, 6, 5], "n_conv_per_stage": [2, 1, 2], "n_conv_per_stage_decoder": [1, 2]}
    plan = {
        **FULLRES, "spacing": [9.0, 7.0, 8.0], "patch_size": [8, 16, 16], "normalization_schemes": ["NoNormalization"],
        "architecture": {**ARCHITECTURE, "arch_kwargs": {**ARCHITECTURE["arch_kwargs"], **given}},
    }  # fmt: skip
    plans = {"configurations": {"3d_fullres": plan}, "transpose_forward": [0, 1, 2]}
    (path / "plans.json").write_text(json.dumps(plans))
    labels = {"background": 0, "core": 1, "oedema": 2}
    (path / "dataset.json").write_text(json.dumps({"labels": labels, "channel_names": {"0": "T1ce"}}))
    for fold in range(2):
        content = {
            "network_weights": make_weights(PLAIN.model_copy(update={"channels": 1}), fold + 2),
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": "3d_fullres"},
            "inference_allowed_mirroring_axes": (0, 2),
        }
        save(path / f"fold_{fold}" / "checkpoint_final.pth", content)


def test_nnunet_models_obey_the_laws_and_give_openvinos_labels(nnunet, phantom):
    engine = load_engine("torch", str(nnunet.folder), threads=1)
    assert isinstance(engine, TorchNnunetEngine)
    assert engine.name == "torch"
    found = check_engine(engine, phantom.study)
    expected = NnunetEngine(nnunet, threads=1).predict(phantom.study)
    assert len(np.unique(expected.decision.array)) > 1
    np.testing.assert_array_equal(found.decision.array, expected.decision.array)
    assert found.classes == expected.classes
    np.testing.assert_allclose(found.array, expected.array, atol=1e-5)


def test_own_bundles_obey_the_laws_and_give_openvinos_probabilities(phantom, tmp_path):
    bundle = write_tiny_bundle(tmp_path / "tiny", mirror_axes=[0], brain_mask={"margin_mm": 2})
    engine = load_engine("torch", str(bundle.folder), threads=1)
    assert isinstance(engine, Engine)
    found = check_engine(engine, phantom.study)
    expected = OpenVinoEngine(bundle, threads=1).predict(phantom.study)
    assert expected.of("lesion").max() > 0.9
    np.testing.assert_allclose(found.array, expected.array, atol=2e-6)
    tiling = Tiling(max_voxels=1, size=(12, 16, 12), margin=1)
    tiled = TorchEngine(bundle, threads=1, tiling=tiling).predict(phantom.study)
    np.testing.assert_allclose(tiled.array, found.array, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "file"), [("mets-t1c", "model"), ("mets-t1c", "brain"), ("mets-ct", "model"), ("mets-ct", "brain")]
)
def test_the_networks_that_ship_give_openvinos_probabilities(name, file):
    bundle = find_bundle(name)
    path, outputs = bundle.path(f"{file}.onnx"), 1 if file == "brain" else 2
    image = np.random.default_rng(0).normal(0, 1, (1, 32, 48, 16)).astype(np.float32)
    expected = OpenVinoNetwork(path, 1, outputs, Runtime.on("cpu", 1, None), name).infer(image)
    found = TorchNetwork(path, 1, outputs, device=torch.device("cpu"), threads=1, model=name).infer(image)
    assert expected.max() - expected.min() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_study_without_a_model_gets_the_one_that_ships():
    assert load_engine("torch").card.name == "mets-t1c"
    with pytest.raises(ConfigError, match="torch finds no device 'quantum'"):
        load_engine("torch", device="quantum")


def write_graph(path, *nodes, channels=1, outputs=("probability",)):
    graph = helper.make_graph(
        list(nodes), "graph", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, "i", "j", "k"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def test_a_network_that_torch_cannot_run_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    opened = partial(TorchNetwork, path, 1, 2, device=torch.device("cpu"), threads=1, model="tiny")
    write_graph(path, helper.make_node("Erf", ["image"], ["probability"]))
    with pytest.raises(ModelError, match="operation Erf, which the torch engine does not know") as caught:
        opened()
    assert caught.value.hint == "Use --engine openvino."
    write_network(path, channels=2)
    with pytest.raises(ModelError, match="should have 1 channels"):
        opened()
    sigmoid = helper.make_node("Sigmoid", ["image"], ["probability"])
    write_graph(path, sigmoid, outputs=("probability", "image"))
    with pytest.raises(ModelError, match="one input and one output"):
        opened()
    path.write_bytes(b"no network")
    with pytest.raises(ModelError, match="cannot read"):
        opened()
    write_graph(path, sigmoid)
    with pytest.raises(InferenceError, match=r"no finite array of shape \(1, 2, 4, 4, 4\)"):
        opened().infer(np.zeros((1, 4, 4, 4), dtype=np.float32))


def test_uneven_pads(tmp_path):
    """What exporters write, but our own networks at present do not."""
    path = tmp_path / "model.onnx"
    write_graph(
        path,
        helper.make_node("Constant", [], ["kernel"], value=tensor(np.arange(1, 5).reshape(1, 1, 2, 2, 1) / 20)),
        helper.make_node("Conv", ["image", "kernel"], ["padded"], pads=[1, 0, 0, 0, 1, 2], strides=[1, 1, 2]),
        helper.make_node("Sigmoid", ["padded"], ["probability"]),
    )
    image = np.random.default_rng(1).normal(size=(1, 4, 5, 6)).astype(np.float32)
    expected = openvino_runs(path, image)
    assert expected.shape == (1, 4, 5, 4)
    found = OnnxGraph(path, 1)(torch.from_numpy(image[np.newaxis])).numpy()[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def tensor(values):
    return onnx.numpy_helper.from_array(np.asarray(values, dtype=np.float32))


def openvino_runs(path, image):
    core = import_openvino().Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([image[np.newaxis]])[0][0]


def test_memory_that_runs_out_is_one_clear_sentence(tmp_path, monkeypatch):
    write_network(tmp_path / "model.onnx")
    network = TorchNetwork(tmp_path / "model.onnx", 1, 2, device=torch.device("cpu"), threads=1, model="tiny")
    monkeypatch.setattr(network, "_graph", lambda _: torch.empty(1 << 55))
    with pytest.raises(InferenceError, match="network of tiny with 4×4×4 voxels does not fit into the memory of cpu"):
        network.infer(np.zeros((1, 4, 4, 4), dtype=np.float32))
