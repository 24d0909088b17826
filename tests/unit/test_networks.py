"""The compact U-Net: its folding undoes itself, tiles equal the whole, and the ONNX graph equals torch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the train extra)")

from metseg.networks.compact_unet import CompactUNet, depth_to_space, space_to_depth  # noqa: E402


def _trained_like(widths=(4, 8, 8), norm="batch"):
    torch.manual_seed(3)
    network = CompactUNet(widths=widths, norm=norm)
    network.train()
    for _ in range(3):  # so that the running statistics are not those of an untrained network
        network(torch.randn(2, 1, 32, 32, 32))
    return network.eval()


def test_space_to_depth_keeps_neighbours_together():
    x = torch.arange(2 * 3 * 4 * 6 * 8).reshape(2, 3, 4, 6, 8)
    folded = space_to_depth(x)
    assert folded.shape == (2, 24, 2, 3, 4)
    assert folded[1, 8:16, 1, 2, 3].tolist() == x[1, 1, 2:4, 4:6, 6:8].flatten().tolist()
    assert torch.equal(depth_to_space(folded), x)


def test_a_tile_equals_the_whole_where_its_context_reaches():
    network = _trained_like()
    whole = torch.randn(1, 1, 96, 48, 48)
    with torch.no_grad():
        expected = network(whole)[..., 32:40, 16:24, 16:24]
        tile = network(whole[:, :, 0:80])[..., 32:40, 16:24, 16:24]
    assert torch.allclose(tile, expected, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_onnx_equals_torch_on_other_sizes_than_it_was_traced_with(tmp_path, norm):
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("onnx")
    from metseg.training.export import write_onnx

    network = _trained_like(norm=norm)
    write_onnx(network, tmp_path / "model.onnx")
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(tmp_path / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = torch.randn(1, 1, 24, 40, 16)
    with torch.no_grad():
        expected = torch.sigmoid(network(image)).numpy()
    assert np.abs(compiled([image.numpy()])[0] - expected).max() < 1e-5


def test_weights_in_half_precision_take_half_the_bytes_and_hardly_change_the_result(tmp_path):
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("onnx")
    from metseg.training.export import write_onnx
    from metseg.training.half_precision import halve_weights

    network, path = _trained_like(widths=(8, 16, 16)), tmp_path / "model.onnx"
    write_onnx(network, path)
    whole = path.read_bytes()
    halve_weights(path)
    once = path.read_bytes()
    halve_weights(path)
    assert path.read_bytes() == once  # what is halved stays as it is
    assert 0.45 * len(whole) < len(once) < 0.6 * len(whole)
    core, image = openvino.Core(), np.random.default_rng(2).standard_normal((1, 1, 24, 40, 16), dtype=np.float32)
    results = [
        core.compile_model(core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image])[0]
        for graph in (whole, once)
    ]
    difference = np.abs(results[0] - results[1]).max()
    assert 0 < difference < 2e-3
